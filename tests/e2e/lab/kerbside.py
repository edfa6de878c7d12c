"""kerbside itself: configuration, start, API, end."""

import contextlib
import http.client
import json
import shutil
import signal
import ssl
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import yaml

from common.process import PATIENCE, LabError, Process, wait_until
from common.unix_http import UnixConnection

from .net import Port
from .paths import Paths

VV_TYPE = "application/x-virt-viewer"


@dataclass
class Response:
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


def source(name: str, consoles: list[dict], **more) -> dict:
    """A static source for the configuration."""
    return {"source": name, "type": "static", "consoles": consoles, **more}


class Kerbside:
    """One daemon with its own state, certificates and ports.

    API calls go to the public HTTPS port as the admin unless `admin=True`, which takes the admin
    socket and no login.
    """

    USER = "admin"

    def __init__(self, scratch: Path, sources: list[dict], *, settings: dict | None = None,
                 enter=(), host="127.0.0.1", port: Port | None = None, started=True,
                 environment=None):
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch = scratch
        self.host = host
        self._enter = enter
        self._environment = environment
        self._ports = [port or Port(), Port()]
        self.port = self._ports[0].number
        self.metrics_port = self._ports[1].number
        self.state_dir = scratch / "state"
        # A socket's path must be short, and the folders of tests are not.
        self.runtime_dir = Path(tempfile.mkdtemp(prefix="kb-run-"))
        self.config_path = scratch / "kerbside.yaml"
        self._token = None
        self._vvs = 0
        self.configuration = {
            "listen": [{"address": f"{host}:{self.port}", "accept": ["spice", "http"]}],
            "metrics": {"address": f"127.0.0.1:{self.metrics_port}"},
            "public": {"host": host, "spice_port": self.port, "url": f"https://{host}:{self.port}"},
            "state_dir": str(self.state_dir),
            "runtime_dir": str(self.runtime_dir),
            "sources": sources,
            **(settings or {}),
        }
        self.write_configuration()
        self.process = None
        if started:
            try:
                self.start()
            except LabError as problem:
                with contextlib.suppress(LabError):  # the first problem is the one to tell
                    self.stop()
                raise problem

    # ---- the daemon ----

    def write_configuration(self):
        self.config_path.write_text(yaml.safe_dump(self.configuration, sort_keys=False))

    def start(self):
        if not Paths.kerbside.exists():
            raise LabError(f"{Paths.kerbside} is missing: build it, or set KERBSIDE_BIN")
        self.state_dir.mkdir(exist_ok=True, mode=0o700)
        self.process = Process([Paths.kerbside, "serve", "-c", self.config_path],
                               log=self.scratch / "kerbside.log", enter=self._enter,
                               env=self._environment)
        wait_until(self._ready, "kerbside is ready", explain=self.process.log)

    def _ready(self) -> bool:
        if not self.process.alive:
            raise LabError(f"kerbside ended with {self.process.popen.returncode}\n"
                           f"{self.process.log()}")
        try:
            return self.call("GET", "/readyz", admin=bool(self._enter), login=False).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def log(self) -> str:
        return self.process.log()

    def reload(self):
        self.process.signal(signal.SIGHUP)

    def drain(self) -> int:
        """SIGTERM, as a service manager does; the exit status."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait()

    def stop(self):
        """Ends it in good order. A daemon that does not end by itself, or with a status (a
        sanitizer's, for one), is a failure of the test."""
        try:
            if self.process is not None and self.process.alive:
                status = self.drain()
                if status != 0:
                    raise LabError(f"kerbside ended with {status}\n{self.log()}")
        finally:
            if self.process is not None:
                self.process.kill()
            for port in self._ports:
                port.release()
            shutil.rmtree(self.runtime_dir, ignore_errors=True)

    # ---- HTTP ----

    def call(self, method: str, path: str, body=None, *, admin=False, login=True,
             headers=None) -> Response:
        """One request. `login`: as the admin (the admin socket needs none)."""
        if admin:
            connection = UnixConnection(self.runtime_dir / "admin.sock")
        else:
            context = ssl.create_default_context(cafile=self._ca_file())
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=PATIENCE,
                                                     context=context)
        sent = dict(headers or {})
        if body is not None:
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        if login and not admin:
            sent["Authorization"] = f"Bearer {self.token()}"
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Response(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def _ca_file(self) -> Path:
        """The CA that kerbside made for itself, once it is there."""
        for path in self.state_dir.rglob("ca.pem"):
            return path
        raise FileNotFoundError("kerbside has made no CA yet")

    def ask(self, method: str, path: str, body=None, *, expect=(200, 201, 204), **more):
        """A call that must succeed; its JSON."""
        answer = self.call(method, path, body, admin=more.pop("admin", bool(self._enter)), **more)
        if answer.status not in expect:
            raise LabError(f"{method} {path}: {answer.status} {answer.body[:500]!r}\n{self.log()}")
        return answer.json() if answer.body else None

    def password(self) -> str:
        return (self.state_dir / "initial-admin-password").read_text().strip()

    def token(self) -> str:
        if self._token is None:
            answer = self.call("POST", "/api/v1/login", login=False,
                               body={"username": self.USER, "password": self.password()})
            if answer.status != 200:
                raise LabError(f"login: {answer.status} {answer.body!r}\n{self.log()}")
            self._token = answer.json()["access_token"]
        return self._token

    # ---- what tests ask for ----

    def vv(self, source_name: str, uuid: str, **grant) -> Path:
        """A fresh .vv file for the console."""
        path = f"/api/v1/consoles/{source_name}/{uuid}/grants"
        answer = self.call("POST", path, grant, headers={"Accept": VV_TYPE},
                           admin=bool(self._enter))
        if answer.status not in (200, 201):
            raise LabError(f"POST {path}: {answer.status} {answer.body[:500]!r}\n{self.log()}")
        self._vvs += 1
        file = self.scratch / f"console-{self._vvs}.vv"
        file.touch(mode=0o600)
        file.write_bytes(answer.body)
        return file

    def items(self, path: str, **query) -> list[dict]:
        """All items of a list, page by page."""
        found = []
        while True:
            text = urllib.parse.urlencode({k: v for k, v in query.items() if v is not None})
            page = self.ask("GET", f"{path}?{text}" if text else path)
            found += page["items"]
            if not page.get("next"):
                return found
            query["cursor"] = page["next"]

    def sessions(self) -> list[dict]:
        return self.items("/api/v1/sessions")

    def session(self, session_id: str) -> dict:
        return self.ask("GET", f"/api/v1/sessions/{session_id}")

    def audit(self, event: str | None = None, **fields) -> list[dict]:
        """Audit events, newest first, with these fields; a field may be a predicate."""
        return [
            row for row in self.items("/api/v1/audit")
            if (event is None or row["event"] == event) and all(
                value(row.get(key)) if callable(value) else row.get(key) == value
                for key, value in fields.items())
        ]

    def wait_audit(self, event: str, **fields) -> dict:
        def found():
            rows = self.audit(event, **fields)
            return rows[0] if rows else None

        return wait_until(found, f"the audit event {event} {fields}",
                          explain=lambda: "\n".join(map(str, self.audit())) + self.log()[-4000:])

    def wait_sessions(self, count: int) -> list[dict]:
        result = None

        def right():
            nonlocal result
            result = self.sessions()
            return len(result) == count

        wait_until(right, f"{count} live session(s)", explain=lambda: f"{result}\n{self.log()}")
        return result

    def metric(self, name: str) -> float:
        """The sum over its labels of a metric, from the address that only serves metrics."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=PATIENCE)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
        values = [float(line[-1]) for line in lines if line and line[0].split("{")[0] == name]
        if not values:
            raise LabError(f"no metric {name} in\n{text}")
        return sum(values)
