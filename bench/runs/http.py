"""latency of small messages while lists are asked for, against the same without"""

import control
from bench import LEGS, Bench, latencies

ROUNDS = 5
PAIR = ("with HTTP", "without HTTP")
CASE = f"64 B messages there and back, 1 000 a second, {LEGS[False]}"
CROWD_CASE = f"{control.Crowd.RATE} requests a second for lists, meanwhile"


def run(bench: Bench):
    with bench.backs(tls=False) as backs:
        department = control.Department(bench.path("http"), [control.lab(backs.all[0])],
                                        quick=bench.quick)
        department.let_in(control.rig.UUID)
        requests = department.lists("lists", control.LISTS)
        try:
            for _ in bench.rounds():
                for peer in PAIR:
                    crowd = (control.Crowd(bench.programs, department, requests,
                                           bench.seconds + 1) if peer == PAIR[0] else None)
                    r = bench.loaded(department, "echo", rate=1000, channels=16)
                    bench.record(CASE, peer, r, *latencies(r))
                    if crowd:
                        h = crowd.finish()
                        bench.record(CROWD_CASE, peer, h, *latencies(h))
        finally:
            department.stop()
