"""latency of small messages while other channels download as fast as they can, against haproxy"""

import time

from bench import HIGHER, LEGS, Bench, Figure, latencies, per_cpu
from proxies import HaproxyProxy, KerbsideProxy, Proxy

ROUNDS = 7
PARTS = ("flood", "fairness")
KINDS = (KerbsideProxy, HaproxyProxy)
PARTS_OF_ALL = ("p50", "p99", "p999")


def run(bench: Bench):
    for tls in bench.legs():
        with bench.backs(tls, 2) as backs, bench.proxies(KINDS, backs) as proxies:
            for _ in bench.rounds():
                for proxy in proxies:
                    if bench.wants_part("flood"):
                        with bench.attempt(proxy):
                            flood(bench, proxy, tls)
                    if bench.wants_part("fairness"):
                        with bench.attempt(proxy):
                            fairness(bench, proxy, tls)


def beside(bench: Bench, proxy: Proxy, pingers: int, floods: int) -> tuple[dict, dict, dict]:
    """Latency of messages alone, then while channels flood, and the flood's own result."""
    pings = bench.load(proxy, "echo", rate=1000, channels=pingers, seconds=0, warmup=0.3)
    time.sleep(0.5)
    pings.part()
    time.sleep(bench.seconds)
    alone = pings.part()
    flood = bench.load(proxy, "bulk", mix="64k", channels=floods, seconds=0, warmup=0, door=1,
                       gives_way=True)
    time.sleep(0.5)
    pings.part(), flood.part()
    time.sleep(bench.seconds)
    flooded, downloaded = pings.part(), flood.part()
    flood.finish()
    pings.finish()
    return alone, flooded, downloaded


def flood(bench: Bench, proxy: Proxy, tls: bool):
    _, flooded, downloaded = beside(bench, proxy, 16, 4)
    bench.record(f"64 B messages, 1 000 a second, while 4 channels flood, {LEGS[tls]}", proxy.name,
                 {"pings": flooded, "floods": downloaded},
                 *latencies(flooded, *PARTS_OF_ALL),
                 Figure("Gbit per proxy CPU second, of the floods",
                        per_cpu(downloaded["bytes"] * 8e-9, downloaded), HIGHER))


def fairness(bench: Bench, proxy: Proxy, tls: bool):
    """What one flood does to 63 others, and how evenly eight share."""
    alone, flooded, _ = beside(bench, proxy, 63, 1)
    bench.record(f"63 channels, 1 000 messages a second, beside 1 flood, {LEGS[tls]}", proxy.name,
                 {"alone": alone, "flooded": flooded}, *latencies(flooded, *PARTS_OF_ALL),
                 Figure("p99 beside the flood, to p99 alone",
                        flooded["p99"] / alone["p99"] if alone["p99"] else 0))
    r = bench.loaded(proxy, "bulk", mix="64k", channels=8, door=1, seconds=bench.seconds / 2)
    bench.record(f"8 floods, {LEGS[tls]}", proxy.name, r,
                 Figure("Jain's index of their bytes, 1 is even", r["share"], HIGHER))
