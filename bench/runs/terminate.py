"""from an operator's request to the client's last channel closed"""

import statistics

import sessions
from bench import Bench, Figure

ROUNDS = 1


def run(bench: Bench):
    took = sessions.end_one_by_one(bench.path("terminate"), 20 if bench.quick else 100)
    for _ in bench.rounds():
        bench.record(f"{len(took)} sessions of 8 channels, ended one by one", "kerbside", {},
                     Figure("ms to the last channel's end, p50", statistics.median(took)),
                     Figure("ms to the last channel's end, max", max(took)))
