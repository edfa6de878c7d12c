"""The first bytes of a connection, on listeners that accept different things."""

import contextlib
import http.client
import random
import select
import ssl

import pytest
from conftest import World
from session import Session
from spice import (ERROR, INVALID_DATA, INVALID_MAGIC, NEED_SECURED, VERSION_MISMATCH, Client,
                   Link)

LISTEN = {
    "all": {"address": "127.0.0.1:0", "accept": ["spice", "http"]},
    "spice": {"address": "127.0.0.1:0", "accept": ["spice"]},
    "http": {"address": "127.0.0.1:0", "accept": ["http"]},
    "redirect": {"address": "127.0.0.1:0", "accept": ["redirect"]},
    "six": {"address": "[::1]:0", "accept": ["spice", "http"]},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"), listen=list(LISTEN.values()))
    world.at = dict(zip(LISTEN, world.kerbside.addresses(), strict=True))
    yield world
    world.stop()


def hello_of_tls() -> bytes:
    """What a TLS client says first."""
    out = ssl.MemoryBIO()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), out,
                                                           server_hostname="kerbside")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


TLS_HELLO = hello_of_tls()


def refused(world, client, reason, mark, **fields):
    row = world.kerbside.wait_audit("channel.refused", mark, client_address=client.source)
    assert row["reason"] == reason
    assert {key: row[key] for key in fields} == fields
    return row


def say(world, listener, text, *, tls=False) -> tuple[bytes, Client]:
    """What comes back until the end."""
    client = Client(world.at[listener], world.tls if tls else None)
    client.send(text)
    got = client.rest()
    client.close()
    return got, client


# ---- in clear ----

@pytest.mark.parametrize("listener", LISTEN)
def test_spice_in_clear_is_told_to_use_tls(world, listener):
    mark = world.kerbside.mark()
    client = Client(world.at[listener], None)
    assert client.hello().error == NEED_SECURED
    assert client.rest() == b""
    client.close()
    refused(world, client, "plaintext", mark, channel="main:0")


def test_spice_in_clear_byte_by_byte(world):
    mark = world.kerbside.mark()
    client = Client(world.at["redirect"], None)
    for byte in Link(2, 1, 99).pack():
        client.send(bytes([byte]))
    assert client.reply().error == NEED_SECURED
    assert client.rest() == b""
    client.close()
    refused(world, client, "plaintext", mark, channel="display:1")


@pytest.mark.parametrize("link, code, reason", [
    (Link(major=1), VERSION_MISMATCH, "link_version"),
    (Link(size=4097), INVALID_DATA, "link_malformed"),
    (Link(common=()), VERSION_MISMATCH, "link_capabilities"),
], ids=["version", "size", "capabilities"])
def test_broken_spice_in_clear(world, link, code, reason):
    mark = world.kerbside.mark()
    client = Client(world.at["redirect"], None)
    assert client.hello(link).error == code
    assert client.rest() == b""
    client.close()
    refused(world, client, reason, mark)


@pytest.mark.parametrize("text", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0\0\0\0", b"REDX", b"RED\0", b"SSH-2.0-x\r\n",
    b"RFB 003.008\n", b"\x15\x03\x01\0\x02\x02\x28", b"\xff",
], ids=["HTTP", "zeros", "REDX", "RED0", "SSH", "RFB", "TLS alert", "one byte"])
@pytest.mark.parametrize("listener", ["all", "redirect"])
def test_anything_else_in_clear_is_closed(world, listener, text):
    mark = world.kerbside.mark()
    got, client = say(world, listener, text)
    assert got == b""
    refused(world, client, "not_tls", mark)


def test_whoever_says_nothing_and_leaves_is_no_event(world):
    """A load balancer looks that way whether the port is open."""
    mark = world.kerbside.mark()
    # Its end must be noticed as such, and not when its time is up.
    with world.kerbside.settings(timeouts={"setup": "5m"}):
        clients = [Client(world.at["all"], tls) for tls in (None, None, world.tls, world.tls)]
        clients[1].send(b"RED")
        clients[3].send(b"G")
        for client in clients:
            client.leave()
    silent = {client.source for client in clients}
    assert not [e for e in world.kerbside.audit(after=mark) if e["client_address"] in silent]


@pytest.mark.parametrize("text, detail", [
    (b"", "no first byte"), (b"RE", "no first byte"),
    (TLS_HELLO[:1], "unfinished TLS handshake"), (TLS_HELLO[:100], "unfinished TLS handshake"),
    (TLS_HELLO, "unfinished TLS handshake"),
], ids=["nothing", "half a magic", "one byte of TLS", "half a client hello", "a client hello"])
def test_silence_in_clear(world, text, detail):
    with world.kerbside.settings(timeouts={"setup": "500ms"}):
        mark = world.kerbside.mark()
        client = Client(world.at["all"], None)
        client.send(text)
        got = client.rest()
        assert bool(got) == (text == TLS_HELLO)  # the server's half of the handshake
        client.close()
        refused(world, client, "setup_timeout", mark, detail=detail)


def test_silence_inside_tls(world):
    with world.kerbside.settings(timeouts={"setup": "1s"}):
        mark = world.kerbside.mark()
        got, client = say(world, "all", b"", tls=True)
        assert got == b""
        refused(world, client, "setup_timeout", mark, detail="nothing inside TLS")


