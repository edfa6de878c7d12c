"""Too much of something: connections, bytes, and peers that do not read. What is in excess is kept
back or refused; memory stays bounded, the others go on."""

import hashlib
import re
import resource
import select
import socket
import ssl
import threading

import pytest
from common.process import PATIENCE, wait_until
from conftest import World
from daemon import is_sanitized
from session import Session
from speech import DRAW_COPY, MIB, PORT_DATA, open_port, picture
from spice import (DISPLAY, INPUTS, NEED_SECURED, OK, PERMISSION_DENIED, PORT, Client, Link,
                   last_notice, message)

CROWD = 1000


@pytest.fixture(scope="module", autouse=True)
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= 4 * CROWD, "these tests need a hard limit of 4000 open files (ulimit -Hn)"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CROWD), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- connections ----

def test_a_thousand_connections_that_never_speak(world):
    kerbside = world.kerbside
    with kerbside.settings(timeouts={"setup": "2s"}):
        mark = kerbside.mark()
        clients = [Client(kerbside.address, None) for _ in range(CROWD)]
        assert kerbside.footprint().fds >= world.start.fds + CROWD / 2
        world.bystander.check()
        for client in clients:
            assert client.rest() == b""
            client.close()
        reasons = kerbside.why_refused(clients, mark)
        assert set(reasons.values()) == {"setup_timeout"}


def test_hundreds_that_fall_silent_inside_tls(world):
    kerbside = world.kerbside
    token = kerbside.grant("desk").token
    with kerbside.settings(timeouts={"setup": "5s"}):
        mark = kerbside.mark()
        clients = [Client(kerbside.address, world.tls) for _ in range(300)]
        for i, client in enumerate(clients):
            client.send(Link().pack()[:(0, 20, None)[i % 3]])
        world.bystander.check()
        with Session(kerbside, world.server, token=token) as session:  # a real one gets through
            session.main.exchange()
            for client in clients:
                client.rest()
                client.close()
            reasons = kerbside.why_refused(clients, mark)
            assert set(reasons.values()) == {"setup_timeout"}
            session.main.exchange()


def test_the_limit_of_connections(world):
    """What is beyond it is closed at once; what is there stays."""
    kerbside = world.kerbside
    with Session(kerbside, world.server) as session, \
            kerbside.settings(limits={"connections": 50}, timeouts={"setup": "5m"}):
        clients = [Client(kerbside.address, None) for _ in range(100)]
        # Three channels are there already.
        wait_until(lambda: len(ended(clients)) == 100 - 50 + 3, "those beyond are refused")
        session.main.exchange()
        for client in ended(clients):
            assert client.rest() == b""
            client.close()
            clients.remove(client)
        with pytest.raises(OSError):
            Client(kerbside.address, world.tls)
        for client in clients:
            client.leave()
        session.channel(DISPLAY).exchange()
        assert turned_away(kerbside, "too_many")


def test_the_limit_of_handshakes(world):
    """Beyond it connections are closed at once; who is through is not counted any more."""
    kerbside = world.kerbside
    with Session(kerbside, world.server) as session, \
            kerbside.settings(limits={"handshakes": 5}, timeouts={"setup": "5m"}):
        for _ in range(12):  # one after the other, and all are let in
            session.channel(INPUTS).exchange()
        loops = len(re.findall(r"^kerbside_loop_busy_ratio{", metrics(kerbside), re.M))
        clients = [Client(kerbside.address, None) for _ in range(20 * loops)]
        wait_until(lambda: len(ended(clients)) >= 15 * loops, "those beyond are refused")
        assert turned_away(kerbside, "too_many_handshakes")
        session.main.exchange()
        for client in clients:
            client.close()
        wait_until(lambda: kerbside.footprint().fds <= world.start.fds + 28, "they are gone")
        session.channel(DISPLAY).exchange()


def metrics(kerbside) -> str:
    return kerbside.ask("GET", "/metrics")[1].decode()


def turned_away(kerbside, reason: str) -> bool:
    """The audit has it, once in ten seconds at most, and the metrics have each."""
    kerbside.wait_audit("channel.refused", reason=reason, client_address=None)
    name = kerbside.log("listener.opened")[0]["address"]
    line = f'kerbside_connections_refused_total{{listener="{name}",reason="{reason}"}} '
    return any(int(found) > 0 for found in re.findall(re.escape(line) + r"(\d+)",
                                                      metrics(kerbside)))


def ended(clients) -> list:
    by_socket = {client.sock: client for client in clients}
    return [by_socket[s] for s in select.select(list(by_socket), [], [], 0)[0]]


def test_no_descriptor_left(world, tmp_path):
    """The daemon's own limit of open files: new connections are turned away, and nothing else."""
    small = World(tmp_path, enter=["prlimit", "--nofile=100:100"])
    try:
        with Session(small.kerbside, small.server) as session:
            clients = [Client(small.kerbside.address, None) for _ in range(200)]
            # What is left is for those who are in: the command line, a session's next channel.
            assert turned_away(small.kerbside, "no_descriptor")
            session.main.exchange()
            small.bystander.check()
            for client in clients:
                client.close()
            wait_until(lambda: small.kerbside.footprint().fds <= small.start.fds + 2,
                       "they are gone")
            session.channel(DISPLAY).exchange()
        small.check()
    finally:
        small.stop()


# ---- a peer that does not read ----

def small_buffers(wire):
    for name in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        wire.sock.setsockopt(socket.SOL_SOCKET, name, 1 << 16)


