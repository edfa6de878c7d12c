"""What every run of tools/bench is given: options, what it compares, rounds, and where results go.

One JSON line per run is written as it is made. Before and after each round the machine's speed is
taken; a round in which it was off by more than a tenth of the run's median is discarded, by a line
that says so, and made again."""

import contextlib
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import rig
from common.process import LabError, Process
from proxies import Proxy

HIGHER, LOWER = "higher", "lower"
LEGS = {False: "TLS in, plain out", True: "TLS in, TLS out"}
OFF = 0.1


@dataclass
class Figure:
    """One row of the table: the unit, the value, and which is better."""

    unit: str
    value: float
    better: str = LOWER


class Bench:
    def __init__(self, options, scratch: Path):
        self.options = options
        self.scratch = scratch
        self.programs = rig.ROOT / options.build / "bench"
        folder = rig.ROOT / "build" / "bench"
        folder.mkdir(parents=True, exist_ok=True)
        self.lines = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
        self.machine = rig.machine()
        self.versions = {"kerbside": self.machine["commit"]
                         + (" with changes" if self.machine["changed"] else "")}
        self.results = []
        self.scenes = []  # what else the reader of the table must know
        self.run = ""
        self.pair = ("kerbside", "haproxy")
        self.discarded = {}
        self.failed = []
        self._count = 0

    # ---- what a run needs ----

    def begin(self, run: str, pair: tuple[str, str], rounds: int):
        self.run, self.pair, self.rounds_wanted = run, pair, rounds

    @property
    def seconds(self) -> float:
        return self.options.seconds

    @property
    def quick(self) -> bool:
        return self.options.quick

    def wants_part(self, part: str) -> bool:
        return not self.options.parts or part in self.options.parts

    def path(self, name: str) -> Path:
        """In the scratch folder, for this caller alone."""
        self._count += 1
        return self.scratch / f"{name}-{self._count}"

    def legs(self) -> tuple[bool, ...]:
        """TLS towards the back end: without and with, unless --legs says one."""
        return {None: (False, True), 1: (False,), 2: (True,)}[self.options.legs]

    @contextlib.contextmanager
    def backs(self, tls: bool, count: int = 1):
        """Back ends; all but the first only flood, and give way to the first."""
        pki = rig.Pki(self.path("pki"))
        made = []
        try:
            for n in range(count):
                made.append(rig.Back(self.programs, self.path("back.log"), pki if tls else None,
                                     gives_way=n > 0))
            yield Backs(made, pki)
        finally:
            for back in made:
                back.kill()

    def kinds(self, kinds, tls: bool) -> list[type[Proxy]]:
        """Those of them that are wanted and do this job."""
        only = self.options.only
        return [k for k in kinds if (not only or k.name in only) and k.can(tls)]

    @contextlib.contextmanager
    def proxy(self, kind: type[Proxy], backs: "Backs"):
        proxy = kind(self.path(kind.name), backs.all, backs.pki)
        if kind.package:
            self.versions[kind.name] = rig.package_version(kind.package)
        try:
            yield proxy
        finally:
            proxy.stop()

    @contextlib.contextmanager
    def proxies(self, kinds, backs: "Backs"):
        """All of them, side by side, for rounds that take turns."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.proxy(kind, backs))
                   for kind in self.kinds(kinds, backs.tls)]

    def load(self, proxy: Proxy, run: str, *, log="load.log", **options) -> rig.Load:
        """A load that is told when to end; it is ready. The caller finishes it."""
        return rig.Load(self.programs, self.path(log), proxy, run, **options)

    def loaded(self, proxy: Proxy, run: str, **options) -> dict:
        """The result of a load that ends by itself, after --seconds."""
        options = {"seconds": self.seconds, "warmup": 0.5, "wait": None, **options}
        return self.load(proxy, run, **options).finish(end=False)

    @contextlib.contextmanager
    def attempt(self, who):
        """Of a proxy, or a kind of them: a measurement that fails has no figure and ends no other. Where
        it is kerbside's own, tools/bench fails in the end."""
        try:
            yield
        except (RuntimeError, LabError, OSError) as problem:
            for left in [p for p in Process.running if isinstance(p, rig.Load)]:
                left.kill()
            self.failed.append((who.name, f"{self.run}, {who.name}: {problem}"))
            self._write({"event": "failed", "run": self.run, "peer": who.name, "what": str(problem)})
            print(f"    failed: {who.name}: {problem}", file=sys.stderr, flush=True)

    # ---- rounds ----

    def rounds(self, wanted: int | None = None):
        """Their numbers. Results that are recorded meanwhile are theirs."""
        wanted = wanted or self.rounds_wanted
        first, speeds = len(self.results), {}
        before = rig.calibrate(self.programs)
        # A machine that is never quiet has its rounds too; how many were thrown away is told.
        while len(kept := steady(speeds)) < wanted and len(speeds) < 2 * wanted:
            number, steal = len(speeds), rig.steal_seconds()
            self._round = number
            yield number
            after = rig.calibrate(self.programs)
            speeds[number] = {key: min(before[key], after[key]) for key in after}
            self._write({"event": "round", "run": self.run, "round": number, **speeds[number],
                         "steal": rig.steal_seconds() - steal})
            before = after
        thrown = [number for number in speeds if number not in kept]
        mine = [r for r in self.results[first:] if r["round"] in kept]
        self.results[first:] = mine
        made, gone = self.discarded.get(self.run, (0, 0))
        self.discarded[self.run] = made + len(speeds), gone + len(thrown)
        if thrown:
            self._write({"event": "discarded", "run": self.run, "rounds": thrown,
                         "cases": sorted({r["case"] for r in mine})})

    # ---- results ----

    def record(self, case: str, peer: str, raw: dict, *figures: Figure, round: int | None = None):
        """One run: its line, and the rows of the table that are made of it."""
        number = self._round if round is None else round
        common = {"run": self.run, "case": case, "peer": peer, "round": number}
        self._write({"event": "run", **common,
                     "figures": {f.unit: f.value for f in figures},
                     "raw": {k: v for k, v in raw.items() if k != "event"}})
        for figure in figures:
            self.results.append({**common, "pair": self.pair, "unit": figure.unit,
                                 "value": figure.value, "better": figure.better})
        shown = "  ".join(f"{f.value:.4g} {f.unit}" for f in figures)
        print(f"    {number}  {peer:10}  {case}: {shown}", file=sys.stderr, flush=True)

    def _write(self, line: dict):
        line = {**line, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "load": round(os.getloadavg()[0], 2), "versions": self.versions, **self.machine}
        with open(self.lines, "a") as file:
            file.write(json.dumps(line) + "\n")


