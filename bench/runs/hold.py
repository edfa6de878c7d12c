"""1 200 sessions of 8 channels, held for five minutes with a message a channel every ten seconds"""

import os
import time
from pathlib import Path

from bench import LEGS, Bench, Figure
from proxies import KerbsideProxy

ROUNDS = 1


def run(bench: Bench):
    sessions, seconds = (50, 5) if bench.quick else (1200, 300)
    tls = bench.legs()[-1]
    with bench.backs(tls) as backs:
        for _ in bench.rounds():
            with bench.attempt(KerbsideProxy), bench.proxy(KerbsideProxy, backs) as proxy:
                hold(bench, proxy, tls, sessions, seconds)


def hold(bench: Bench, proxy: KerbsideProxy, tls: bool, sessions: int, seconds: int):
    """Every channel but main carries messages; every byte is checked and nobody may be closed."""
    channels = sessions * 8
    memory = proxy.memory()
    began, cpu = time.monotonic(), proxy.cpu()
    load = bench.load(proxy, "echo", sessions=sessions, channels=7, rate=sessions * 7 / 10,
                      seconds=0, warmup=0)
    opening, opening_cpu = time.monotonic() - began, proxy.cpu() - cpu
    load.part()
    first = proxy.memory_now()
    descriptors = proxy.descriptors()
    began, cpu, switches = time.monotonic(), proxy.cpu(), context_switches(proxy.pid)
    time.sleep(seconds)
    took = time.monotonic() - began
    cpu, switches = (proxy.cpu() - cpu) / took, (context_switches(proxy.pid) - switches) / took
    last, active = proxy.memory_now(), proxy.daemon.metric("kerbside_channels_active")
    part = load.part()
    load.finish()
    if active != channels:
        raise RuntimeError(f"{active:.0f} of {channels} channels were left")
    raw = {"opening_seconds": opening, "opening_cpu": opening_cpu, "memory_before": memory,
           "memory_first": first, "memory_last": last, "descriptors": descriptors,
           "messages": part["messages"], "p50": part["p50"], "p99": part["p99"]}
    bench.record(f"{sessions} sessions of 8 channels for {seconds} s, {LEGS[tls]}", proxy.name, raw,
                 Figure("errors", 0),
                 Figure("s to open them, one after the other", opening),
                 Figure("% of a core", cpu * 100),
                 Figure("context switches a second", switches),
                 Figure("KiB of user memory a channel", (first - memory) / channels / 1024),
                 Figure("KiB more at the end", (last - first) / 1024),
                 Figure("file descriptors", descriptors),
                 Figure("us, p50", part["p50"]), Figure("us, p99", part["p99"]))


def context_switches(pid: int) -> int:
    return sum(int(line.split()[1])
               for task in os.listdir(f"/proc/{pid}/task")
               for line in Path(f"/proc/{pid}/task/{task}/status").read_text().splitlines()
               if "ctxt_switches" in line)
