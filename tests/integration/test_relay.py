"""Messages through a channel: byte exact, bounded, and ended for one reason on both sides."""

import random
import threading

import pytest
from session import Session
from spice import (CHANNELS, CURSOR, DISPLAY, INPUTS, MAIN, PLAYBACK, PORT, RECORD, SMARTCARD,
                   TUNNEL, USBREDIR, WEBDAV, Wire, init, message)

KIB, MIB = 1 << 10, 1 << 20

# The messages here mean nothing; what they may mean is test_grammar.py's.
POLICIES = {"default": {"grammar": "observe"}}
NOTIFY = 7

# The longest body that a channel carries, from the client and from the server; why, stands in
# src/spice/grammar.c.
LONGEST = {
    MAIN: (4096 + 11 * 2048, 256 * KIB), DISPLAY: (1024, 256 * MIB), INPUTS: (2048, 64 * KIB),
    CURSOR: (1024, 16 * MIB), PLAYBACK: (1024, MIB), RECORD: (MIB, 64 * KIB),
    TUNNEL: (64 * KIB, 64 * KIB), SMARTCARD: (MIB, MIB), USBREDIR: (128 * MIB + 1029, MIB),
    PORT: (16 * MIB, MIB), WEBDAV: (16 * MIB, MIB),
}


# What is read on its way, and so is not just bytes: what belongs to a migration (test_migration.py),
# main's INIT, the agent's, and what is in channels of devices.
READ = (1, 2, 4, 5, *range(101, 117))


def messages(chance: random.Random, longest: int, count: int) -> list[bytes]:
    """Some of every size class: empty, small, around the block and the whole-message limit."""
    sizes = (0, 1, 5, 100, 1000, 4096, 16378, 16384, 16385, 40000, 70000)
    made = []
    for _ in range(count):
        size = min(longest, max(0, chance.choice(sizes) + chance.randrange(-3, 4)))
        kind = chance.choice([k for k in range(1, 130) if k not in READ])
        made.append(message(kind, chance.randbytes(size)))
    return made


def send_in_cuts(wire: Wire, text: bytes, chance: random.Random):
    at = 0
    while at < len(text):
        size = chance.choice((1, 2, 5, 6, 7, 100, 1460, 16384, 65536))
        wire.send(text[at:at + size])
        at += size


def carry(channel, from_client: bytes, from_server: bytes, seed: int):
    """Both directions at once, each in cuts of its own; what arrives must be what was sent."""
    got = {}

    def read(name, wire, count):
        got[name] = wire.read(count)

    work = [
        threading.Thread(target=send_in_cuts,
                         args=(channel.client, from_client, random.Random(seed))),
        threading.Thread(target=send_in_cuts,
                         args=(channel.server, from_server, random.Random(seed + 1))),
        threading.Thread(target=read, args=("server", channel.server, len(from_client))),
        threading.Thread(target=read, args=("client", channel.client, len(from_server))),
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert got["server"] == from_client
    assert got["client"] == from_server


# ---- whole and in order ----

@pytest.mark.parametrize("kind", CHANNELS)
def test_messages_arrive_as_they_were_sent(world, kind):
    chance = random.Random(kind)
    from_client, from_server = LONGEST[kind]
    with Session(world.kerbside, world.server) as session:
        channel = session.main if kind == MAIN else session.channel(kind)
        there = b"".join(messages(chance, from_client, 40))
        back = b"".join(messages(chance, from_server, 40))
        carry(channel, there, back, kind)
        channel.exchange()
        channel.client.leave()
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id,
                                           channel=f"{CHANNELS[kind]}:0")
        # `exchange` is 18 bytes each way; main has its INIT too.
        assert closed["bytes_from_client"] == len(there) + 18
        assert closed["bytes_from_server"] == len(back) + 18 + (38 if kind == MAIN else 0)


@pytest.mark.parametrize("seed", range(4))
def test_byte_by_byte(world, seed):
    """A message that comes in single bytes is one message all the same."""
    chance = random.Random(seed)
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(USBREDIR)
        text = b"".join(messages(chance, 600, 5))
        for wire, other in ((channel.client, channel.server), (channel.server, channel.client)):
            for byte in text:
                wire.send(bytes([byte]))
            assert other.read(len(text)) == text


