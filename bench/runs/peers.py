"""bulk and latency beside haproxy, nginx, hitch, stunnel and squid (CONNECT)"""

from bench import Bench
from proxies import ALL, Direct
from runs import relay

ROUNDS = 7
PARTS = ("bulk", "latency")


def run(bench: Bench):
    for tls in bench.legs():
        with bench.backs(tls) as backs:
            if bench.wants_part("bulk"):
                relay.bulk(bench, backs, ALL, mixes=("64k",))
            if bench.wants_part("latency"):
                relay.latency(bench, backs, (*ALL, Direct))
