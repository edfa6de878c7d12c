"""Harm of every kind at any byte, on either leg, of many sessions at once: each ends with a reason,
nothing is left of it, and the session beside has not noticed."""

import contextlib
import random
import struct
import threading

import pytest
from common.pki import Authority
from conftest import World, console
from faults import FAULTS, BadNetwork
from spice import (DISPLAY, DISPLAY_INIT, INPUTS, MAIN, MSG_MAIN_INIT, OK, Client, Ended, Leg, Link,
                   Server, message)

VISITS = 64
AT_ONCE = 6
ROUNDS = 4
# What becomes of a visit is for nobody to say, so it need not be waited for long.
PATIENCE = 4
# Bytes of one connection in one direction: TLS is some three thousand, the link some hundred.
MOST = 6000
DISCONNECTING = 6
# Nobody did any of this.
IMPOSSIBLE = {"none", "internal", "terminated", "max_session", "idle", "drained", "node_restarted",
              "store_failed", "console_gone", "source_failed", "too_many"}
# Far shorter than what a person has, so that stalls end; what is set up already does not care.
SHORT = {"setup": "2s", "connect": "2s", "link": "2s"}


def echo(leg: Leg):
    """A server that says what it hears."""
    try:
        leg.answer()
    except (AssertionError, ValueError, struct.error):  # a byte was changed on its way
        return
    while True:
        kind, body = leg.message()
        if kind == DISCONNECTING:
            leg.send(message(kind, body))


class Chaos(World):
    def __init__(self, scratch):
        authority = Authority()
        self.plain = Server(behave=echo)
        self.secure = Server(behave=echo, tls=authority.server_context(scratch / "tls", "CN=desk"))
        self.chance = random.Random(0)
        self.behind = {name: BadNetwork((server.host, server.port), self.chance, MOST)
                       for name, server in (("plain", self.plain), ("secure", self.secure))}
        super().__init__(scratch, [
            {"source": "plain", "type": "static", "tls": "plain", "consoles": [
                console("desk", self.plain, insecure_port=self.behind["plain"].address[1])]},
            {"source": "secure", "type": "static", "tls": "require", "ca_cert": authority.pem,
             "consoles": [
                 console("desk", self.secure, secure_port=self.behind["secure"].address[1])]}])
        self.servers += [self.plain, self.secure]

    def stop(self):
        for network in self.behind.values():
            network.stop()
        super().stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = Chaos(tmp_path_factory.mktemp("chaos"))
    yield world
    world.stop()


class Visitor:
    """A client of good manners in a bad network: main, display and inputs, some messages each way,
    and good-bye."""

    def __init__(self, address, tls, token: str):
        self.address, self.tls, self.token = address, tls, token
        self.open: list[Client] = []

    def channel(self, kind: int, connection_id=0) -> Client:
        client = Client(self.address, self.tls)
        client.patience = PATIENCE
        self.open.append(client)
        if client.link(self.token, Link(kind, 0, connection_id)) != OK:
            raise Ended(b"")
        return client

    def visit(self):
        main = self.channel(MAIN)
        kind, body = main.message()
        if kind != MSG_MAIN_INIT:
            raise Ended(body)
        connection_id = int.from_bytes(body[:4], "little")
        display = self.channel(DISPLAY, connection_id)
        display.send(message(DISPLAY_INIT, bytes(14)))
        everything = [main, display, self.channel(INPUTS, connection_id)]
        for number in range(ROUNDS):
            for client in everything:
                client.send(message(DISCONNECTING, number.to_bytes(12, "little")))
            for client in everything:
                client.message()

    def go(self):
        # Struck by a fault: broken off, refused, or told what makes no sense.
        with contextlib.suppress(Ended, OSError, AssertionError, ValueError, struct.error):
            self.visit()
        for client in self.open:
            client.close()


def rush(world, near: BadNetwork, uuids):
    """Visitors, some at a time, until all have been."""
    waiting = [world.kerbside.grant("desk", source, user="visitor").token for source in uuids]
    lock = threading.Lock()
    failures = []

    def run():
        try:
            while True:
                with lock:
                    if not waiting:
                        return
                    token = waiting.pop()
                Visitor(near.address, world.tls, token).go()
        except Exception as problem:  # of this test itself
            failures.append(problem)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


@pytest.mark.parametrize("seed", range(2))
def test_harm_at_any_byte(world, seed):
    kerbside = world.kerbside
    mark = kerbside.mark()
    world.chance.seed(seed)
    near = BadNetwork(kerbside.address, world.chance, MOST)
    networks = [near, *world.behind.values()]
    for network in networks:
        network.faults.clear()
    try:
        with kerbside.settings(timeouts=SHORT, grants={"start_within": "1h"}):
            rush(world, near, ["plain", "secure"] * (VISITS // 2))
    finally:
        near.stop()
    met = {(network is near, fault.kind) for network in networks for fault in network.faults}
    assert met == {(side, kind) for side in (True, False) for kind in FAULTS}

    started = {row["session_id"] for row in kerbside.audit("session.started", mark)}
    assert started, "nobody came in"
    for session in started:
        kerbside.wait_audit("session.ended", mark, session_id=session)
    rows = kerbside.audit(after=mark)
    ended = [row for row in rows if row["event"] == "session.ended"]
    assert sorted(row["session_id"] for row in ended) == sorted(started)  # each once
    reasons = {row["reason"] for row in rows if row["reason"]}
    assert not reasons & IMPOSSIBLE, reasons

    def channels(event):
        return sorted((row["session_id"], row["channel"]) for row in rows
                      if row["event"] == event and row["session_id"] in started)

    assert channels("channel.opened") == channels("channel.closed")
    live = [session["id"] for session in kerbside.sessions()]
    assert live == [world.bystander.session.id]
