"""The link phase with a client that says wrong things, or stops in the middle."""

import random
import struct

import pytest
from session import Session
from spice import (AUTH_SELECTION, AUTH_SPICE, BAD_CONNECTION_ID, CHANNELS, ERROR,
                   INVALID_DATA, INVALID_MAGIC, MAIN, MECHANISM_SASL, MINI_HEADER, OK,
                   PERMISSION_DENIED, STOCK_CLIENT, STOCK_SERVER, TICKET_SIZE, VERSION_MISMATCH,
                   Client, Ended, Link, seal)

HELLO = Link().pack()
# What a client says after our reply.
ANSWER_SIZE = 4 + TICKET_SIZE


def expected(text: bytes) -> tuple[int, str | None]:
    """The code and the reason for a link message, by the contract's words; (OK, None) when it is
    good, and a timeout when it promises more than it has."""
    magic, major, _, size = struct.unpack("<4sIII", text[:16])
    if magic != b"REDQ":
        return INVALID_MAGIC, "link_magic"
    if major != 2:
        return VERSION_MISMATCH, "link_version"
    if not 18 <= size <= 4096:
        return INVALID_DATA, "link_malformed"
    if size > len(text) - 16:
        return ERROR, "setup_timeout"
    body = text[16:16 + size]
    _, kind, _, common, channel, offset = struct.unpack("<IBBIII", body[:18])
    if common > 16 or channel > 16:
        return INVALID_DATA, "link_malformed"
    if common + channel and not 18 <= offset <= len(body) - 4 * (common + channel):
        return INVALID_DATA, "link_malformed"
    if kind not in CHANNELS:
        return INVALID_DATA, "link_channel"
    caps = int.from_bytes(body[offset:offset + 4], "little") if common else 0
    if not caps & AUTH_SELECTION or not caps & MINI_HEADER:
        return VERSION_MISMATCH, "link_capabilities"
    return OK, None


def try_all(world, texts):
    """Sends each text as a client of its own, all before the first answer is read; then the code
    that each was told (None: none), and the reason that the audit has."""
    mark = world.kerbside.mark()
    clients = []
    for text in texts:
        clients.append(Client(world.kerbside.address, world.tls))
        clients[-1].send(text)
    codes = []
    for client in clients:
        codes.append(client.reply().error)
        assert client.rest() == b""
        client.close()
    reasons = world.kerbside.why_refused(clients, mark)
    return [(code, reasons[client.source]) for code, client in zip(codes, clients)]


# ---- cut ----

def cut_link_clients(world):
    """A client for each byte at which a link can stop, with all bytes up to there sent; and how
    many there were."""
    for count in range(len(HELLO)):
        client = Client(world.kerbside.address, world.tls)
        client.send(HELLO[:count])
        yield count, client
    token = world.kerbside.grant("desk").token
    for count in range(ANSWER_SIZE):
        client = Client(world.kerbside.address, world.tls)
        answer = seal(client.hello().key, token.encode() + b"\0")
        assert len(answer) == ANSWER_SIZE
        client.send(answer[:count])
        yield len(HELLO) + count, client


@pytest.mark.parametrize("end, reason", [(Client.leave, "client_closed"),
                                         (Client.reset, "client_lost")])
def test_a_client_that_leaves_at_any_byte(world, end, reason):
    mark = world.kerbside.mark()
    clients = dict(cut_link_clients(world))
    for client in clients.values():
        end(client)
    # Whoever has not said what it speaks is no channel yet, and no event: a port check.
    spoke = [client for count, client in clients.items() if count >= 4]
    reasons = world.kerbside.why_refused(spoke, mark)
    assert set(reasons.values()) == {reason}
    silent = {client.source for count, client in clients.items() if count < 4}
    assert not [e for e in world.kerbside.audit(after=mark) if e["client_address"] in silent]


def test_a_client_that_falls_silent_at_any_byte(world):
    with world.kerbside.settings(timeouts={"setup": "4s"}):
        mark = world.kerbside.mark()
        clients = dict(cut_link_clients(world))
        for count, client in clients.items():
            if count < 4:  # what it speaks is not known
                assert client.rest() == b""
            elif count < len(HELLO):
                assert client.reply().error == ERROR
                assert client.rest() == b""
            else:
                assert client.result() == ERROR
                assert client.rest() == b""
            client.close()
        reasons = world.kerbside.why_refused(clients.values(), mark)
        assert set(reasons.values()) == {"setup_timeout"}


