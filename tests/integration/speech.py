"""What may be said on each channel, by whom and how long, so that a test which only wants bytes to
flow says them in messages that the grammar lets pass (src/spice/grammar.c; its wrong ones are
test_grammar.py's). Bodies mean nothing: messages whose content is read on its way are left out."""

import random
import struct

from spice import (CURSOR, DISPLAY, INPUTS, MAIN, PLAYBACK, PORT, RECORD, SMARTCARD, TUNNEL,
                   USBREDIR, WEBDAV, message)

KIB, MIB = 1 << 10, 1 << 20
MIGRATE, MIGRATE_DATA_BACK, MIGRATE_DATA, PING, NOTIFY = 1, 2, 5, 4, 7
DRAW_COPY, DRAW_COPY_LEAST = 304, 57


def port_init(name: bytes) -> bytes:
    return message(201, struct.pack("<IIB", len(name) + 1, 9, 1) + name + b"\0")


# What comes first, in order: who says it, and what. A migration is told everywhere, because its
# data may have any length on any channel.
_OPENING = {
    DISPLAY: [("client", message(101, bytes(14)))],
    INPUTS: [("server", message(101, bytes(2)))],
    CURSOR: [("server", message(101, bytes(11)))],
    PLAYBACK: [("server", message(103, bytes(14)))],
    RECORD: [("server", message(101, bytes(10)))],
    PORT: [("server", port_init(b"org.test.port"))],
    WEBDAV: [("server", port_init(b"org.spice-space.webdav.0"))],
}
# Number, least and most length.
_COMMON = {
    "client": [(1, 4, 4), (2, 0, 0), (3, 12, 12), (6, 12, 12), (MIGRATE_DATA, 0, 16 * MIB)],
    "server": [(3, 8, 8), (PING, 12, 4 * KIB), (6, 12, 12), (NOTIFY, 24, 64 * KIB),
               (MIGRATE_DATA_BACK, 0, 16 * MIB)],
}
_OWN = {
    MAIN: {"client": [(101, 8, 8), (105, 2, 2), (112, 0, KIB)],
           "server": [(PING, 12, 256 * KIB), (106, 4, 4), (113, 4, 8 * KIB), (114, 16, 16)]},
    DISPLAY: {"client": [(102, 32, 32), (103, 1, 1), (105, 1, 256)],
              "server": [(102, 0, 0), (104, 29, MIB), (105, 2, 500 * KIB), (123, 12, 256 * MIB),
                         (302, 37, 256 * MIB), (DRAW_COPY, DRAW_COPY_LEAST, 256 * MIB)]},
    INPUTS: {"client": [(101, 4, 4), (103, 2, 2), (104, 1, 2 * KIB), (111, 10, 10), (112, 11, 11)],
             "server": [(102, 2, 2), (111, 0, 0)]},
    CURSOR: {"client": [], "server": [(102, 0, 0), (103, 7, 16 * MIB), (104, 4, 4)]},
    PLAYBACK: {"client": [], "server": [(101, 4, MIB), (105, 1, 511), (107, 4, 4)]},
    RECORD: {"client": [(101, 4, MIB), (102, 6, 64 * KIB)], "server": [(103, 1, 511)]},
    TUNNEL: {"client": [], "server": []},
    SMARTCARD: {"client": [(101, 12, MIB)], "server": [(101, 12, MIB)]},
    USBREDIR: {"client": [], "server": []},
    PORT: {"client": [(101, 0, 16 * MIB), (201, 1, 1)], "server": [(101, 0, MIB), (202, 1, 1)]},
    WEBDAV: {"client": [(201, 1, 1)], "server": [(202, 1, 1)]},
}


def spoken(kind: int, who: str, size: int, chance: random.Random) -> bytes:
    """A message of that length, which may be said on an open channel of that kind."""
    fitting = [number for number, least, most in _COMMON[who] + _OWN[kind][who]
               if least <= size <= most]
    return message(chance.choice(fitting), chance.randbytes(size))


def picture(size: int, fill=b"\0") -> bytes:
    """A drawing command, the bulk of all traffic. size: of its body, at least 57."""
    assert size >= DRAW_COPY_LEAST
    return message(DRAW_COPY, fill * size)


def open_up(channel, kind: int) -> dict[str, int]:
    """Says what comes first on the channel. How many bytes each side said."""
    said = {"client": 0, "server": 0}
    for who, text in [*_OPENING.get(kind, []), ("server", message(MIGRATE, bytes(4)))]:
        wire, other = channel.client, channel.server
        if who == "server":
            wire, other = other, wire
        wire.send(text)
        assert other.read(len(text)) == text
        said[who] += len(text)
    return said