def send_until_blocked(wire, text: bytes) -> int:
    """How much of it goes out while nobody reads at the other end."""
    wire.sock.setblocking(False)
    sent = 0
    # Blocked is what is not writable for a while; a machine in a hurry may take it for blocked too
    # early, which makes the test weaker and not wrong.
    while sent < len(text) and select.select([], [wire.sock], [], 1)[1]:
        try:
            sent += wire.sock.send(text[sent:sent + (1 << 18)])
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
    wire.sock.settimeout(PATIENCE)
    return sent


@pytest.mark.parametrize("deaf", ["client", "server"])
def test_back_pressure(world, deaf):
    """The sender is held up, kerbside keeps one read's worth, the rest is in the kernel; when the
    peer reads at last it gets everything."""
    kerbside = world.kerbside
    with Session(kerbside, world.server) as session:
        channel = session.display() if deaf == "client" else session.channel(PORT)
        if deaf == "server":
            open_port(channel)
        other = session.channel(INPUTS)
        reader = getattr(channel, deaf)
        sender = channel.server if deaf == "client" else channel.client
        small_buffers(reader)
        small_buffers(sender)
        body = bytes(range(256)) * (4 * MIB // 256)
        text = message(DRAW_COPY if deaf == "client" else PORT_DATA, body) * 32  # 128 MiB
        before = kerbside.footprint().rss
        sent = send_until_blocked(sender, text)
        assert sent < 64 * MIB
        if not is_sanitized():
            assert kerbside.footprint().rss < before + 4 * MIB
        # The others have not noticed: the same session's, and the session beside.
        other.exchange()
        session.main.exchange()
        world.bystander.check()
        thread = threading.Thread(target=sender.send, args=(text[sent:],))
        thread.start()
        digest = hashlib.sha256(text).digest()
        assert hashlib.sha256(reader.read(len(text))).digest() == digest
        thread.join()
        channel.exchange()


def test_both_ends_send_and_nobody_reads(world):
    """Neither direction may wait for the other: the one that is read again goes on."""
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(PORT)
        open_port(channel)
        for wire in (channel.client, channel.server):
            small_buffers(wire)
        there = message(PORT_DATA, b"t" * MIB) * 8
        back = message(PORT_DATA, b"b" * MIB) * 8
        threads = [threading.Thread(target=channel.client.send, args=(there,)),
                   threading.Thread(target=channel.server.send, args=(back,))]
        for thread in threads:
            thread.start()
        session.main.exchange()
        assert channel.server.read(len(there)) == there
        assert channel.client.read(len(back)) == back
        for thread in threads:
            thread.join()


def test_a_client_that_never_reads_can_be_ended(world):
    """A channel that is full to the brim ends like any other."""
    with Session(world.kerbside, world.server) as session:
        channel = session.display()
        small_buffers(channel.client)
        send_until_blocked(channel.server, picture(4 * MIB) * 32)
        world.kerbside.ask("POST", f"/api/v1/sessions/{session.id}/terminate", {})
        assert last_notice(session.main.client)
        assert session.wait_end()["reason"] == "terminated"


# ---- fairness ----

def test_others_go_on_beside_a_flood(world):
    """Four channels carry as much as they can; messages of others still come and go, and a new
    session is set up."""
    over = threading.Event()
    carried = [0, 0, 0, 0]
    text = picture(MIB) * 4

    def flood(channel):
        try:
            while not over.is_set():
                channel.server.send(text)
        except OSError:
            pass

    def drain(i, channel):
        while data := channel.client._receive():
            carried[i] += len(data)

    with Session(world.kerbside, world.server) as session:
        channels = [session.display(i) for i in range(4)]
        threads = [threading.Thread(target=flood, args=(c,)) for c in channels]
        threads += [threading.Thread(target=drain, args=(i, c)) for i, c in enumerate(channels)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: min(carried) > 4 * MIB, "all four floods flow")
            before = list(carried)
            world.bystander.check()
            for i in range(100):
                session.main.exchange(i)
            with Session(world.kerbside, world.server) as other:
                other.channel(INPUTS).exchange()
            wait_until(lambda: all(now > then for now, then in zip(carried, before)),
                       "and none of them is starved")
        finally:
            over.set()
            for channel in channels:
                channel.client.sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


# ---- again and again ----

@pytest.mark.skipif(is_sanitized(), reason="a sanitizer keeps what is freed, and looks for leaks "
                                           "itself when the daemon ends")
def test_memory_does_not_grow_with_the_number_of_connections(world):
    """Rounds of everything that can happen to a link; after the first two, which fill pools and
    caches, they cost next to nothing that stays."""
    kerbside = world.kerbside

    def round_of_links():
        token = kerbside.grant("desk", reusable=True).token
        for _ in range(20):
            client = Client(kerbside.address, None)  # in clear
            assert client.hello().error == NEED_SECURED
            client.close()
            client = Client(kerbside.address, world.tls)  # broken off
            client.hello()
            client.close()
            client = Client(kerbside.address, world.tls)
            assert client.link("unknown") == PERMISSION_DENIED
            client.close()
            client = Client(kerbside.address, world.tls)  # a session with two channels
            assert client.link(token) == OK
            leg = world.server.take()
            session_id = int.from_bytes(client.message()[1][:4], "little")
            display = Client(kerbside.address, world.tls)
            assert display.link(token, Link(DISPLAY, 0, session_id)) == OK
            world.server.take().close()
            assert display.rest() == b""
            display.close()
            client.leave()
            leg.close()
        wait_until(lambda: kerbside.footprint().fds <= world.start.fds, "all are gone")
        return kerbside.footprint().rss

    sizes = [round_of_links() for _ in range(4)]
    # 100 connections a round: a leak of two KiB in each would be more than this in two rounds.
    assert sizes[3] - sizes[1] < 400 << 10, sizes
