"""What a policy takes out of a channel that goes on: input, channels, screens, ports."""

import struct

import pytest
from conftest import World, console
from session import Session
from speech import port_init
from spice import CURSOR, DISPLAY, INPUTS, PERMISSION_DENIED, PORT, Link, Server, message

POLICIES = {
    "look": {"view_only": True},
    "look-trial": {"view_only": True, "mode": "observe"},
    "one-screen": {"screens": 1},
    "no-cursor": {"cursor": False, "usb": {"enabled": False}},
    "no-monitor": {"ports": ["*", "!*monitor*"]},
    "fixed": {"resize": False},
}
CHANNELS_LIST, AGENT_DATA, AGENT_TOKEN, MONITORS_CONFIG = 104, 109, 110, 317
AGENT_START, CLIENT_AGENT_DATA = 106, 107
KEY_DOWN, MOTION, POSITION, MOTION_ACK = 101, 111, 112, 111
DATA, EVENT = 101, 202
ENDLESS = b"\xff" * 4


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A console for each policy, all on one server."""
    ruled = Server()
    source = {"source": "ruled", "type": "static", "tls": "plain",
              "consoles": [console(name, ruled, policy=name) for name in POLICIES]}
    world = World(tmp_path_factory.mktemp("world"), [source], policies=POLICIES)
    world.ruled = ruled
    yield world
    world.stop()
    ruled.stop()


def session_of(world, policy: str) -> Session:
    return Session(world.kerbside, world.ruled, policy, source_name="ruled")


def wait_blocked(world, session, rule: str):
    world.kerbside.wait_audit("policy.blocked", session_id=session.id, reason=rule)
    assert {row["reason"] for row in
            world.kerbside.audit("policy.blocked", session_id=session.id)} == {rule}


# ---- view only ----

def test_input_does_not_arrive_and_motion_is_acknowledged(world):
    """As spice-gtk does it: at most eight motions under way, for as long as it likes."""
    with session_of(world, "look") as session:
        inputs = session.channel(INPUTS)
        inputs.server.send(message(101, bytes(2)))
        assert inputs.client.message()[0] == 101
        under_way = 0
        for n in range(200):
            while under_way >= 8:
                assert inputs.client.message() == (MOTION_ACK, b"")
                under_way -= 4
            inputs.client.send(message(MOTION, bytes(10)) if n % 2
                               else message(POSITION, bytes(11)))
            inputs.client.send(message(KEY_DOWN, b"\x1e\0\0\0"))
            under_way += 1
        # What the channel itself needs still passes, so nothing of the rest was before it.
        pong = message(3, bytes(12))
        inputs.client.send(pong)
        assert inputs.server.read(len(pong)) == pong
        row = world.kerbside.wait_audit("policy.blocked", session_id=session.id)
        assert (row["reason"], row["channel"]) == ("view_only", "inputs:0")
        # One event when it began; the total comes when the channel closes.
        assert len(world.kerbside.audit("policy.blocked", session_id=session.id)) == 1
        inputs.client.leave()
        world.kerbside.wait_audit("policy.blocked", session_id=session.id,
                                  detail="in all 400 from the client, 0 from the server")
        session.main.exchange()


def test_view_only_on_trial(world):
    with session_of(world, "look-trial") as session:
        inputs = session.channel(INPUTS)
        key = message(KEY_DOWN, b"\x1e\0\0\0")
        inputs.client.send(key)
        assert inputs.server.read(len(key)) == key
        row = world.kerbside.wait_audit("policy.observed", session_id=session.id)
        assert row["reason"] == "view_only"


def test_an_acknowledgement_waits_for_the_message_under_way(world):
    """The client is in the middle of a long NOTIFY when the acknowledgement falls due."""
    text = message(7, struct.pack("<QIIII", 1, 0, 0, 0, 40000) + bytes(40001))
    with session_of(world, "look") as session:
        inputs = session.channel(INPUTS)
        inputs.server.send(text[:30000])
        assert inputs.client.read(30000) == text[:30000]
        pong = message(3, bytes(12))
        inputs.client.send(message(MOTION, bytes(10)) * 4 + pong)
        assert inputs.server.read(len(pong)) == pong
        inputs.server.send(text[30000:])
        assert inputs.client.read(len(text) - 30000) == text[30000:]
        assert inputs.client.message() == (MOTION_ACK, b"")


def test_a_client_that_never_reads_its_acknowledgements(world):
    """They are not kept for ever."""
    with session_of(world, "look") as session:
        inputs = session.channel(INPUTS)
        with pytest.raises(OSError):
            for _ in range(4000):  # some 250 MiB
                inputs.client.send(message(MOTION, bytes(10)) * 4096)
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id)
        assert (closed["channel"], closed["reason"]) == ("inputs:0", "message_flood")
        session.main.exchange()


def test_one_may_read_a_console_that_one_only_looks_at(world):
    with session_of(world, "look") as session:
        port = session.channel(PORT)
        hello = port_init(b"org.qemu.console.serial.0") + message(DATA, b"login: ")
        port.server.send(hello)
        assert port.client.read(len(hello)) == hello
        opened = message(201, b"\0")
        port.client.send(message(DATA, b"root\n") + message(DATA, bytes(50000)) + opened)
        assert port.server.read(len(opened)) == opened
        wait_blocked(world, session, "view_only")


# ---- channels and screens ----

def hear_list(session: Session, *channels: tuple[int, int]) -> list[tuple[int, int]]:
    body = struct.pack("<I", len(channels)) + b"".join(bytes(c) for c in channels)
    session.main.server.send(message(CHANNELS_LIST, body))
    kind, body = session.main.client.message()
    assert kind == CHANNELS_LIST
    assert len(body) == 4 + 2 * int.from_bytes(body[:4], "little")
    return list(zip(body[4::2], body[5::2], strict=True))


ALL = [(2, 0), (2, 1), (3, 0), (4, 0), (4, 1), (5, 0), (9, 0), (9, 1), (10, 0)]


@pytest.mark.parametrize("policy, gone", [
    ("look", []), ("one-screen", [(2, 1), (4, 1)]),
    ("no-cursor", [(4, 0), (4, 1), (9, 0), (9, 1)]),
])
def test_channels_that_are_off_are_not_listed_and_not_linked(world, policy, gone):
    with session_of(world, policy) as session:
        for _ in range(2):  # servers send it again when something changes
            assert hear_list(session, *ALL) == [c for c in ALL if c not in gone]
        for kind, number in gone:
            client = session.client()
            link = Link(kind, number, session.connection_id)
            assert client.link(session.token, link) == PERMISSION_DENIED
        session.channel(DISPLAY).exchange()
        session.main.exchange()
        if (CURSOR, 0) not in gone:
            session.channel(CURSOR).exchange()


def test_screens_of_one_card(world):
    """A card with several heads has one channel; the client is told of one head."""
    heads = [struct.pack("<7I", n, 0, 800, 600, 800 * n, 0, 0) for n in range(3)]
    with session_of(world, "one-screen") as session:
        display = session.display()
        display.server.send(message(MONITORS_CONFIG, struct.pack("<HH", 3, 4) + b"".join(heads)))
        assert display.client.message() == (MONITORS_CONFIG, struct.pack("<HH", 1, 1) + heads[0])
        display.exchange()
        wait_blocked(world, session, "screens")


# ---- ports ----

def test_a_port_that_is_a_monitor(world):
    """Not its data and not even its name; the others stay."""
    with session_of(world, "no-monitor") as session:
        good, bad = session.channel(PORT, 0), session.channel(PORT, 1)
        hello = port_init(b"org.qemu.console.serial.0") + message(DATA, b"login: ")
        good.server.send(hello)
        assert good.client.read(len(hello)) == hello
        bad.server.send(port_init(b"org.qemu.monitor.hmp.0") + message(DATA, b"(qemu) "))
        assert bad.client.rest() == b""
        assert bad.server.rest() == b""
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id)
        assert (closed["channel"], closed["reason"]) == ("port:1", "policy_blocked")
        row = world.kerbside.wait_audit("policy.blocked", session_id=session.id)
        assert (row["reason"], row["detail"]) == ("ports", "org.qemu.monitor.hmp.0")
        good.exchange()


# ---- the agent ----

def test_a_size_that_the_client_may_not_set(world):
    """The guest hears nothing, the client is told that it is done, and its tokens come back."""
    monitors = struct.pack("<IIIII", 1, 0, 640, 480, 32) + bytes(8)
    size = struct.pack("<IIQI", 1, 2, 0, len(monitors)) + monitors
    with session_of(world, "fixed") as session:
        main = session.main
        main.server.send(message(115, struct.pack("<I", 10)))
        kind, body = main.client.message()
        assert kind == 115
        tokens = int.from_bytes(body, "little")
        main.client.send(message(AGENT_START, ENDLESS))
        assert main.server.message() == (AGENT_START, ENDLESS)
        replies = 0
        for _ in range(50):
            while not tokens:
                kind, body = main.client.message()
                if kind == AGENT_TOKEN:
                    tokens += int.from_bytes(body, "little")
                else:
                    assert kind == AGENT_DATA and body[4:8] == b"\3\0\0\0"
                    replies += 1
            main.client.send(message(CLIENT_AGENT_DATA, size))
            tokens -= 1
        assert replies > 0
        request = message(105, b"\2\0")
        main.client.send(request)
        assert main.server.read(len(request)) == request  # and nothing before it
        wait_blocked(world, session, "resize")