@dataclass
class Backs:
    all: list[rig.Back]
    pki: rig.Pki

    @property
    def tls(self) -> bool:
        return self.all[0].tls


def steady(speeds: dict[int, dict]) -> list[int]:
    """The rounds in which the machine was as fast as in their median."""
    if not speeds:
        return []
    middle = {key: statistics.median_low(s[key] for s in speeds.values())
              for key in next(iter(speeds.values()))}
    return [number for number, s in speeds.items()
            if all(abs(s[key] / middle[key] - 1) <= OFF for key in middle)]


def latencies(result: dict, *parts: str) -> list[Figure]:
    return [Figure(f"us, {part}", result[part]) for part in parts or ("p50", "p99")]


def per_cpu(amount: float, result: dict) -> float:
    """A second of the proxy's CPU."""
    return amount / result["proxy_cpu"] if result["proxy_cpu"] else 0.0


# ---- the table ----

def table(results: list[dict], pair: tuple[str, str]) -> str:
    groups = {}
    for line in results:
        groups.setdefault((line["case"], line["unit"], line["better"]), {}).setdefault(
            line["peer"], []).append(line["value"])
    ours, theirs = pair
    others = dict.fromkeys(line["peer"] for line in results)
    peers = [p for p in dict.fromkeys((ours, theirs, *others)) if p in others]
    text = [f"| what | unit | {' | '.join(peers)} | {ours} to {theirs} |",
            f"|---|---|{'---|' * len(peers)}---|"]
    for (case, unit, better), values in groups.items():
        cells = [spread(values[p]) if p in values else "" for p in peers]
        text.append(f"| {case} | {unit} | {' | '.join(cells)} | "
                    f"{ratio(values.get(ours), values.get(theirs), better)} |")
    return "\n".join(text)


def tables(results: list[dict]) -> str:
    """One for each two that are compared."""
    pairs = dict.fromkeys(line["pair"] for line in results)
    return "\n\n".join(table([r for r in results if r["pair"] == pair], pair) for pair in pairs)


def ratio(ours: list | None, theirs: list | None, better: str) -> str:
    if not ours or not theirs or not statistics.median(theirs):
        return ""
    a, b = statistics.median(ours), statistics.median(theirs)
    good = a >= b if better == HIGHER else a <= b
    return f"{a / b:.2f} ({'better' if good else 'worse'})"


def spread(values: list[float]) -> str:
    def short(v):
        return f"{v:.3f}" if abs(v) < 0.1 else f"{v:.2f}" if abs(v) < 100 else f"{v:.0f}"

    middle = short(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({short(min(values))} to {short(max(values))})"
