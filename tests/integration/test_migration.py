"""A desktop that moves to another hypervisor: kerbside goes along in the client's place where both
hypervisors can, sends the client back to itself where they cannot, and believes no hypervisor."""

import socket
import struct

import pytest
from conftest import World, console
from session import Channel, Session
from spice import (CURSOR, DISPLAY, INPUTS, MAIN, OK, PERMISSION_DENIED, PLAYBACK, PORT,
                   Client, Link, Server, message)

MIGRATE, MIGRATE_DATA = 1, 2
BEGIN, CANCEL, SWITCH_HOST, BEGIN_SEAMLESS = 101, 102, 111, 116
SEAMLESS_ACK, SEAMLESS_NACK = 117, 118
# from the client
FLUSH_MARK, STATE = 4, 5
CONNECT_ERROR, DO_SEAMLESS, CONNECTED_SEAMLESS = 103, 110, 111
NEED_FLUSH, NEED_DATA = 1, 2

INVAL_LIST, PORT_INIT, PORT_DATA, INPUTS_INIT = 105, 201, 101, 101
KEY_DOWN, MOTION, MOTION_ACK = 101, 111, 111
DISCONNECTING = 6  # may be said at any time

POLICIES = {"looking": {"view_only": True}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The source `cluster` has the desktop `vm` on one host and another desktop on a second."""
    first, neighbour = Server(), Server(host="127.0.0.2")
    cluster = {"source": "cluster", "type": "static", "tls": "plain",
               "consoles": [console("vm", first), console("neighbour", neighbour)]}
    world = World(tmp_path_factory.mktemp("world"), [cluster], policies=POLICIES)
    world.first, world.neighbour = first, neighbour
    yield world
    world.stop()
    first.stop()
    neighbour.stop()


@pytest.fixture
def second():
    """The hypervisor to which the desktop moves: a place that no console has."""
    server = Server(host="127.0.0.2")
    yield server
    server.stop()


def place(host: str, port: int, version: int | None = None, subject: bytes = b"CN=nobody\0"):
    name = host.encode() + b"\0"
    at = 20 + (version is not None) * 4
    body = struct.pack("<HHIIII", port, 0, len(name), at, len(subject), at + len(name))
    return body + (b"" if version is None else struct.pack("<I", version)) + name + subject


class Moving(Session):
    """A session on `vm`. Legs that a test is done with are in `left`."""

    def __init__(self, world, **wish):
        self.left = []
        super().__init__(world.kerbside, world.first, "vm", source_name="cluster", **wish)

    def close(self):
        super().close()
        for leg in self.left:
            leg.close()


def begin(session: Session, server: Server):
    body = place(server.host, server.port, version=1)
    session.main.server.send(message(BEGIN_SEAMLESS, body))


def agree(session: Session, second: Server) -> dict:
    """The hypervisors' part until all is ready for the move; the new legs by channel."""
    begin(session, second)
    main = second.take()
    assert (main.link.channel_type, main.link.connection_id) == (MAIN, session.connection_id)
    assert main.password == second.ticket
    assert main.message() == (DO_SEAMLESS, struct.pack("<I", 1))
    main.send(message(SEAMLESS_ACK))
    legs = {MAIN: main}
    while len(legs) < len(session.channels):
        leg = second.take()
        assert leg.link.connection_id == session.connection_id
        legs[leg.link.channel_type] = leg
    assert session.main.server.message() == (CONNECTED_SEAMLESS, b"")
    session.left += legs.values()  # closed twice where they are a channel's by then
    return legs


def move(session: Session, channel: Channel, leg, flags=NEED_FLUSH | NEED_DATA, state=b"state"):
    """One channel goes along; afterwards its server's end is the new one."""
    channel.server.send(message(MIGRATE, struct.pack("<I", flags)))
    if flags & NEED_FLUSH:
        assert channel.server.message() == (FLUSH_MARK, b"")
    if flags & NEED_DATA:
        channel.server.send(message(MIGRATE_DATA, state))
        assert leg.message() == (STATE, state)
    left, channel.server = channel.server, leg
    session.left.append(left)


def assert_failed(world, session, reason, after=0) -> dict:
    """Kerbside told the old hypervisor that it cannot go there, and the session goes on."""
    assert session.main.server.message() == (CONNECT_ERROR, b"")
    event = world.kerbside.wait_audit("session.migration_failed", after, session_id=session.id)
    assert event["reason"] == reason
    session.main.exchange()
    return event


# ---- the whole way ----

def test_a_session_goes_along(world, second):
    """The client's connections stay; it hears nothing of it, and nothing is lost or doubled."""
    with Moving(world) as session:
        display = session.display()
        inputs, cursor = session.channel(INPUTS), session.channel(CURSOR)
        playback = session.channel(PLAYBACK)
        legs = agree(session, second)
        for channel in session.channels:  # the old hypervisor still has all of it
            channel.exchange()
        assert world.kerbside.audit("session.migrated", session_id=session.id) == []

        move(session, playback, legs[PLAYBACK], flags=0)
        move(session, cursor, legs[CURSOR], flags=0)
        inputs.client.send(message(KEY_DOWN, struct.pack("<I", 0x1e)))
        assert inputs.server.message()[0] == KEY_DOWN
        legs[INPUTS].send(message(INPUTS_INIT, bytes(2)))
        move(session, inputs, legs[INPUTS], state=bytes(range(200)) * 300)
        move(session, display, legs[DISPLAY])
        playback.exchange()  # while main has not moved
        move(session, session.main, legs[MAIN])

        for leg in session.left[len(legs):]:
            assert leg.rest() == b""
        # What was said of the migration counts in a display's numbers.
        assert [display.client.message() for _ in range(2)] == [(INVAL_LIST, b"\0\0")] * 2
        assert inputs.client.message() == (INPUTS_INIT, bytes(2))
        for number, channel in enumerate(session.channels):
            channel.exchange(number)
        event = world.kerbside.wait_audit("session.migrated", session_id=session.id)
        assert event["detail"] == (f"from 127.0.0.1:{world.first.port} to "
                                   f"127.0.0.2:{second.port}, seamless")
        row = next(s for s in world.kerbside.sessions() if s["id"] == session.id)
        assert row["hypervisor"] == "127.0.0.2"
        session.server = second  # where further channels go
        session.channel(DISPLAY, 1).exchange()


def test_what_the_client_says_meanwhile_is_for_the_new_one(world, second):
    """A message that is half said is finished first, and the next one waits."""
    with Moving(world) as session:
        port = session.channel(PORT)
        port.server.send(port_init(b"com.example.0"))
        port.client.message()
        legs = agree(session, second)
        legs[PORT].send(port_init(b"com.example.0"))
        half, other = message(PORT_DATA, b"a" * 40000), message(PORT_DATA, b"b" * 9000)
        port.client.send(half[:20000])
        assert port.server.read(6 + 10000) == half[:10006]
        port.server.send(message(MIGRATE, struct.pack("<I", NEED_FLUSH | NEED_DATA)))
        port.client.send(half[20000:] + other)
        assert port.server.read(30000) == half[10006:]
        assert port.server.message() == (FLUSH_MARK, b"")
        port.client.send(other)
        port.server.send(message(MIGRATE_DATA, b"state"))
        assert legs[PORT].message() == (STATE, b"state")
        assert legs[PORT].read(2 * len(other)) == 2 * other
        assert port.client.message()[0] == PORT_INIT  # once more, as spice-server says it


def port_init(name: bytes) -> bytes:
    return message(PORT_INIT, struct.pack("<IIB", len(name) + 1, 9, 1) + name + b"\0")


def test_rules_hold_across(world, second):
    """Not from the beginning again: what was counted before the move counts after it."""
    with Moving(world, policy="looking") as session:
        inputs = session.channel(INPUTS)
        motion = message(MOTION, bytes(10))
        inputs.client.send(2 * motion)
        inputs.exchange()
        legs = agree(session, second)
        move(session, inputs, legs[INPUTS])
        move(session, session.main, legs[MAIN])
        inputs.client.send(2 * motion + message(KEY_DOWN, bytes(4)))
        assert inputs.client.message() == (MOTION_ACK, b"")  # of the four
        inputs.exchange()  # and nothing else has come to the new one


def test_a_port_keeps_its_name(world, second):
    """A policy knows ports by name: a new server cannot make one port of another."""
    with Moving(world) as session:
        port = session.channel(PORT)
        port.server.send(port_init(b"com.example.0"))
        port.client.message()
        legs = agree(session, second)
        move(session, port, legs[PORT])
        port.server.send(port_init(b"org.qemu.monitor.0"))
        assert port.client.rest() == b""
        session.main.exchange()


# ---- what goes wrong ----

def test_hypervisors_are_not_believed(world, second):
    """A host that the source does not list, another console's place, no port at all."""
    with Moving(world) as session:
        for host, port in (("192.0.2.7", 5900), ("127.0.0.3", second.port), ("localhost", 22),
                           ("127.0.0.2", world.neighbour.port), ("127.0.0.2", 0)):
            mark = world.kerbside.mark()
            session.main.server.send(message(BEGIN_SEAMLESS, place(host, port, version=1)))
            event = assert_failed(world, session, "migration_refused", mark)
            assert event["detail"].startswith(f"to {host}: ")
    assert second.legs.empty()


@pytest.mark.parametrize("body", [
    bytes(24),  # no host
    struct.pack("<HHIIIII", 5900, 0, 100, 24, 0, 0, 1) + b"127.0.0.2\0",  # outside
    struct.pack("<HHIIIII", 5900, 0, 4, 0xfffffffe, 0, 0, 1) + b"127.0.0.2\0",
    struct.pack("<HHIIIII", 5900, 0, 9, 24, 0, 0, 1) + b"127.0.0.2\0",  # not ended
    struct.pack("<HHIIIII", 5900, 0, 5, 24, 0, 0, 1) + b"a b\n\0",
], ids=["nothing", "outside", "far-outside", "not-ended", "no-host"])
def test_a_place_that_cannot_be_read(world, body):
    with Moving(world) as session:
        session.main.server.send(message(BEGIN_SEAMLESS, body))
        assert session.main.client.rest() == b""
        assert session.wait_end()["reason"] == "message_malformed"


def test_the_new_hypervisor_says_no(world, second):
    """It wants another ticket, does not take the state over, hangs up, or is not there."""
    with Moving(world) as session:
        inputs = session.channel(INPUTS)
        second.ticket = "another"
        begin(session, second)
        assert_failed(world, session, "server_ticket")
        second.ticket = world.first.ticket
        for say, reason in ((lambda leg: leg.send(message(SEAMLESS_NACK)), "migration_refused"),
                            (lambda leg: leg.send(message(4, bytes(12))), "migration_refused"),
                            (lambda leg: leg.close(), "server_link_closed")):
            mark = world.kerbside.mark()
            begin(session, second)
            leg = second.take()
            assert leg.message()[0] == DO_SEAMLESS
            say(leg)
            assert_failed(world, session, reason, mark)
            leg.close()
        second.stop()
        mark = world.kerbside.mark()
        begin(session, second)
        assert_failed(world, session, "connect_failed", mark)
        inputs.exchange()


def test_a_desktop_that_stays_after_all(world, second):
    """The new legs end, and the next migration is like the first."""
    with Moving(world) as session:
        legs = agree(session, second)
        session.main.server.send(message(CANCEL))
        assert legs[MAIN].rest() == b""
        session.main.exchange()
        legs = agree(session, second)
        move(session, session.main, legs[MAIN])
        session.main.exchange()


def test_a_channel_that_opens_meanwhile(world, second):
    with Moving(world) as session:
        legs = agree(session, second)
        inputs = session.channel(INPUTS)
        leg = second.take()
        assert leg.link.channel_type == INPUTS
        session.left.append(leg)
        move(session, session.main, legs[MAIN])
        session.main.exchange()
        move(session, inputs, leg)
        inputs.exchange()
        world.kerbside.wait_audit("session.migrated", session_id=session.id)


@pytest.mark.parametrize("say, reason", [
    (("server", message(MIGRATE, struct.pack("<I", 3))), "message_out_of_place"),
    (("server", message(MIGRATE, struct.pack("<I", 3)) + message(MIGRATE_DATA, b"x")),
     "message_out_of_place"),
    (("client", message(STATE, b"state")), "message_out_of_place"),
    (("client", message(FLUSH_MARK)), "message_out_of_place"),
    (("client", message(CONNECTED_SEAMLESS)), "message_out_of_place"),
], ids=["migrate", "data", "clients-state", "clients-mark", "clients-answer"])
def test_nobody_migrates_alone(world, say, reason):
    """Without kerbside having agreed, and never by the client."""
    who, text = say
    with Moving(world) as session:
        getattr(session.main, who).send(text)
        assert session.main.client.rest() == b""
        assert session.wait_end()["reason"] == reason


def test_a_state_that_is_too_long(world, second):
    with Moving(world) as session:
        inputs = session.channel(INPUTS)
        agree(session, second)
        inputs.server.send(message(MIGRATE, struct.pack("<I", NEED_FLUSH | NEED_DATA)))
        assert inputs.server.message() == (FLUSH_MARK, b"")
        inputs.server.send(struct.pack("<HI", MIGRATE_DATA, (1 << 20) + 1) + bytes(20000))
        assert inputs.client.rest() == b""
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id,
                                           channel="inputs:0")
        assert closed["reason"] == "message_too_long"
        session.main.exchange()


