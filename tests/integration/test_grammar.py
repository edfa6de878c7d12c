"""The grammar, enforced as it is by default: what SPICE does not know, or not so, or not now, ends
its channel with a reason that the audit knows, and nothing of it arrives."""

import pytest
from session import Session
from spice import (CHANNELS, DISPLAY, INPUTS, MAIN, PORT, RECORD, TUNNEL, USBREDIR, WEBDAV, init,
                   message)

LIST = 8

# Channel, who says it, what came before (all of it legal), what is said, and why it ends.
WRONG = {
    "unknown": (DISPLAY, "server", [], message(999, b"x"), "message_unknown"),
    "another channel's": (USBREDIR, "server", [], message(201, bytes(20)), "message_unknown"),
    "on an obsolete channel": (TUNNEL, "client", [], message(101, bytes(20)), "message_unknown"),
    "a client that draws": (DISPLAY, "client", [], message(304, bytes(100)), "message_unknown"),
    "short": (INPUTS, "client", [], message(101, b"abc"), "message_too_short"),
    "long": (INPUTS, "client", [], message(101, b"abcde"), "message_too_long"),
    "longer than what is there": (INPUTS, "client", [], b"\x65\0\xff\xff\xff\xff",
                                  "message_too_long"),
    "a picture before INIT": (DISPLAY, "server", [], message(304, bytes(57)),
                              "message_out_of_place"),
    "a second INIT": (MAIN, "server", [], init(7), "message_out_of_place"),
    "the agent before it is there": (MAIN, "client", [], message(107, bytes(20)),
                                     "message_out_of_place"),
    "sound that nobody asked for": (RECORD, "client", [], message(101, bytes(20)),
                                    "message_out_of_place"),
    "data before a port's name": (PORT, "client", [], message(101, b"quit\n"),
                                  "message_out_of_place"),
    "data before a folder's name": (WEBDAV, "server", [], message(101, b"GET /"),
                                    "message_out_of_place"),
    "an answer to no migration": (MAIN, "client", [], message(102), "message_out_of_place"),
    "a descriptor that cannot pass": (DISPLAY, "server", [("client", message(101, bytes(14)))],
                                      message(320, bytes(20)), "message_out_of_place"),
    "a list where there is none": (INPUTS, "server", [], message(LIST, b"\0\0"),
                                   "message_out_of_place"),
    "a list that holds what it may not": (
        DISPLAY, "server", [("client", message(101, bytes(14)))],
        message(LIST, b"\1\0\6\0\0\0" + message(304, bytes(57))), "message_malformed"),
}
RULES = {"message_unknown": "grammar.unknown", "message_too_short": "grammar.length",
         "message_too_long": "grammar.length", "message_out_of_place": "grammar.state",
         "message_malformed": "grammar.form"}


@pytest.mark.parametrize("what", WRONG)
def test_what_spice_does_not_know_ends_the_channel(world, what):
    kind, who, before, wrong, reason = WRONG[what]
    with Session(world.kerbside, world.server) as session:
        channel = session.main if kind == MAIN else session.channel(kind)
        ends = {"client": channel.client, "server": channel.server}
        for speaker, text in before:
            ends[speaker].send(text)
            other = ends["server" if speaker == "client" else "client"]
            assert other.read(len(text)) == text
        ends[who].send(wrong)
        assert channel.client.rest() == b""
        assert channel.server.rest() == b""
        closed = world.kerbside.wait_audit(
            "channel.closed", session_id=session.id,
            channel=f"{CHANNELS[kind]}:0")
        assert closed["reason"] == reason
        # Which message it was, for whoever has to find out.
        assert f"({int.from_bytes(wrong[:2], 'little')}) of " in closed["detail"]
        row = world.kerbside.wait_audit("policy.blocked", session_id=session.id)
        assert row["reason"] == RULES[reason]
        if kind != MAIN:
            session.main.exchange()


def test_a_list_as_servers_send_it(world):
    """An INVAL_LIST and a WAIT_FOR_CHANNELS in one, with the sizes that spice-server writes, which
    are not those on the wire."""
    inner = b"\x69\0\x18\0\0\0" + b"\1\0\1" + bytes(8) + b"\5\0\x18\0\0\0" + b"\1\2\1" + bytes(8)
    text = message(LIST, b"\2\0" + b"\x1b\0\0\0" + b"\x0a\0\0\0" + inner)
    with Session(world.kerbside, world.server) as session:
        channel = session.display()
        channel.server.send(text)
        assert channel.client.read(len(text)) == text
        channel.exchange()


def test_a_flood_of_what_is_rare(world):
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(INPUTS)
        channel.client.send(message(6, bytes(12)) * 5000)
        channel.client.rest()
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id)
        assert (closed["channel"], closed["reason"]) == ("inputs:0", "message_flood")
        session.main.exchange()


def test_observed(world):
    """Everything passes and is counted, but what is longer than anything on its channel."""
    with world.kerbside.settings(policies={"default": {"grammar": "observe"}}), \
            Session(world.kerbside, world.server) as session:
        channel = session.channel(DISPLAY)
        for text in (message(999, b"x"), message(304, bytes(57)), message(LIST, bytes(70000))):
            channel.server.send(text)
            assert channel.client.read(len(text)) == text
        rows = world.kerbside.audit("policy.observed", session_id=session.id)
        assert {r["reason"] for r in rows} <= {"grammar.unknown", "grammar.state", "grammar.form"}
        world.kerbside.wait_audit("policy.observed", session_id=session.id,
                                  reason="grammar.unknown")
        channel.exchange()
        channel.server.send(b"\xe7\3\xff\xff\xff\xff")
        assert channel.client.rest() == b""
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id)
        assert closed["reason"] == "message_too_long"
        session.main.exchange()