def test_bytes_that_drip(world):
    """The time is one for all that a client does before its ticket: bytes now and then do not
    prolong it."""
    with world.kerbside.settings(timeouts={"setup": "4s"}):
        mark = world.kerbside.mark()
        raw, link, ticket = (Client(world.at["all"], tls) for tls in (None, world.tls, world.tls))
        ticket.hello()
        drips = {raw: TLS_HELLO, link: Link().pack(), ticket: bytes([1]) + bytes(131)}
        for i in range(len(TLS_HELLO)):
            ready = select.select([client.sock for client in drips], [], [], 0.25)[0]
            drips = {client: text for client, text in drips.items() if client.sock not in ready}
            if not drips:
                break
            for client, text in drips.items():
                with contextlib.suppress(OSError):  # it was closed just now
                    client.sock.send(text[i:i + 1])
        assert not drips
        reasons = world.kerbside.why_refused([raw, link, ticket], mark)
        assert set(reasons.values()) == {"setup_timeout"}
        for client in (raw, link, ticket):
            client.close()


# ---- TLS that is none ----

def test_tls_garbage(world):
    chance = random.Random(3)
    mark = world.kerbside.mark()
    clients = []
    for _ in range(50):
        noise = chance.randbytes(chance.randrange(300, 2000))
        _, client = say(world, "all", b"\x16\x03\x01\x01\x00\x01" + noise)
        clients.append(client)
    reasons = world.kerbside.why_refused(clients, mark)
    assert set(reasons.values()) == {"tls_failed"}


def test_half_a_handshake_and_gone(world):
    mark = world.kerbside.mark()
    clients = []
    for count in range(1, len(TLS_HELLO) + 1, 7):
        client = Client(world.at["all"], None)
        client.send(TLS_HELLO[:count])
        client.leave()
        clients.append(client)
    reasons = world.kerbside.why_refused(clients, mark)
    assert set(reasons.values()) == {"tls_failed"}


def test_tls_where_only_the_redirect_is(world):
    mark = world.kerbside.mark()
    got, client = say(world, "redirect", TLS_HELLO)
    assert got == b""
    refused(world, client, "not_accepted_here", mark)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_old_tls(world):
    """1.2 is the oldest that is spoken."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    mark = world.kerbside.mark()
    client = Client(world.at["all"], None)
    with pytest.raises(ssl.SSLError), old.wrap_socket(client.sock):
        pass
    refused(world, client, "tls_failed", mark)


# ---- inside TLS ----

def test_http_on_a_listener_for_spice(world):
    mark = world.kerbside.mark()
    got, client = say(world, "spice", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", tls=True)
    assert got == b""
    refused(world, client, "not_accepted_here", mark, detail="HTTP")


def test_spice_on_a_listener_for_http(world):
    mark = world.kerbside.mark()
    got, client = say(world, "http", Link().pack(), tls=True)
    assert got == b""
    refused(world, client, "not_accepted_here", mark, detail="SPICE")


@pytest.mark.parametrize("text", [b"SSH-2.0-x\r\n", b"\x16\x03\x01\x02", b"TRACE / HTTP/1.1\r\n",
                                  b"\0"], ids=["SSH", "TLS in TLS", "TRACE", "a zero"])
def test_neither_inside_tls(world, text):
    mark = world.kerbside.mark()
    got, client = say(world, "http", text, tls=True)
    assert got == b""
    refused(world, client, "unknown_protocol", mark)
    client = Client(world.at["spice"], world.tls)
    client.send(text)
    assert client.reply().error == INVALID_MAGIC
    assert client.rest() == b""
    client.close()
    refused(world, client, "link_magic", mark)


# ---- what is accepted ----

def tls_for(world, listener) -> ssl.SSLContext:
    tls = world.kerbside.client_tls()
    tls.check_hostname = listener != "six"  # the certificate is for public.host, 127.0.0.1
    return tls


@pytest.mark.parametrize("listener", ["all", "http", "six"])
def test_https(world, listener):
    connection = http.client.HTTPSConnection(*world.at[listener], context=tls_for(world, listener))
    for _ in range(3):  # the connection is kept
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()


def test_https_byte_by_byte(world):
    client = Client(world.at["all"], world.tls)
    for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
        client.send(bytes([byte]))
    assert client.rest().startswith(b"HTTP/1.1 200 ")
    client.close()


@pytest.mark.parametrize("listener", ["all", "spice", "six"])
def test_a_session(world, listener):
    with Session(world.kerbside, world.server, address=world.at[listener],
                 tls=tls_for(world, listener)) as s:
        s.channel().exchange()
        assert world.kerbside.sessions()[0]["client_address"] == s.source


def test_code_is_error_when_time_is_up(world):
    """Inside the link the client is told; before it nobody knows how."""
    with world.kerbside.settings(timeouts={"setup": "1s"}):
        mark = world.kerbside.mark()
        client = Client(world.at["all"], None)
        client.send(b"REDQ")
        assert client.reply().error == ERROR
        assert client.rest() == b""
        client.close()
        refused(world, client, "setup_timeout", mark)
