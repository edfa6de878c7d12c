"""What the pages of docs/ tell people to type works, and gives what they say it gives.

In the pages every fenced block has a kind: `sh` is run (`sh fails`: and must fail), one after the
other, as in one shell; a `json` or `text` block behind it is what it prints, `...` standing
for anything; `python` is a program of its own; `yaml` is a part of a configuration; `console` is only
shown, for what no test can do. The shell finds this daemon where the pages have the installed one.
"""

import json
import os
import re
import shlex
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from common.port import Port
from common.process import PATIENCE, wait_until
from conftest import console
from daemon import ROOT, Kerbside, binary
from spice import Server

DOCS = ROOT / "docs"
PAGES = ["operate.md", "broker.md", "api.md"]
KINDS = {"sh", "sh fails", "json", "text", "python", "yaml", "console"}
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Nothing that is run here takes long; what hangs must not hang for ever.
LONG = PATIENCE * 4


class Block:
    def __init__(self, page: str, match: re.Match, text: str):
        self.kind, self.text = match[1].strip(), match[2]
        self.where = f"{page}:{text.count(chr(10), 0, match.start()) + 1}"


def blocks(page: str) -> list[Block]:
    text = (DOCS / page).read_text()
    return [Block(page, match, text) for match in FENCE.finditer(text)]


def test_every_example_is_run():
    """Commands that are not run may not look as if they were."""
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        for block in blocks(page.name):
            if page.name in PAGES:
                assert block.kind in KINDS, block.where
            if page.name not in PAGES or not block.kind.startswith("sh"):
                assert not re.search(r"^\W*curl ", block.text, re.MULTILINE), (
                    f"{block.where}: an example with curl that is not run")
        assert not re.search(r"^    .*\bcurl ", FENCE.sub("", text), re.MULTILINE), (
            f"{page.name}: an example with curl that is not run")


# ---- what comes out ----

def matches(wanted, found) -> bool:
    if wanted == "...":
        return True
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(matches(wanted[k], found[k]) for k in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(matches, wanted, found))
    return type(wanted) is type(found) and wanted == found


def values(text: str) -> list:
    """The JSON values of a text, one after the other."""
    found, at, decoder = [], 0, json.JSONDecoder()
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found


def check_output(block: Block, wanted: Block, output: str):
    if wanted.kind == "json":
        good = matches(values(wanted.text), values(output))
    else:
        pattern = re.escape(wanted.text.strip()).replace(re.escape("..."), ".*")
        good = re.fullmatch(pattern, output.strip(), re.DOTALL)
    assert good, f"{block.where}: wanted\n{wanted.text}\nfound\n{output}"


# ---- a machine on which kerbside is installed, as far as the shell can see ----

