"""What the runs api and http need beside the rig: a kerbside whose store is as full as that of a
department after some months, and requests for bench/http_load.c."""

import json
import os
import sqlite3
import subprocess
import time
from pathlib import Path

import rig
from lab.kerbside import Kerbside, source
from proxies import Door

CONSOLES, GRANTS, EVENTS, USERS = 5_000, 100_000, 1_000_000, 500
DAY = 86_400_000

# Both run in one transaction over the numbers 0 to N - 1. What each made up row says is spread over
# consoles and users by multiplication, so that neighbours in time are no neighbours in an index.
# The oldest rows are of a console and of a user that come again in no other row: who asks for those
# sees what a list costs that has to look far.
FILL_GRANTS = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
INSERT INTO grants (id, source, uuid, user_name, created_by, token_hash, created_at, expires_at,
    start_within, redeemed_at, max_session, idle_timeout, reusable)
SELECT printf('filled-%07d', i), 'big', printf('console-%05d', i * 7919 % :consoles),
    printf('user-%03d', i * 104729 % :users), CASE i % 100 WHEN 0 THEN 'somebody' ELSE 'apikey:bench' END,
    CAST(printf('%032d', i) AS BLOB), :now - :span + i * (:span / :count),
    CASE i % 5 WHEN 0 THEN :now + :span ELSE :now - :span + i * (:span / :count) + 60000 END, 60000,
    CASE i % 5 WHEN 0 THEN 0 ELSE :now - :span + i * (:span / :count) + 5000 END, 0, 0, 0
FROM n"""
FILL_AUDIT = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
INSERT INTO audit (time, event, node, request_id, session_id, grant_id, actor, user_name,
    client_address, source, console, console_name, channel, reason, detail, bytes_from_client,
    bytes_from_server, duration)
SELECT :now - :span + i * (:span / :count),
    CASE WHEN i < 3 THEN 'config.rejected' WHEN i % 4 = 0 THEN 'grant.created'
        WHEN i % 4 = 1 THEN 'session.started' WHEN i % 4 = 2 THEN 'channel.closed'
        ELSE 'session.ended' END,
    'node', printf('%022d', i), printf('%022d', i / 4), printf('%022d', i / 4),
    CASE i % 4 WHEN 0 THEN 'apikey:bench' ELSE printf('user-%03d', i / 4 * 104729 % :users) END,
    CASE WHEN i < 3 THEN 'user-of-old' ELSE printf('user-%03d', i / 4 * 104729 % :users) END,
    printf('192.0.2.%d', i % 250), CASE WHEN i < 3 THEN 'closed-down' ELSE 'big' END,
    CASE WHEN i < 3 THEN 'console-of-old' ELSE printf('console-%05d', i / 4 * 7919 % :consoles) END,
    CASE WHEN i < 3 THEN 'Old' ELSE printf('Desktop %05d', i / 4 * 7919 % :consoles) END,
    CASE i % 4 WHEN 2 THEN 'display:0' ELSE '' END, CASE i % 4 WHEN 3 THEN 'client_closed' ELSE '' END,
    '', CASE WHEN i % 4 > 1 THEN i END, CASE WHEN i % 4 > 1 THEN i END, CASE WHEN i % 4 > 1 THEN i END
FROM n"""


def big_source() -> dict:
    return source("big", [{"uuid": f"console-{i:05}", "name": f"Desktop {i:05}",
                           "hypervisor": f"hv{i % 40}.example.org", "secure_port": 5900 + i % 100}
                          for i in range(CONSOLES)])


LISTS = ["consoles", "sessions", "grants", "audit", "consoles?q=0499", "audit?user=user-017",
         "audit?console=console-00042", "audit?since=2020-01-01T00:00:00Z"]
SEARCHES = {
    "the newest events": "audit",
    "events since a time": "audit?since=2020-01-01T00:00:00Z",
    "events of a console": "audit?console=console-00042",
    "events of a console that has three, the oldest": "audit?console=console-of-old",
    "events of a user": "audit?user=user-017",
    "events of a user who has three, the oldest": "audit?user=user-of-old",
    "consoles": "consoles",
    "consoles with a part of a name": "consoles?q=04999",
    "grants": "grants",
}


