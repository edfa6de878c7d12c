"""bulk, latency of small messages, idle memory and CPU, against haproxy"""

import time

from bench import HIGHER, LEGS, Bench, Figure, latencies, per_cpu
from proxies import Direct, HaproxyProxy, KerbsideProxy

ROUNDS = 7
PARTS = ("bulk", "latency", "idle")
MIXES = {
    "64k": "messages of 64 KiB",
    "16k": "messages of 16 KiB",
    "small": "messages of 200 B to 4 KiB",
}
KINDS = (KerbsideProxy, HaproxyProxy)


def run(bench: Bench):
    for tls in bench.legs():
        with bench.backs(tls) as backs:
            if bench.wants_part("bulk"):
                bulk(bench, backs, KINDS)
            if bench.wants_part("latency"):
                latency(bench, backs, (*KINDS, Direct))
            if bench.wants_part("idle"):
                idle(bench, backs, KINDS)


def bulk(bench: Bench, backs, kinds, mixes=tuple(MIXES)):
    with bench.proxies(kinds, backs) as proxies:
        for mix in mixes:
            for _ in bench.rounds():
                for proxy in proxies:
                    with bench.attempt(proxy):
                        r = bench.loaded(proxy, "bulk", mix=mix, channels=4)
                        bench.record(f"bulk, {LEGS[backs.tls]}, {MIXES[mix]}", proxy.name, r,
                                     Figure("Gbit per proxy CPU second",
                                            per_cpu(r["bytes"] * 8e-9, r), HIGHER))


def latency(bench: Bench, backs, kinds):
    with bench.proxies(kinds, backs) as proxies:
        for _ in bench.rounds():
            for proxy in proxies:
                with bench.attempt(proxy):
                    pings(bench, proxy, backs.tls)


def pings(bench: Bench, proxy, tls: bool):
    r = bench.loaded(proxy, "echo", rate=1000, channels=16, plain=not proxy.pid and not tls)
    cost = [Figure("us of proxy CPU a round trip",
                   r["proxy_cpu"] * 1e6 / r["messages"])] if proxy.pid else []
    bench.record(f"64 B messages there and back, 1 000 a second, {LEGS[tls]}", proxy.name, r,
                 *latencies(r), *cost)


def idle(bench: Bench, backs, kinds):
    """A fresh process a run: what was grown once stays grown."""
    for _ in bench.rounds(min(bench.rounds_wanted, 3)):
        for kind in bench.kinds(kinds, backs.tls):
            with bench.attempt(kind), bench.proxy(kind, backs) as proxy:
                silence(bench, proxy, backs.tls)


def silence(bench: Bench, proxy, tls: bool):
    channels, seconds = (400, 3) if bench.quick else (1000, 20)
    before, cpu_before = proxy.memory(), proxy.cpu()
    hold = bench.load(proxy, "hold", sessions=channels // 8, channels=7)
    setup = proxy.cpu() - cpu_before
    memory = proxy.memory() - before
    began, cpu = time.monotonic(), proxy.cpu()
    time.sleep(seconds)
    cpu = (proxy.cpu() - cpu) / (time.monotonic() - began)
    hold.finish()
    bench.record(f"{channels} silent channels, {LEGS[tls]}", proxy.name,
                 {"memory_before": before, "memory": memory, "idle_cpu": cpu, "setup_cpu": setup},
                 Figure("KiB of user memory a channel", memory / channels / 1024),
                 Figure("% of a core while idle", cpu * 100),
                 Figure("ms of proxy CPU to set up a channel", setup * 1e3 / channels))
