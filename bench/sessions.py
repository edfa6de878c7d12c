"""How long a session lives on after an operator has ended it: from the request until the client has
seen the end of its last channel. Every session has the eight channels of an ordinary viewer and all of
them are open at the same time; they are ended one after the other, by session, console, user and grant
in turn."""

import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "integration")]

from common.unix_http import UnixConnection  # noqa: E402
from daemon import Kerbside  # noqa: E402
from session import Session  # noqa: E402
from spice import (CURSOR, DISPLAY, INPUTS, PLAYBACK, RECORD, SMARTCARD, USBREDIR,  # noqa: E402
                   Server)

CHANNELS = (DISPLAY, INPUTS, CURSOR, PLAYBACK, RECORD, SMARTCARD, USBREDIR)


def way(number: int, session: dict) -> tuple[str, dict]:
    """What is asked for to end this session alone."""
    return (
        (f"/api/v1/sessions/{session['id']}/terminate", {}),
        (f"/api/v1/consoles/lab/{session['uuid']}/terminate", {}),
        ("/api/v1/sessions/terminate", {"user": session["user"]}),
        ("/api/v1/sessions/terminate", {"grant_id": session["grant_id"]}),
    )[number % 4]


def end_one_by_one(scratch: Path, count: int) -> list[float]:
    """Milliseconds, one a session."""
    server = Server()
    consoles = [{"uuid": f"desk-{n}", "hypervisor_ip": server.host, "insecure_port": server.port,
                 "ticket": server.ticket} for n in range(count)]
    kerbside = Kerbside(scratch, [{"source": "lab", "type": "static", "tls": "plain",
                                   "consoles": consoles}], log={"format": "json", "level": "info"})
    try:
        sessions = []
        for n in range(count):
            sessions.append(Session(kerbside, server, f"desk-{n}", user=f"user-{n}"))
            for kind in CHANNELS:
                sessions[-1].channel(kind)
        shown = {s["uuid"]: s for s in kerbside.sessions()}
        admin = UnixConnection(kerbside.runtime_dir / "admin.sock")
        took = []
        for n, session in enumerate(sessions):
            path, body = way(n, shown[f"desk-{n}"])
            started = time.perf_counter()
            admin.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            for channel in session.channels:
                channel.client.rest()
            took.append((time.perf_counter() - started) * 1e3)
            answer = admin.getresponse()
            if json.loads(answer.read()) != {"terminated": 1}:
                raise RuntimeError(f"{path}: {answer.status}")
            session.close()
        return took
    finally:
        kerbside.stop()
        server.stop()