# ---- sent back ----

def way_back(session: Session) -> tuple:
    """What the client is told, which must be all about kerbside."""
    kind, body = session.main.client.message()
    assert kind == SWITCH_HOST
    port, tls_port, host_size, host_at, size, at = struct.unpack_from("<HHIIII", body)
    host = body[host_at:host_at + host_size]
    subject = body[at:at + size]
    assert host.endswith(b"\0") and subject.endswith(b"\0")
    assert len(body) == 20 + len(host) + len(subject)
    return host[:-1].decode(), port, tls_port, subject[:-1].decode()


def send_back(session: Session, second: Server, host=None):
    session.main.server.send(message(BEGIN, place(second.host, second.port)))
    assert session.main.server.message() == (CONNECT_ERROR, b"")
    session.main.server.send(message(SWITCH_HOST, place(host or second.host, second.port)))


def test_a_client_is_sent_back(world, second):
    """Where the hypervisors know no seamless migration the client comes again, to kerbside, with
    the same token; it is the same session."""
    with Moving(world) as session:
        display = session.channel(DISPLAY)
        send_back(session, second)
        vv = world.kerbside.ask("POST", "/api/v1/consoles/cluster/vm/grants",
                                headers={"Accept": "application/x-virt-viewer"})[1].decode()
        told = way_back(session)
        says = dict(line.split("=", 1) for line in vv.splitlines() if "=" in line)
        assert told == (says["host"], 0, int(says["tls-port"]), says["host-subject"])
        # The old hypervisor goes first, and the client is not thrown out for that.
        for channel in (session.main, display):
            channel.server.sock.shutdown(socket.SHUT_WR)
        for _ in range(3):
            session.main.client.send(message(DISCONNECTING, bytes(12)))
        thief = Client(world.kerbside.address, session.tls)
        assert thief.link(session.token) == PERMISSION_DENIED
        old, session.channels, session.connection_id = session.channels, [], 0
        session.server = second
        session.main = session.channel(MAIN)
        kind, body = session.main.client.message()
        session.connection_id = int.from_bytes(body[:4], "little")
        for channel in old:
            assert channel.client.rest() == b""
        session.channel(INPUTS).exchange()
        session.main.exchange()
        event = world.kerbside.wait_audit("session.migrated", session_id=session.id)
        assert event["detail"] == (f"from 127.0.0.1:{world.first.port} to "
                                   f"127.0.0.2:{second.port}, switch")
        assert {e["reason"] for e in world.kerbside.audit("channel.closed",
                                                          session_id=session.id)} == {"migrated"}
        assert [s["hypervisor"] for s in world.kerbside.sessions()
                if s["id"] == session.id] == ["127.0.0.2"]


