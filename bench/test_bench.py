"""tools/bench works: it measures, says so line by line, makes its table, and finds a run that failed.

KERBSIDE_BUILD is the build folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("KERBSIDE_BUILD", ROOT / "build"))
os.environ.setdefault("KERBSIDE_BIN", str(BUILD / "kerbside"))
sys.path.insert(0, str(ROOT / "bench"))

import bench  # noqa: E402
import rig  # noqa: E402
from proxies import Direct  # noqa: E402


def tools_bench(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([ROOT / "tools" / "bench", "--built", "--build", BUILD, *arguments],
                          capture_output=True, text=True)


def lines_of(done: subprocess.CompletedProcess) -> list[dict]:
    path = next(Path(line) for line in done.stderr.splitlines() if line.endswith(".jsonl"))
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    finally:
        path.unlink()


def test_runs_and_their_table():
    """Short ones of the main kinds: a storm beside messages, floods, an answer for a message."""
    names = ("storm", "flood", "rate")
    done = tools_bench("--quick", "--legs", "1", "--seconds", "0.2", *names)
    assert done.returncode == 0, done.stderr
    lines = lines_of(done)
    runs = [line for line in lines if line["event"] == "run"]
    assert {line["run"] for line in runs} == set(names)
    for name in names:
        assert {line["peer"] for line in runs if line["run"] == name} == {"kerbside", "haproxy"}
    assert len([line for line in lines if line["event"] == "round"]) >= len(names)
    for line in runs:
        for unit, value in line["figures"].items():
            assert value > 0, (line["case"], unit)
            row = next(row for row in done.stdout.splitlines()
                       if row.startswith(f"| {line['case']} | {unit} |"))
            assert row.count("|") == 6, row
    assert set(lines[-1]["versions"]) == {"kerbside", "haproxy"} and lines[-1]["commit"]


def test_unknown_names_are_refused():
    assert tools_bench("no-such-run").returncode == 2


def test_every_run_is_listed():
    text = tools_bench("--help").stdout
    for path in (ROOT / "bench" / "runs").glob("*.py"):
        assert f"    {path.stem} " in text
        assert f"tools/bench {path.stem} " in (ROOT / "docs" / "performance.md").read_text()


def test_a_load_that_is_refused_has_no_result(tmp_path):
    back = rig.Back(BUILD / "bench", tmp_path / "back.log", None)
    try:
        proxy = Direct(tmp_path, [back], rig.Pki(tmp_path / "pki"))
        proxy.doors[0].ticket = "wrong"
        load = rig.Load(BUILD / "bench", tmp_path / "load.log", proxy, "echo", plain=True,
                        wait=None, seconds=1)
        with pytest.raises(RuntimeError, match="closed while linking"):
            load.finish(end=False)
        load.kill()
    finally:
        back.kill()


def test_rounds_of_an_unsteady_machine_are_thrown_away():
    usual = {"cipher": 30.0, "round_trips": 20000}
    speeds = {0: usual, 1: {**usual, "cipher": 32}, 2: {**usual, "cipher": 26}, 3: usual,
              4: {**usual, "round_trips": 23000}}
    assert bench.steady(speeds) == [0, 1, 3]
    assert bench.steady({7: usual}) == [7]
    assert bench.steady({}) == []


def test_the_better_one_is_named():
    assert bench.ratio([3, 1, 2], [4], bench.LOWER) == "0.50 (better)"
    assert bench.ratio([2], [4], bench.HIGHER) == "0.50 (worse)"
    assert bench.ratio([2], None, bench.HIGHER) == ""
    assert bench.spread([100, 300, 200]) == "200 (100 to 300)"