class Machine:
    def __init__(self, scratch: Path):
        self.scratch = scratch
        self.ports = [Port(), Port()]
        self.url = f"https://127.0.0.1:{self.ports[0].number}"
        self.servers = [Server(), Server()]
        lab = {"source": "lab", "type": "static", "tls": "plain",
               "consoles": [console("desk", self.servers[0]), console("office", self.servers[1])]}
        self.kerbside = Kerbside(
            scratch / "daemon", [lab],
            listen=[{"address": f"127.0.0.1:{self.ports[0].number}", "accept": ["spice", "http"]}],
            metrics={"address": f"127.0.0.1:{self.ports[1].number}"},
            public={"host": "127.0.0.1", "spice_port": self.ports[0].number, "url": self.url})
        self.work = scratch / "work"
        self.work.mkdir()
        (self.work / "ca.pem").write_bytes((self.kerbside.state_dir / "ca.pem").read_bytes())
        self.viewers = 0
        self._make_programs()

    def _make_programs(self):
        bin_dir = self.scratch / "bin"
        bin_dir.mkdir()
        me = shlex.quote(str(binary()))
        config = shlex.quote(str(self.kerbside.config_path))
        viewer = shlex.quote(str(Path(__file__).with_name("viewer.py")))
        out = shlex.quote(str(self.scratch / "viewer.log"))
        programs = {
            # The installed one finds its configuration by itself.
            "kerbside": f'case " $* " in *" -c "*|*" --url "*) exec {me} "$@" ;; esac\n'
                        f'exec {me} "$@" -c {config}',
            "remote-viewer": f"exec /usr/bin/python3 {viewer} \"$1\" > {out} 2>&1",
            "runuser": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
            "systemctl": 'echo "$1" > "$MACHINE/asked"; read -r answer < "$MACHINE/done"; '
                         '[ "$answer" = ok ]',
        }
        for name, text in programs.items():
            path = bin_dir / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        os.mkfifo(self.scratch / "asked")
        os.mkfifo(self.scratch / "done")
        threading.Thread(target=self._serve, daemon=True).start()
        # Every HTTP error is an error of the example, unless it says otherwise.
        (self.scratch / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
        (self.scratch / "env.sh").write_text("")
        self.environment = {
            **os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", "MACHINE": str(self.scratch),
            "CURL_HOME": str(self.scratch), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        for name in ("KERBSIDE_URL", "KERBSIDE_API_KEY", "CURL_CA_BUNDLE"):
            self.environment.pop(name, None)

    def _serve(self):
        """systemctl, until the end of the process."""
        while True:
            verb = (self.scratch / "asked").read_text().strip()
            try:
                {"reload": self.kerbside.reload, "start": self.kerbside.start,
                 "stop": self.kerbside.drain}[verb]()
                answer = "ok"
            except Exception as problem:  # the example fails then, and says why
                answer = f"{verb}: {problem!r}"
            (self.scratch / "done").write_text(answer + "\n")

    def here(self, text: str) -> str:
        """The installed daemon's places, as they are on this machine."""
        for installed, here in (
                ("https://desktops.example.org:8443", self.url),
                ("127.0.0.1:13003", f"127.0.0.1:{self.ports[1].number}"),
                ("/etc/kerbside/", f"{self.kerbside.config_path.parent}/"),
                ("/var/lib/kerbside", str(self.kerbside.state_dir)),
                ("/run/kerbside", str(self.kerbside.runtime_dir)),
                ("-o kerbside -g kerbside ", "")):  # there is no such user here
            text = text.replace(installed, here)
        return text

    def run(self, command: list, block: Block, fails=False) -> str:
        output = self.scratch / "output"
        with open(output, "w") as file:
            done = subprocess.run(command, cwd=self.work, env=self.environment, stdout=file,
                                  stderr=subprocess.PIPE if not fails else subprocess.DEVNULL,
                                  stdin=subprocess.DEVNULL, text=True, timeout=LONG)
        text = output.read_text()
        assert (done.returncode != 0) == fails, (
            f"{block.where}: exit status {done.returncode}\n{text}\n{done.stderr}\n"
            f"{self.kerbside.last_words()}")
        return text

    def shell(self, block: Block) -> str:
        saved = shlex.quote(str(self.scratch / "env.sh"))
        script = f"set -e -a -o pipefail\n. {saved}\n"
        if block.kind == "sh":
            script += f"trap 'export -p | grep -v \" PWD=\" > {saved}' EXIT\n"
        sessions = len(self.kerbside.sessions()) if "remote-viewer" in block.text else None
        # What a viewer in the background says goes to its own file, so nothing waits for it.
        output = self.run(["bash", "-c", script + self.here(block.text)], block,
                          block.kind == "sh fails")
        if sessions is not None:
            wait_until(lambda: [s for s in self.kerbside.sessions() if len(s["channels"]) == 2]
                       [sessions:], f"{block.where}: a session with both its channels",
                       explain=(self.scratch / "viewer.log").read_text)
        return output

    def python(self, block: Block) -> str:
        program = self.scratch / "program.py"
        program.write_text(block.text)
        saved = shlex.quote(str(self.scratch / "env.sh"))
        return self.run(["bash", "-c", f". {saved}; exec /usr/bin/python3 {program}"], block)

    def take(self, block: Block):
        """A part of a configuration, added to the daemon's own; a reload brings it in."""
        self.kerbside.configuration.update(yaml.safe_load(block.text))
        self.kerbside.write_configuration()

    def stop(self):
        self.kerbside.stop()
        for server in self.servers:
            server.stop()
        for port in self.ports:
            port.release()


@pytest.mark.parametrize("page", PAGES)
def test_page(page, tmp_path):
    machine = Machine(tmp_path)
    try:
        follow = blocks(page)
        for block, wanted in zip(follow, [*follow[1:], None]):
            if block.kind == "yaml":
                machine.take(block)
            elif block.kind == "python" or block.kind.startswith("sh"):
                output = (machine.python if block.kind == "python" else machine.shell)(block)
                if wanted and wanted.kind in ("json", "text"):
                    check_output(block, wanted, output)
    finally:
        machine.stop()


# ---- what no shell can try ----

def test_every_reason_is_explained():
    """The table of operate.md has every reason, at the code that the client sees for it."""
    header = (ROOT / "src/base/reason.h").read_text()
    reasons = re.findall(r'X\([A-Z_]+,\s*"(\w+)",\s*(\d)', header)
    assert len(reasons) > 50
    rows = dict(re.findall(r"^\| (\d) \|[^|]*\|([^|]*)\|", (DOCS / "operate.md").read_text(),
                           re.MULTILINE))
    there = {(name, code) for code, cell in rows.items() for name in re.findall(r"`(\w+)`", cell)}
    assert there == set(reasons) - {("none", "0")}


def test_every_metric_is_there():
    """Names of metrics that the page tells to look at are those of the program."""
    names = set(re.findall(r"`(kerbside_\w+)", (DOCS / "operate.md").read_text()))
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.c"))
    assert len(names) > 8
    assert {name for name in names if f'.name = "{name}"' not in source} == set()


def test_links():
    """Every link between the pages leads somewhere."""
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#\s:]*)(?:#([^)\s]*))?\)", page.read_text()):
            file = (page.parent / target) if target else page
            assert file.exists(), f"{page.name}: {target}"
            if anchor:
                heads = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
                names = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}
                assert anchor in names, f"{page.name}: {target}#{anchor}"


def test_installation(tmp_path):
    """What the page says is there after an installation, and that its parts know each other."""
    build = Path(os.environ.get("KERBSIDE_BUILD", ROOT / "build"))
    done = subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", tmp_path],
                          capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {path.name: path for path in tmp_path.rglob("*") if path.is_file()}
    assert {"kerbside", "kerbside.service", "kerbside.socket", "kerbside.conf", "kerbside.8",
            "kerbside.yaml.5", "kerbside.yaml.example", "_kerbside"} <= found.keys()
    users, folders = (next(tmp_path.rglob(f"{kind}.d/kerbside.conf")).read_text()
                      for kind in ("sysusers", "tmpfiles"))
    assert re.search(r"^u kerbside ", users, re.MULTILINE)
    for folder in ("/etc/kerbside", "/var/lib/kerbside", "/run/kerbside"):
        assert re.search(rf"^d {folder} ", folders, re.MULTILINE)
    unit = found["kerbside.service"].read_text()
    assert "User=kerbside" in unit and "/usr/bin/kerbside serve -c /etc/kerbside/kerbside.yaml" in unit
    text = subprocess.run([found["kerbside"], "version"], capture_output=True, text=True).stdout
    assert text.startswith("kerbside ")
