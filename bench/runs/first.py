"""connect to first picture, real client (spice-gtk) and server (libspice-server)"""

import rig
from bench import Backs, Bench, Figure
from proxies import Direct, HaproxyProxy, KerbsideProxy

ROUNDS = 14


def run(bench: Bench):
    pki = rig.Pki(bench.path("pki"))
    server = rig.RealServer(bench.path("server"), pki)
    try:
        with bench.proxies((KerbsideProxy, HaproxyProxy, Direct), Backs([server], pki)) as proxies:
            for _ in bench.rounds():
                for proxy in proxies:
                    with bench.attempt(proxy):
                        r = rig.first_picture(bench.programs, proxy)
                        bench.record("spice-gtk to libspice-server, TLS everywhere", proxy.name, r,
                                     Figure("ms from connect to first picture", r["first_ms"]))
    finally:
        server.kill()
