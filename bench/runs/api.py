"""grants a second over a full store, against a bare SQLite insert loop, and what lists take"""

import control
from bench import HIGHER, Bench, Figure, latencies

ROUNDS = 3
PAIR = ("kerbside", "bare SQLite")
PARTS = ("grants", "lists")


def run(bench: Bench):
    department = control.Department(bench.path("api"), quick=bench.quick)
    bench.scenes.append(f"The store was filled in {department.fill_seconds:.0f} s.")
    try:
        if bench.wants_part("grants"):
            grants(bench, department)
        if bench.wants_part("lists"):
            lists(bench, department)
    finally:
        department.stop()


def grants(bench: Bench, department):
    requests = department.grants()
    for _ in bench.rounds():
        for connections in (16, 1):
            case = (f"grants, {connections} connection{'s' if connections > 1 else ''}, durable; "
                    "rows, one commit each")
            r = control.sqlite_insert(bench.programs, department, bench.seconds)
            bench.record(case, "bare SQLite", r,
                         Figure("a second", r["rows"] / r["seconds"], HIGHER), *latencies(r))
            g = control.http_load(bench.programs, department, requests, "--connections",
                                  connections, "--status", 201, "--seconds", bench.seconds)
            bench.record(case, "kerbside", g,
                         Figure("a second", g["answers"] / g["seconds"], HIGHER), *latencies(g),
                         Figure("us of daemon CPU a grant", g["daemon_cpu"] * 1e6 / g["answers"]))


def lists(bench: Bench, department):
    for _ in bench.rounds(min(bench.rounds_wanted, 3)):
        for what, path in control.SEARCHES.items():
            requests = department.lists("list", [path])
            r = control.http_load(bench.programs, department, requests, "--connections", 1,
                                  "--seconds", 0.5, "--warmup", 0.1)
            bench.record(f"a page of {what}", "kerbside", r, *latencies(r))
