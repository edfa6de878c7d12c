"""kill -9 while sessions run and everybody wants something: after the next start nothing is missing
that anybody was told, and nothing lives that is dead."""

import json
import threading

import pytest
from common.process import PATIENCE, wait_until
from conftest import console
from daemon import Kerbside
from spice import DISPLAY, MSG_MAIN_INIT, OK, Client, Link, Server

ROUNDS = 4
WORKERS = 4
# What must have happened in a round before it ends: enough that something is always under way.
ENOUGH = 12


class Load:
    """Makes grants, opens sessions and closes some, and writes down what it was told; until the
    daemon is gone."""

    def __init__(self, kerbside: Kerbside):
        self.kerbside, self.address, self.tls = kerbside, kerbside.address, kerbside.client_tls()
        self.granted: set[str] = set()  # ids that were answered
        self.opened: set[str] = set()  # grants whose session a client was let into
        self.closed: set[str] = set()  # of these, which the client closed itself
        self.seen: dict[str, dict] = {}  # events that the audit has shown, by id
        self.failure: Exception | None = None
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True)
                         for number in range(WORKERS)]
        self._threads.append(threading.Thread(target=self._read, daemon=True))
        for thread in self._threads:
            thread.start()

    def _guard(self, step):
        """A dead daemon ends it; anything else is a failure of the test."""
        try:
            while True:
                step()
        except Exception as problem:  # such as an answer that was cut in the middle
            if not self._over.is_set():
                self.failure = problem

    def _run(self, number: int):
        count = 0
        live = []

        def step():
            nonlocal count
            grant = self.kerbside.grant("desk", user=f"worker-{number}")
            self.granted.add(grant.id)
            main = Client(self.address, self.tls)
            live.append(main)
            assert main.link(grant.token) == OK
            self.opened.add(grant.id)
            kind, body = main.message()
            assert kind == MSG_MAIN_INIT
            display = Client(self.address, self.tls, source=main.source)
            live.append(display)
            link = Link(DISPLAY, 0, int.from_bytes(body[:4], "little"))
            assert display.link(grant.token, link) == OK
            count += 1
            if count % 2:
                display.close()
                main.close()
                self.closed.add(grant.id)

        self._guard(step)
        for client in live:
            client.close()

    def _read(self):
        def step():
            page = json.loads(self.kerbside.ask("GET", "/api/v1/audit?limit=200")[1])["items"]
            self.seen.update((row["id"], row) for row in page)

        self._guard(step)

    def kill(self):
        wait_until(lambda: self.failure or (len(self.opened) >= ENOUGH and len(self.closed) >= 2
                                            and self.seen), "there is load")
        assert self.failure is None, repr(self.failure)
        self._over.set()
        self.kerbside.process.kill()
        for thread in self._threads:
            thread.join(PATIENCE * 2)
            assert not thread.is_alive()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def kerbside(tmp_path, server):
    kerbside = Kerbside(tmp_path / "kerbside", [
        {"source": "lab", "type": "static", "tls": "plain", "consoles": [console("desk", server)]}],
        # On a busy machine it is the load that is slow, and that is not what is tried here.
        timeouts={"setup": "2m", "connect": "2m", "link": "2m"}, grants={"start_within": "10m"})
    yield kerbside
    kerbside.stop()


def check(kerbside, load: Load):
    """All of what this load was told is there, and its sessions are over."""
    rows = kerbside.audit()
    there = {row["id"]: row for row in rows}
    missing = {number for number, row in load.seen.items() if there.get(number) != row}
    assert not missing, f"{len(missing)} events were shown and are gone or changed"

    def grants_of(event):
        return {row["grant_id"] for row in rows if row["event"] == event}

    assert load.granted <= grants_of("grant.created")
    assert load.opened <= grants_of("grant.redeemed") & grants_of("session.started")
    states = {grant["id"]: grant["state"] for grant in kerbside.items("/api/v1/grants")}
    assert {states[grant] for grant in load.opened} == {"redeemed"}


def check_no_ghosts(kerbside):
    assert kerbside.sessions() == []
    rows = kerbside.audit()
    started = [row["session_id"] for row in rows if row["event"] == "session.started"]
    ended = [row["session_id"] for row in rows if row["event"] == "session.ended"]
    assert sorted(started) == sorted(ended)  # each once
    for row in [row for row in rows if row["event"] == "session.ended"][-5:]:
        found = json.loads(kerbside.ask("GET", f"/api/v1/sessions/{row['session_id']}")[1])
        assert (found["reason"], found["channels"]) == (row["reason"], [])
        assert found["ended_at"] == row["time"]
        if row["reason"] == "node_restarted":
            assert found["bytes_from_client"] is None  # nobody counted to the end


def test_killed_again_and_again(kerbside):
    loads = []
    for _ in range(ROUNDS):
        loads.append(Load(kerbside))
        loads[-1].kill()
        kerbside.start()
        for load in loads:  # the earlier ones too: nothing is lost later either
            check(kerbside, load)
        check_no_ghosts(kerbside)
    assert kerbside.audit("session.ended", reason="node_restarted")
    # And it works as before.
    client = Client(kerbside.address, kerbside.client_tls())
    assert client.link(kerbside.grant("desk").token) == OK
    client.close()
