"""sessions of 8 channels opened and closed all the time, and bare TLS handshakes, beside all peers"""

from bench import HIGHER, LEGS, Bench, Figure, latencies, per_cpu
from proxies import ALL, HaproxyProxy, HitchProxy, KerbsideProxy

ROUNDS = 5
PARTS = ("sessions", "handshakes")
# nginx stopped accepting under these after some seconds, for a reason that was not looked for; a thread
# for each (stunnel) measures threads; squid does none.
SHAKE = (KerbsideProxy, HaproxyProxy, HitchProxy)


def run(bench: Bench):
    """A fresh process a run, warmed up for as long as it takes to have opened some."""
    for tls in bench.legs():
        with bench.backs(tls) as backs:
            for _ in bench.rounds():
                if bench.wants_part("sessions"):
                    for kind in bench.kinds(ALL, tls):
                        with bench.attempt(kind), bench.proxy(kind, backs) as proxy:
                            sessions(bench, proxy, tls)
                if bench.wants_part("handshakes"):
                    for kind in bench.kinds(SHAKE, tls):
                        with bench.attempt(kind), bench.proxy(kind, backs) as proxy:
                            handshakes(bench, proxy, tls)


def sessions(bench: Bench, proxy, tls: bool):
    r = bench.loaded(proxy, "setup", sessions=4, channels=7, warmup=1)
    bench.record(f"sessions of 8 channels opened and closed, {LEGS[tls]}", proxy.name, r,
                 Figure("channels per proxy CPU second", per_cpu(r["opened"], r), HIGHER),
                 Figure("ms of proxy CPU a channel", r["proxy_cpu"] * 1e3 / r["opened"]),
                 *latencies(r))


def handshakes(bench: Bench, proxy, tls: bool):
    """kerbside reaches for no back end before it knows which; the others do at once."""
    r = bench.loaded(proxy, "setup", sessions=8, channels=0, warmup=1)
    bench.record(f"full TLS handshakes and nothing in them, {LEGS[tls]}", proxy.name, r,
                 Figure("handshakes per proxy CPU second", per_cpu(r["opened"], r), HIGHER))
