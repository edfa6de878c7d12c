"""kerbside itself: its configuration, its admin socket, its audit, its traces in /proc."""

import functools
import http.client
import itertools
import json
import os
import shutil
import signal
import ssl
import tempfile
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.process import Process, wait_until
from common.unix_http import UnixConnection

ROOT = Path(__file__).resolve().parents[2]


def binary() -> Path:
    path = Path(os.environ.get("KERBSIDE_BIN", ROOT / "build" / "kerbside")).absolute()
    assert path.exists(), f"{path} is missing: build it, or set KERBSIDE_BIN"
    return path


@functools.cache
def is_sanitized() -> bool:
    """Whether memory is counted by a sanitizer's rules, where freeing gives nothing back."""
    text = binary().read_bytes()
    return any(name in text for name in (b"__asan_init", b"__tsan_init", b"__msan_init"))


@dataclass
class Grant:
    id: str
    token: str


@dataclass
class Footprint:
    fds: int
    rss: int  # bytes


class Kerbside:
    """One daemon with its own state, certificates and ports.

    `addresses` are where it listens, in the order of `listen`. The configuration is written as
    JSON, which is YAML.
    """

    def __init__(self, scratch: Path, sources: list[dict], *, listen=None, started=True,
                 env=None, enter=(), pass_fds=(), **settings):
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch = scratch
        self.state_dir = scratch / "state"
        # A socket's path must be short, and the folders of tests are not.
        self.runtime_dir = Path(tempfile.mkdtemp(prefix="kb-run-"))
        self.config_path = scratch / "kerbside.yaml"
        self.configuration = {
            "listen": listen or [{"address": "127.0.0.1:0", "accept": ["spice", "http"]}],
            "metrics": {"address": "off"},
            "public": {"host": "127.0.0.1", "spice_port": 8443, "url": "https://127.0.0.1:8443"},
            "state_dir": str(self.state_dir),
            "runtime_dir": str(self.runtime_dir),
            "log": {"format": "json", "level": "debug"},
            "sources": sources,
            **settings,
        }
        self._env, self._enter, self._pass_fds = env, enter, pass_fds
        self._runs = itertools.count(1)
        self.process = None
        if started:
            self.start()

    # ---- life ----

    def write_configuration(self):
        self.config_path.write_text(json.dumps(self.configuration, indent=1))

    def start(self, ready=True):
        self.write_configuration()
        self.process = Process([binary(), "serve", "-c", self.config_path],
                               log=self.scratch / f"kerbside-{next(self._runs)}.log",
                               env=self._env, enter=self._enter, pass_fds=self._pass_fds)
        if ready:
            # The log has a writer of its own, and may come later.
            wait_until(lambda: self.is_ready() and self.log("daemon.started"),
                       "kerbside is ready", explain=self.process.log)

    def is_ready(self) -> bool:
        if not self.process.alive:
            raise AssertionError(f"kerbside ended with {self.process.popen.returncode}\n"
                                 f"{self.process.log()}")
        try:
            return self.call("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self, event: str | None = None) -> list[dict]:
        """The log's lines, those of one event; a line that is not whole yet is left out."""
        lines = []
        for line in self.process.log().split("\n")[:-1]:
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"event": "?", "text": line})
        return [line for line in lines if event in (None, line["event"])]

    def last_words(self) -> str:
        """The end of the log without what these tests themselves ask for, for a failed one."""
        return "\n".join(str({k: v for k, v in line.items() if k not in ("time", "node")})
                         for line in self.log() if line["event"] != "http.request")[-4000:]

    def addresses(self) -> list[tuple[str, int]]:
        """Where it has opened listeners, in the order of opening."""
        found = []
        for line in self.log("listener.opened"):
            host, port = line["address"].rsplit(":", 1)
            found.append((host.strip("[]"), int(port)))
        return found

    @property
    def address(self) -> tuple[str, int]:
        return self.addresses()[0]

    def reload(self, expect="config.reloaded", **changes):
        """Writes the changed configuration and waits until it was taken, or refused."""
        mark, said = self.mark(), len(self.log(expect))
        self.configuration.update(changes)
        self.write_configuration()
        self.process.signal(signal.SIGHUP)
        row = self.wait_audit(expect, after=mark)
        wait_until(lambda: len(self.log(expect)) > said, "the log says it too")
        return row

    @contextmanager
    def settings(self, **changes):
        """Other settings for a while. The daemon goes on with all its sessions."""
        before = {key: self.configuration.get(key) for key in changes}
        self.reload(**changes)
        try:
            yield
        finally:
            for key, value in before.items():
                if value is None:
                    del self.configuration[key]
                else:
                    self.configuration[key] = value
            self.reload()

    def drain(self) -> int:
        """SIGTERM, as a service manager does it; the exit status."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait()

    def stop(self):
        """The end of a test. A daemon that still runs must be able to go in peace: a sanitizer
        speaks up only then."""
        try:
            if self.process and self.process.alive:
                self.process.signal(signal.SIGTERM)
                self.process.signal(signal.SIGTERM)
                status = self.process.wait()
                assert status == 0, f"exit status {status}\n{self.process.log()[-6000:]}"
        finally:
            if self.process:
                self.process.kill()
            shutil.rmtree(self.runtime_dir, ignore_errors=True)

    # ---- the admin socket ----

    def call(self, method: str, path: str, body=None, headers=None):
        """One request; status, headers and body."""
        connection = UnixConnection(self.runtime_dir / "admin.sock")
        sent = dict(headers or {})
        if body is not None:
            body = json.dumps(body)
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, body=None, headers=None):
        """A request that must succeed; headers and body."""
        status, got, text = self.call(method, path, body, headers)
        assert 200 <= status < 300, f"{method} {path}: {status} {text[:500]!r}"
        return got, text

    def items(self, path: str, **query) -> list[dict]:
        found = []
        query["limit"] = 1000
        while True:
            page = json.loads(self.ask("GET", f"{path}?{urllib.parse.urlencode(query)}")[1])
            found += page["items"]
            if not page.get("next"):
                return found
            query["cursor"] = page["next"]

    def grant(self, uuid: str, source="lab", **wish) -> Grant:
        headers, text = self.ask("POST", f"/api/v1/consoles/{source}/{uuid}/grants", wish,
                                 {"Accept": "application/x-virt-viewer"})
        values = dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)
        return Grant(headers["X-Grant-Id"], values["password"])

    def sessions(self) -> list[dict]:
        return self.items("/api/v1/sessions")

    # ---- the audit ----

    def mark(self) -> int:
        """Where the audit stands now, for `after`."""
        newest = json.loads(self.ask("GET", "/api/v1/audit?limit=1")[1])["items"]
        return int(newest[0]["id"]) if newest else 0

    def audit(self, event: str | None = None, after=0, **fields) -> list[dict]:
        """Audit events with these fields, oldest first."""
        found = [row for row in self.items("/api/v1/audit", **({"event": event} if event else {}))
                 if int(row["id"]) > after
                 and all(row.get(key) == value for key, value in fields.items())]
        return sorted(found, key=lambda row: int(row["id"]))

    def wait_audit(self, event: str, after=0, **fields) -> dict:
        return wait_until(lambda: self.audit(event, after, **fields),
                          f"the audit event {event} {fields}", explain=self.last_words)[0]

    def why_refused(self, clients, after=0) -> dict:
        """For each client, which all were refused, the reason that the audit has for it (one
        event each), by the client's address."""
        wanted = {client.source for client in clients}

        def rows():
            found = [row for name in ("channel.refused", "grant.denied")
                     for row in self.audit(name, after) if row["client_address"] in wanted]
            return found if len(found) >= len(wanted) else None

        def explain():
            seen = {row["client_address"] for row in self.audit(after=after)}
            return f"{len(wanted - seen)} without any event, such as {sorted(wanted - seen)[:5]}"

        found = wait_until(rows, "an audit event for every refused client", explain=explain)
        assert len(found) == len(wanted), "a client was refused twice"
        return {row["client_address"]: row["reason"] for row in found}

    # ---- TLS ----

    def client_tls(self) -> ssl.SSLContext:
        """What a client needs that trusts the CA which kerbside made."""
        return ssl.create_default_context(cafile=next(self.state_dir.rglob("ca.pem")))

    # ---- /proc ----

    def footprint(self) -> Footprint:
        fds = len(os.listdir(f"/proc/{self.pid}/fd"))
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return Footprint(fds, pages * os.sysconf("SC_PAGE_SIZE"))

    def open_files(self) -> list[str]:
        names = []
        for entry in os.scandir(f"/proc/{self.pid}/fd"):
            try:
                names.append(os.readlink(entry.path))
            except FileNotFoundError:
                pass  # closed meanwhile
        return sorted(names)
