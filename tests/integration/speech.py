"""What may be said on a channel, for tests that only want bytes to flow and leave the grammar in
force (src/spice/grammar.c; its wrong messages are test_grammar.py's)."""

import struct

from spice import message

MIB = 1 << 20
PORT_DATA = 101
DRAW_COPY, DRAW_COPY_LEAST = 304, 57


def port_init(name: bytes) -> bytes:
    return message(201, struct.pack("<IIB", len(name) + 1, 9, 1) + name + b"\0")


def picture(size: int, fill=b"\0") -> bytes:
    """A drawing command, the bulk of all traffic. size: of its body, at least 57."""
    assert size >= DRAW_COPY_LEAST
    return message(DRAW_COPY, fill * size)


def open_port(channel):
    """The INIT with which a port begins."""
    text = port_init(b"org.test.port")
    channel.server.send(text)
    assert channel.client.read(len(text)) == text
