"""1 000 channels of 125 sessions at once while others carry messages, against haproxy"""

import time

from bench import LEGS, Bench, Figure, latencies
from proxies import HaproxyProxy, KerbsideProxy

ROUNDS = 5
KINDS = (KerbsideProxy, HaproxyProxy)


def run(bench: Bench):
    sessions = 25 if bench.quick else 125
    for tls in bench.legs():
        with bench.backs(tls, 2) as backs:
            for _ in bench.rounds():
                for kind in bench.kinds(KINDS, tls):
                    # A fresh process, as after a restart: no memory and no keys from before.
                    with bench.attempt(kind), bench.proxy(kind, backs) as proxy:
                        storm(bench, proxy, tls, sessions)


def storm(bench: Bench, proxy, tls: bool, sessions: int):
    pings = bench.load(proxy, "echo", rate=1000, channels=16, seconds=0, warmup=0.3)
    time.sleep(0.5)
    pings.part()
    time.sleep(bench.seconds / 2)
    alone = pings.part()
    crowd = bench.load(proxy, "storm", sessions=sessions, channels=7, door=1, gives_way=True,
                       wait="prepared")
    pings.part()
    crowd.send("")
    opened = crowd.wait_event("opened", timeout=crowd.PATIENCE)
    during = pings.part()
    crowd.finish()
    pings.finish()
    bench.record(f"{sessions * 8} channels at once, {LEGS[tls]}", proxy.name,
                 {"alone": alone, "during": during, "opened": opened},
                 Figure("s until all are open", opened["seconds"]),
                 Figure("ms of proxy CPU a channel",
                        opened["proxy_cpu"] * 1e3 / opened["opened"]))
    bench.record(f"64 B messages, 1 000 a second, during the storm, {LEGS[tls]}", proxy.name, {},
                 *latencies(during, "p50", "p99", "max"),
                 Figure("p99 during the storm, to p99 alone", during["p99"] / alone["p99"]))