def test_a_message_waits_until_it_is_whole(world):
    """What could still be refused must not be on its way already."""
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(DISPLAY)
        first, second = message(101, b"one"), message(102, b"two" * 300)
        channel.client.send(first + second[:-1])
        assert channel.server.read(len(first)) == first
        channel.server.send(message(3, b"back"))  # a round for the relay to come by
        assert channel.client.message() == (3, b"back")
        channel.server.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            channel.server.sock.recv(1)
        channel.server.sock.setblocking(True)
        channel.client.send(second[-1:])
        assert channel.server.read(len(second)) == second


@pytest.mark.parametrize("kind, client, server", [
    (DISPLAY, 1024, 8 * MIB), (CURSOR, 1024, 16 * MIB), (USBREDIR, 8 * MIB, MIB),
    (PORT, 16 * MIB, MIB), (WEBDAV, 5 * MIB, MIB), (RECORD, MIB, 64 * KIB),
    (MAIN, 4096 + 11 * 2048, 256 * KIB),
])
def test_big_messages(world, kind, client, server):
    """As long as the channel allows, or several MiB."""
    chance = random.Random(kind)
    with Session(world.kerbside, world.server) as session:
        channel = session.main if kind == MAIN else session.channel(kind)
        carry(channel, message(200, chance.randbytes(client)) * 2,
              message(200, chance.randbytes(server)) * 2, kind)
        channel.exchange()


# ---- too long ----

@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize("sender", ["client", "server"])
def test_a_message_over_the_limit_ends_the_channel(world, kind, sender):
    """Its header is enough; what came before it is delivered."""
    longest = LONGEST[kind][sender == "server"]
    with Session(world.kerbside, world.server) as session:
        channel = session.main if kind == MAIN else session.channel(kind)
        wire, other = channel.client, channel.server
        if sender == "server":
            wire, other = other, wire
        good = message(120, b"x" * min(longest, 900))
        wire.send(good + (300).to_bytes(2, "little") + (longest + 1).to_bytes(4, "little"))
        assert other.read(len(good)) == good
        assert other.rest() == b""
        assert wire.rest() == b""
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id,
                                           channel=f"{CHANNELS[kind]}:0")
        assert closed["reason"] == "message_too_long"
        assert closed[f"bytes_from_{sender}"] == len(good) + (
            38 if (kind, sender) == (MAIN, "server") else 0)
        if kind == MAIN:
            assert session.wait_end()["reason"] == "message_too_long"
        else:
            session.main.exchange()


def test_a_size_of_2_to_the_32(world):
    with Session(world.kerbside, world.server) as session:
        for sender in ("client", "server"):
            channel = session.channel(USBREDIR)
            getattr(channel, sender).send(b"\x65\0\xff\xff\xff\xff")
            assert channel.client.rest() == b""
            assert channel.server.rest() == b""
        session.main.exchange()


# ---- the end ----

@pytest.mark.parametrize("who, how, reason", [
    ("client", "leave", "client_closed"), ("server", "leave", "server_closed"),
    ("client", "reset", "client_lost"), ("server", "reset", "server_lost"),
])
def test_the_end_of_a_leg_ends_the_other(world, who, how, reason):
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(DISPLAY)
        wire = getattr(channel, who)
        other = channel.server if who == "client" else channel.client
        getattr(wire, how)()
        assert other.rest() == b""
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id)
        assert (closed["reason"], closed["channel"]) == (reason, "display:0")
        session.main.exchange()
        session.main.client.leave()
        assert session.wait_end()["reason"] == "client_closed"


@pytest.mark.parametrize("who, size", [("client", 3 * MIB), ("server", 12 * MIB)])
def test_what_was_said_before_the_end_arrives(world, who, size):
    """The peer reads only when all is sent and the leg is closed; the queue in between is longer
    than any buffer of kerbside's."""
    text = message(120, random.Random(5).randbytes(size))
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(USBREDIR if who == "client" else DISPLAY)
        wire = getattr(channel, who)
        other = channel.server if who == "client" else channel.client

        def say():
            wire.send(text)
            wire.leave()

        thread = threading.Thread(target=say)
        thread.start()
        assert other.rest() == text
        other.close()
        thread.join()
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id)
        assert closed["reason"] == f"{who}_closed"
        assert closed[f"bytes_from_{who}"] == len(text)
        session.main.exchange()


