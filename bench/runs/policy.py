"""bulk and latency with every policy on, against the same without; at most 5 % worse is allowed"""

from bench import Bench
from proxies import KerbsideProxy, PoliciesProxy
from runs import relay

ROUNDS = 7
PAIR = ("policies", "kerbside")
PARTS = ("bulk", "latency")
KINDS = (KerbsideProxy, PoliciesProxy)


def run(bench: Bench):
    """A port channel's messages pass through the edits, display's through the grammar."""
    with bench.backs(tls=False) as backs:
        if bench.wants_part("bulk"):
            relay.bulk(bench, backs, KINDS)
        if bench.wants_part("latency"):
            relay.latency(bench, backs, KINDS)
