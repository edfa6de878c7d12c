"""500 clients that read a kilobyte a second of a flood: what they hold, and what others notice"""

import time

from bench import LEGS, Bench, Figure, latencies
from proxies import HaproxyProxy, KerbsideProxy

ROUNDS = 3
KINDS = (KerbsideProxy, HaproxyProxy)


def run(bench: Bench):
    sessions = 25 if bench.quick else 125
    for tls in bench.legs():
        with bench.backs(tls, 2) as backs:
            for _ in bench.rounds():
                for kind in bench.kinds(KINDS, tls):
                    with bench.attempt(kind), bench.proxy(kind, backs) as proxy:
                        slow(bench, proxy, tls, sessions)


def slow(bench: Bench, proxy, tls: bool, sessions: int):
    pings = bench.load(proxy, "echo", rate=1000, channels=16, seconds=0, warmup=0.3)
    time.sleep(0.5)
    pings.part()
    time.sleep(bench.seconds)
    alone, memory = pings.part(), proxy.memory_now()
    readers = bench.load(proxy, "slow", mix="small", sessions=sessions, channels=4, rate=1024,
                         seconds=0, door=1, gives_way=True)
    time.sleep(2)
    pings.part()
    time.sleep(bench.seconds)
    beside, more = pings.part(), proxy.memory_now() - memory
    readers.finish()
    pings.finish()
    count = sessions * 4
    bench.record(f"{count} slow readers, {LEGS[tls]}", proxy.name,
                 {"alone": alone, "beside": beside, "memory": memory},
                 Figure("KiB of user memory a reader", more / count / 1024))
    bench.record(f"64 B messages, 1 000 a second, beside {count} slow readers, {LEGS[tls]}",
                 proxy.name, {}, *latencies(beside),
                 Figure("p99 beside them, to p99 alone", beside["p99"] / alone["p99"]))