def test_a_link_that_comes_byte_by_byte(world):
    token = world.kerbside.grant("desk").token
    client = Client(world.kerbside.address, world.tls)
    for i in range(len(HELLO)):
        client.send(HELLO[i:i + 1])
    answer = seal(client.reply().key, token.encode() + b"\0")
    for i in range(len(answer)):
        client.send(answer[i:i + 1])
    assert client.result() == OK
    leg = world.server.take()
    assert client.message()[0] == 103
    client.close()
    assert leg.rest() == b""
    leg.close()


# ---- flipped ----

def flips(text: bytes):
    """The text with one byte inverted, and with one bit inverted, at every place."""
    for i in range(len(text)):
        for mask in (0xff, *(1 << bit for bit in range(8))):
            yield text[:i] + bytes([text[i] ^ mask]) + text[i + 1:]


def test_every_byte_of_the_link_message_flipped(world):
    wrong = [text for text in flips(HELLO) if expected(text)[0] != OK]
    assert len(wrong) > len(HELLO) * 5
    with world.kerbside.settings(timeouts={"setup": "2s"}):
        results = try_all(world, wrong)
    for text, result in zip(wrong, results):
        assert result == expected(text), text.hex()


def test_flips_that_change_the_meaning_only(world):
    """A minor version, other ids and other capabilities make another link, and no broken one."""
    token = world.kerbside.grant("desk", reusable=True).token
    good = [text for text in flips(HELLO) if expected(text)[0] == OK]
    assert good
    clients = []
    for text in good:
        client = Client(world.kerbside.address, world.tls)
        client.send(text)
        client.send(seal(client.reply().key, token.encode() + b"\0"))
        link = Link.unpack(text[:16], text[16:])
        if link.channel_type == MAIN and link.connection_id == 0:
            assert client.result() == OK, text.hex()
            leg = world.server.take()
            assert leg.link.channel_id == link.channel_id
            leg.close()
        else:
            assert client.result() == BAD_CONNECTION_ID, text.hex()
            clients.append(client)
        client.close()
    reasons = world.kerbside.why_refused(clients)
    assert set(reasons.values()) == {"connection_id"}


def test_every_byte_of_mechanism_and_ticket_flipped(world):
    kerbside = world.kerbside
    mark = kerbside.mark()
    token = kerbside.grant("desk").token
    clients = []
    for i in range(ANSWER_SIZE):
        for mask in (0xff, 1 << i % 8):
            client = Client(kerbside.address, world.tls)
            answer = bytearray(seal(client.hello().key, token.encode() + b"\0"))
            answer[i] ^= mask
            client.send(answer)
            assert client.result() == (INVALID_DATA if i < 4 else PERMISSION_DENIED)
            assert client.rest() == b""
            client.close()
            clients.append((i, client))
    reasons = kerbside.why_refused([client for _, client in clients], mark)
    for i, client in clients:
        assert reasons[client.source] == ("link_mechanism" if i < 4 else "ticket_malformed")
    # The token itself was never seen, so it is still good.
    with Session(kerbside, world.server, token=token) as session:
        session.main.exchange()


# ---- limits ----

