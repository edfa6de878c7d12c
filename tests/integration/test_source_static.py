"""Consoles in files: a folder that changes under the daemon, files that are broken or half there, and
whether anybody listens where they say."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from common.port import Port
from common.process import wait_until
from daemon import Kerbside
from session import Session
from spice import Server

SLOWLY = "1h"  # what is seen before is inotify's doing


class Site:
    def __init__(self, folder):
        self.server = Server()
        self.folder = folder / "desks.d"
        self.folder.mkdir()
        self.kerbside = Kerbside(folder / "kerbside", [self.source()])

    def source(self, **more) -> dict:
        return {"source": "desks", "type": "static", "path": str(self.folder), "refresh": SLOWLY,
                "tls": "plain", **more}

    def console(self, uuid: str, **more) -> dict:
        return {"uuid": uuid, "hypervisor_ip": "127.0.0.1", "insecure_port": self.server.port,
                "ticket": "sesame", **more}

    def write(self, name: str, content) -> Path:
        """Anew, and put in its place at once, as it should be done."""
        path, fresh = self.folder / name, self.folder / f"{name}.new"
        fresh.write_text(content if isinstance(content, str) else json.dumps(content))
        fresh.rename(path)
        return path

    def state(self) -> dict:
        return json.loads(self.kerbside.ask("GET", "/api/v1/sources/desks")[1])

    def consoles(self) -> dict:
        rows = self.kerbside.items("/api/v1/consoles", source="desks")
        return {row["uuid"]: row for row in rows}

    def wait_consoles(self, *uuids):
        wait_until(lambda: set(self.consoles()) == set(uuids), f"consoles {uuids}",
                   explain=lambda: f"{self.state()} {set(self.consoles())}")

    def wait_state(self, state: str) -> dict:
        wait_until(lambda: self.state()["state"] == state, f"the source is {state}",
                   explain=lambda: str(self.state()))
        return self.state()

    def empty(self):
        for path in self.folder.iterdir():
            path.unlink()
        self.wait_consoles()
        self.wait_state("ok")

    def stop(self):
        self.kerbside.stop()
        self.server.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    held = Site(tmp_path_factory.mktemp("static"))
    yield held
    held.stop()


@pytest.fixture(autouse=True)
def calm(site):
    yield
    site.empty()


def test_a_folder_that_changes(site):
    """Added, changed, removed: each is seen by itself, audited, and the session on one stays."""
    mark = site.kerbside.mark()
    site.write("one.yaml", site.console("one"))
    site.wait_consoles("one")
    with Session(site.kerbside, site.server, "one", source_name="desks") as session:
        site.write("more.yml", [site.console("two"), site.console("three")])
        site.wait_consoles("one", "two", "three")
        site.write("one.yaml", site.console("one", name="renamed"))
        wait_until(lambda: site.consoles()["one"]["name"] == "renamed", "the new name")
        (site.folder / "more.yml").unlink()
        site.wait_consoles("one")
        session.channel().exchange()
    for uuid in ("two", "three"):
        site.kerbside.wait_audit("console.removed", mark, console=uuid)
    added = sorted(row["console"] for row in site.kerbside.audit("console.added", mark))
    assert added == ["one", "three", "two"]
    (changed,) = site.kerbside.audit("console.changed", mark)
    assert (changed["console"], changed["detail"]) == ("one", "name")


def test_a_broken_file(site):
    """What was good stays, and can be opened; the source says which line is wrong."""
    site.write("one.yaml", site.console("one"))
    site.wait_consoles("one")
    mark = site.kerbside.mark()
    broken = site.write("two.yaml", "- uuid: two\n  hypervisor_ip: 127.0.0.1\n  insecure_port: x\n")
    state = site.wait_state("stale")
    assert state["error"].startswith(f"{broken}:3: [0].insecure_port: ")
    assert state["stale_since"] and state["consoles"] == 1
    site.kerbside.wait_audit("source.failed", mark, detail=state["error"])
    with Session(site.kerbside, site.server, "one", source_name="desks") as session:
        session.channel().exchange()
    site.write("two.yaml", [site.console("two")])
    site.wait_consoles("one", "two")
    assert site.state()["error"] is None


def test_a_file_in_the_making(site):
    """Lines that come one by one are never taken for the whole."""
    consoles = [site.console(f"c{i}") for i in range(3)]
    site.write("list.yaml", consoles)
    site.wait_consoles("c0", "c1", "c2")
    mark = site.kerbside.mark()
    with open(site.folder / "list.yaml", "w", buffering=1) as file:
        for console in [*consoles, site.console("c3")]:
            file.write(f"- {json.dumps(console)}\n")
            file.flush()
            os.fsync(file.fileno())
    site.wait_consoles("c0", "c1", "c2", "c3")
    assert not site.kerbside.audit("console.removed", mark)
    assert not site.kerbside.audit("source.failed", mark)


def test_a_file_alone(site, tmp_path):
    """It need not be there at first, and may come and go."""
    path = tmp_path / "consoles.yaml"
    with site.kerbside.settings(sources=[site.source(path=str(path))]):
        assert str(path) in site.wait_state("stale")["error"]
        path.write_text(json.dumps(site.console("alone")))
        site.wait_consoles("alone")
        path.unlink()
        assert "No such file" in site.wait_state("stale")["error"]
        path.write_text("[]")
        site.wait_consoles()
        site.wait_state("ok")


def test_probe(site):
    """A console that nobody serves is marked, and no more than that."""
    port = Port()
    with site.kerbside.settings(sources=[site.source(probe="100ms")]):
        site.write("all.yaml", [site.console("up"),
                                site.console("down", insecure_port=port.number)])
        wait_until(lambda: {u: row["state"] for u, row in site.consoles().items()} ==
                   {"up": "up", "down": "down"}, "both states",
                   explain=lambda: str(site.consoles()))
        assert site.state()["state"] == "ok"
        site.write("all.yaml", [site.console("up"), site.console("down")])
        wait_until(lambda: site.consoles()["down"]["state"] == "up", "the state where it is now")
    port.release()


def test_probe_of_the_configuration(site):
    inline = {"source": "desks", "type": "static", "tls": "plain", "probe": "100ms",
              "consoles": [site.console("inline")]}
    with site.kerbside.settings(sources=[inline]):
        wait_until(lambda: site.consoles()["inline"]["state"] == "up", "the state")
        with Session(site.kerbside, site.server, "inline", source_name="desks") as session:
            session.channel().exchange()


def test_the_page_of_the_source(site):
    """Its example loads, and so do the files that it shows."""
    page = (Path(__file__).parents[2] / "docs/sources/static.md").read_text()
    block = "\n".join(line[4:] for line in re.search(r"\n((?:    .*\n)+)", page)[1].splitlines())
    (example,) = yaml.safe_load(block)["sources"]
    example.update(source="desks", path=str(site.folder), ca_cert=str(site.kerbside.state_dir / "ca.pem"))
    (site.folder / "tickets").mkdir()
    files = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(files) == 2
    with site.kerbside.settings(sources=[example]):
        for i, text in enumerate(files):
            (site.folder / yaml.safe_load(text)["ticket"]["file"]).write_text("sesame")
            site.write(f"{i}.yaml", text)
        site.wait_consoles("drafting-1", "lab-3")
    for path in (site.folder / "tickets").iterdir():
        path.unlink()
    (site.folder / "tickets").rmdir()