class Department:
    """A daemon of one loop on the proxy's CPU, over a full store; a Proxy to the loads.
    `sources`: besides the big one. limits.http_requests is off: one address asks for all.
    """

    name = "kerbside"

    def __init__(self, scratch: Path, sources=(), *, quick=False):
        self.daemon = Kerbside(scratch, [big_source(), *sources], enter=rig.pinned(rig.PROXY_CPU),
                               settings={"node": {"loops": 1}, "metrics": {"address": "off"},
                                         "retention": {"audit": "0", "sessions": "0"},
                                         "log": {"level": "warning"},
                                         "limits": {"http_requests": 0}})
        self.keys = {role: self._key(role) for role in ("broker", "operator")}
        self.daemon.drain()
        self.fill(10 if quick else 1)
        self.daemon.start()
        self.scratch, self.doors = scratch, []

    @property
    def pid(self) -> int:
        return self.daemon.process.pid

    def let_in(self, uuid: str):
        """From here on it has a door, to a console of the source lab."""
        vv = self.daemon.vv("lab", uuid, reusable=True, start_within="12h").read_text()
        values = dict(x.split("=", 1) for x in vv.splitlines() if "=" in x)
        self.doors = [Door(self.daemon.port, values["password"])]

    def _key(self, role: str) -> str:
        return self.daemon.ask("POST", "/api/v1/apikeys", {"name": "bench", "role": role})["key"]

    def fill(self, part: int):
        began = time.monotonic()
        db = sqlite3.connect(next(self.daemon.state_dir.glob("*.db")), isolation_level=None)
        db.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000")
        db.execute("BEGIN")
        more = {"now": int(time.time() * 1000), "span": 60 * DAY, "consoles": CONSOLES,
                "users": USERS}
        db.execute(FILL_GRANTS, {"count": GRANTS // part, **more})
        db.execute(FILL_AUDIT, {"count": EVENTS // part, **more})
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        os.sync()  # else the disk is busy with it while others wait for their commits
        self.fill_seconds = time.monotonic() - began

    def requests(self, name: str, role: str, wanted: list[tuple]) -> Path:
        """A file of requests: (method, target) or (method, target, body)."""
        path = self.scratch / f"{name}.requests"
        with open(path, "wb") as file:
            for method, target, *body in wanted:
                text = json.dumps(body[0]) if body else ""
                file.write(f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{self.daemon.port}\r\n"
                           f"Authorization: Bearer {self.keys[role]}\r\n".encode())
                if body:
                    file.write(f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
                               .encode())
                file.write(f"\r\n{text}\0".encode())
        return path

    def grants(self) -> Path:
        return self.requests("grants", "broker", [
            ("POST", f"/api/v1/consoles/big/console-{i * 7919 % CONSOLES:05}/grants",
             {"user": f"user-{i % USERS:03}"}) for i in range(CONSOLES)])

    def lists(self, name: str, paths) -> Path:
        return self.requests(name, "operator", [("GET", f"/api/v1/{path}") for path in paths])

    def stop(self):
        self.daemon.stop()


def lab(back: rig.Back) -> dict:
    """The source of a console behind which is spice_back."""
    return source("lab", [{"uuid": rig.UUID, "name": "bench", "hypervisor_ip": "127.0.0.1",
                           "insecure_port": back.port, "ticket": rig.TICKET}], tls="plain")


class Crowd:
    """List requests at a rate, while something else is measured."""

    RATE = 200

    def __init__(self, programs: Path, department: Department, requests: Path, seconds: float):
        self._process = subprocess.Popen(
            http_command(programs, department, requests, "--connections", 8, "--rate", self.RATE,
                         "--seconds", seconds, "--warmup", 0),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._process.stdout.readline()  # all are connected

    def finish(self) -> dict:
        out, err = self._process.communicate()
        if self._process.returncode != 0:
            raise RuntimeError(f"http_load: {err.strip()}")
        return json.loads(out)


def http_command(programs: Path, department: Department, requests: Path, *arguments) -> list[str]:
    return [str(part) for part in (*rig.pinned(rig.LOAD_CPU, gives_way=True),
                                   programs / "http_load", "--port", department.daemon.port, "--requests", requests, "--pid",
                                   department.pid, *arguments)]


def http_load(programs: Path, department: Department, requests: Path, *arguments) -> dict:
    done = subprocess.run(http_command(programs, department, requests, *arguments),
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"http_load: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def sqlite_insert(programs: Path, department: Department, seconds: float) -> dict:
    """On the file system of the store and on the daemon's CPU."""
    file = department.daemon.state_dir / "bare.sqlite"
    done = subprocess.run([str(part) for part in (*rig.pinned(rig.PROXY_CPU),
                                                  programs / "sqlite_insert", file, seconds)],
                          capture_output=True, text=True)
    for path in department.daemon.state_dir.glob("bare.sqlite*"):
        path.unlink()
    if done.returncode != 0:
        raise RuntimeError(f"sqlite_insert: {done.stderr.strip()}")
    return json.loads(done.stdout)