def test_half_a_message_at_the_end(world):
    """It never was a message, and nobody gets it."""
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(DISPLAY)
        whole = message(101, b"whole")
        channel.server.send(whole + message(102, b"half")[:-2])
        channel.server.leave()
        assert channel.client.rest() == whole
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id)
        assert (closed["reason"], closed["bytes_from_server"]) == ("server_closed", len(whole))


@pytest.mark.parametrize("who, reason", [("client", "client_closed"), ("server", "server_closed")])
def test_the_end_of_main_ends_the_session(world, who, reason):
    with Session(world.kerbside, world.server) as session:
        channels = [session.channel(kind) for kind in (DISPLAY, INPUTS, CURSOR, PLAYBACK)]
        chance = random.Random(8)
        sent = {"client": 0, "server": 38}
        for channel in (session.main, *channels):
            there = b"".join(messages(chance, 900, 5))
            back = b"".join(messages(chance, 60000, 5))
            carry(channel, there, back, 9)
            sent["client"] += len(there)
            sent["server"] += len(back)
        channels[3].client.leave()  # one that went before counts too
        getattr(session.main, who).leave()
        for channel in channels[:3]:
            assert channel.client.rest() == b""
            assert channel.server.rest() == b""
        end = session.wait_end()
        assert end["reason"] == reason
        assert end["bytes_from_client"] == sent["client"]
        assert end["bytes_from_server"] == sent["server"]
        reasons = {e["channel"]: e["reason"]
                   for e in world.kerbside.audit("channel.closed", session_id=session.id)}
        assert reasons == {"main:0": reason, "playback:0": "client_closed",
                           **{f"{name}:0": "session_ended"
                              for name in ("display", "inputs", "cursor")}}
        assert session.id not in {s["id"] for s in world.kerbside.sessions()}


def test_a_second_init_does_not_change_the_connection_id(world):
    with Session(world.kerbside, world.server) as session:
        session.main.server.send(init(0xdead))
        session.main.client.message()
        session.channel(DISPLAY).exchange()


# ---- ended from outside ----

def test_an_operator_ends_a_session(world):
    with Session(world.kerbside, world.server) as session, \
            Session(world.kerbside, world.server) as other:
        channels = [session.main, *(session.channel(kind) for kind in (DISPLAY, INPUTS, USBREDIR))]
        for channel in channels:
            channel.exchange()
        world.kerbside.ask("POST", f"/api/v1/sessions/{session.id}/terminate",
                           {"reason": "lunch"})
        for channel in channels:
            assert (channel.client.rest() == b"") == (channel is not session.main)  # test_notices
            assert channel.server.rest() == b""
        end = session.wait_end()
        assert (end["reason"], end["actor"]) == ("terminated", "admin-socket")
        assert end["bytes_from_client"] == 4 * 18
        row = world.kerbside.wait_audit("session.terminated", session_id=session.id)
        assert (row["actor"], row["detail"]) == ("admin-socket", "lunch")
        closed = world.kerbside.audit("channel.closed", session_id=session.id)
        assert [e["reason"] for e in closed] == ["terminated"] * 4
        other.main.exchange()


def test_an_operator_ends_all_sessions_of_a_console(world):
    with Session(world.kerbside, world.server) as one, \
            Session(world.kerbside, world.server) as two:
        world.kerbside.ask("POST", "/api/v1/consoles/lab/desk/terminate", {})
        for session in (one, two):
            assert session.main.client.message()[0] == NOTIFY
            assert session.main.client.rest() == b""
            assert session.wait_end()["reason"] == "terminated"


def test_a_session_that_is_not_there(world):
    assert world.kerbside.call("POST", "/api/v1/sessions/nobody/terminate", {})[0] == 404


def test_the_longest_time(world):
    with Session(world.kerbside, world.server, max_session="1s") as session:
        display = session.channel(DISPLAY)
        display.exchange()
        assert display.client.rest() == b""
        assert session.main.client.message()[0] == NOTIFY
        assert session.main.client.rest() == b""
        assert session.wait_end()["reason"] == "max_session"