def test_sent_back_to_a_place_that_nobody_vouches_for(world, second):
    with Moving(world) as session:
        send_back(session, second, host="192.0.2.7")
        way_back(session)
        session.main.close()
        again = session.client()
        assert again.link(session.token) != OK
        assert session.wait_end()["reason"] == "migration_refused"


def test_a_client_that_does_not_come_back(world, second):
    with Moving(world) as session:
        send_back(session, second)
        way_back(session)
        session.main.close()
        assert session.wait_end()["reason"] == "migrated"


# ---- the end at any moment ----

def ready(session, second):
    agree(session, second)


def linking(session, second):
    begin(session, second)
    session.left.append(second.take())
    assert session.left[-1].message()[0] == DO_SEAMLESS


def moving(session, second):
    legs = agree(session, second)
    for channel in session.channels:
        if channel is not session.main:
            move(session, channel, legs[INPUTS])
    session.main.server.send(message(MIGRATE, struct.pack("<I", NEED_FLUSH | NEED_DATA)))
    assert session.main.server.message() == (FLUSH_MARK, b"")


def switching(session, second):
    send_back(session, second)
    way_back(session)


# A client is not read while its channel moves, so its end is seen after that.
@pytest.mark.parametrize("victim, phase", [
    *(("client", phase) for phase in (linking, ready, switching)),
    *((who, phase) for who in ("old", "operator") for phase in (linking, ready, moving, switching)),
])
def test_an_end_in_the_middle(world, second, victim, phase):
    """Whoever goes, whenever: the session ends for that reason and nothing of it is left."""
    with Moving(world) as session:
        session.channel(INPUTS)
        phase(session, second)
        if victim == "operator":
            world.kerbside.ask("POST", f"/api/v1/sessions/{session.id}/terminate", {})
        else:
            end = session.main.client if victim == "client" else session.main.server
            end.reset()
        if phase is not switching or victim == "operator":
            reason = {"client": "client_lost", "old": "server_lost", "operator": "terminated"}
            assert session.wait_end()["reason"] == reason[victim]
        else:  # it waits for its client, which comes
            session.server, session.connection_id = second, 0
            session.channel(MAIN)