CAPS = (STOCK_CLIENT,)
LIMITS = {
    "size 17": (Link(size=17), INVALID_DATA, "link_malformed"),
    "size 17 without capabilities": (Link(common=(), size=17), INVALID_DATA, "link_malformed"),
    "size 18 without capabilities": (Link(common=()), VERSION_MISMATCH, "link_capabilities"),
    "size 18, one word promised": (Link(common=(), common_count=1), INVALID_DATA,
                                   "link_malformed"),
    "size 4097": (Link(size=4097), INVALID_DATA, "link_malformed"),
    "size 2^32-1": (Link(size=2**32 - 1), INVALID_DATA, "link_malformed"),
    "size 0": (Link(size=0), INVALID_DATA, "link_malformed"),
    "17 common words": (Link(common=CAPS + (0,) * 16), INVALID_DATA, "link_malformed"),
    "17 channel words": (Link(channel=(0,) * 17), INVALID_DATA, "link_malformed"),
    "2^32-1 common words": (Link(common_count=2**32 - 1), INVALID_DATA, "link_malformed"),
    "2^32-1 channel words": (Link(channel_count=2**32 - 1), INVALID_DATA, "link_malformed"),
    "counts that wrap": (Link(common_count=2**30, channel_count=2**30), INVALID_DATA,
                         "link_malformed"),
    "offset 17": (Link(caps_offset=17), INVALID_DATA, "link_malformed"),
    "offset behind the end": (Link(caps_offset=19), INVALID_DATA, "link_malformed"),
    "offset 2^32-1": (Link(caps_offset=2**32 - 1), INVALID_DATA, "link_malformed"),
    "magic of another protocol": (Link(magic=b"RFB "), INVALID_MAGIC, "link_magic"),
    "magic wrong at its end": (Link(magic=b"REDX"), INVALID_MAGIC, "link_magic"),
    "major 1": (Link(major=1), VERSION_MISMATCH, "link_version"),
    "major 3": (Link(major=3), VERSION_MISMATCH, "link_version"),
    "channel type 0": (Link(0), INVALID_DATA, "link_channel"),
    "channel type 12": (Link(12), INVALID_DATA, "link_channel"),
    "channel type 255": (Link(255), INVALID_DATA, "link_channel"),
    "no mini header": (Link(common=(AUTH_SELECTION | AUTH_SPICE,)), VERSION_MISMATCH,
                       "link_capabilities"),
    "no auth selection": (Link(common=(MINI_HEADER,)), VERSION_MISMATCH, "link_capabilities"),
    "mini header in the wrong words": (Link(common=(), channel=CAPS), VERSION_MISMATCH,
                                       "link_capabilities"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_beyond_a_limit(world, name):
    link, code, reason = LIMITS[name]
    assert try_all(world, [link.pack()]) == [(code, reason)]


@pytest.mark.parametrize("link", [
    Link(after=bytes(4096 - 22)), Link(common=CAPS + (0,) * 15), Link(channel=(0,) * 16),
    Link(channel_id=255), Link(minor=0), Link(common=(2**32 - 1,)),
    Link(common=CAPS + (2**32 - 1,) * 15, channel=(2**32 - 1,) * 16),
], ids=["size 4096", "16 common words", "16 channel words", "channel id 255", "minor 0",
        "all common capabilities", "all capabilities"])
def test_at_a_limit(world, link):
    client = Client(world.kerbside.address, world.tls)
    assert client.link(world.kerbside.grant("desk").token, link) == OK
    leg = world.server.take()
    assert leg.link.channel_id == link.channel_id
    client.close()
    leg.close()


def test_sasl_is_told_at_once(world):
    """Whoever chooses SASL sends no ticket, and must not wait for a deadline."""
    client = Client(world.kerbside.address, world.tls)
    client.hello()
    client.send(struct.pack("<I", MECHANISM_SASL))
    assert client.result() == INVALID_DATA
    assert client.rest() == b""
    client.close()
    assert world.kerbside.why_refused([client]) == {client.source: "link_mechanism"}


@pytest.mark.parametrize("password", [b"", b"\0", b"x" * 60, b"x" * 61, b"x" * 86, b"\xff\xfe\0",
                                      b"a\0b\0"],
                         ids=["nothing", "empty", "60", "61", "86", "not UTF-8", "two"])
def test_odd_tickets(world, password):
    client = Client(world.kerbside.address, world.tls)
    client.send(seal(client.hello().key, password))
    assert client.result() == PERMISSION_DENIED
    assert client.rest() == b""
    client.close()
    reason = "ticket_malformed" if len(password) > 60 else "token_unknown"
    assert world.kerbside.why_refused([client]) == {client.source: reason}


def test_random_bytes(world):
    """Nothing in particular is expected of them but an answer and an end."""
    chance = random.Random(2)
    with world.kerbside.settings(timeouts={"setup": "2s"}):
        clients = []
        for i in range(100):
            client = Client(world.kerbside.address, world.tls)
            noise = chance.randbytes(chance.randrange(4, 5000))
            try:
                client.send((b"", b"REDQ", HELLO[:16], HELLO[:30])[i % 4] + noise)
            except OSError:
                pass  # it has ended already
            clients.append(client)
        for client in clients:
            try:
                assert client.reply().error != OK
            except Ended:
                pass  # a reset, because more was sent than was wanted
            client.close()
        assert len(world.kerbside.why_refused(clients)) == len(clients)


# ---- what is announced ----

@pytest.mark.parametrize("kind", CHANNELS)
def test_the_reply(world, kind):
    """The same for each client, whatever is behind: no SASL, no migration, and a key that works
    for every channel type."""
    client = Client(world.kerbside.address, world.tls)
    reply = client.hello(Link(kind, connection_id=0 if kind == MAIN else 1))
    assert reply.error == OK
    assert reply.common == (STOCK_SERVER,)
    if kind == MAIN:
        assert reply.channel == (1 << 1 | 1 << 2,)
    client.leave()
    assert world.kerbside.why_refused([client]) == {client.source: "client_closed"}
    event = world.kerbside.audit("channel.refused", client_address=client.source)[0]
    assert event["channel"] == f"{CHANNELS[kind]}:0"
