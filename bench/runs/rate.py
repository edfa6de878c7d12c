"""messages of 64 bytes as fast as they come back, on 1, 64 and 1 024 channels, against haproxy"""

from bench import HIGHER, LEGS, Bench, Figure, latencies, per_cpu
from proxies import HaproxyProxy, KerbsideProxy

ROUNDS = 5
KINDS = (KerbsideProxy, HaproxyProxy)


def run(bench: Bench):
    for tls in bench.legs():
        with bench.backs(tls) as backs, bench.proxies(KINDS, backs) as proxies:
            for sessions, channels in ((1, 1), (8, 8), (64, 16))[:2 if bench.quick else 3]:
                count = sessions * channels
                case = f"64 B messages, one under way on each of {count} channel" \
                       f"{'s' if count > 1 else ''}, {LEGS[tls]}"
                for _ in bench.rounds():
                    for proxy in proxies:
                        with bench.attempt(proxy):
                            r = bench.loaded(proxy, "echo", rate=0, sessions=sessions,
                                             channels=channels)
                            bench.record(case, proxy.name, r,
                                         Figure("messages per proxy CPU second",
                                                per_cpu(r["messages"], r), HIGHER), *latencies(r))
