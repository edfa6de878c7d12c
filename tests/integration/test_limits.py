"""What one client may ask of the HTTP side and write into the audit: requests at a pace, heads and
bodies of a size, in a time; and wrong tokens, which are counted."""

import contextlib
import json
import select
import socket
import time

import pytest
from api import Api
from common.process import PATIENCE, wait_until
from session import Session
from spice import DISPLAY, ERROR, INPUTS, PERMISSION_DENIED, Client, Link, own_address

SLOW = {"limits": {"http_requests": 1}}  # ten at once


def ask_too_much(*apis):
    """Asks, in turn, until it is refused; how often it was not, and the refusal."""
    for served in range(1000):
        answer = apis[served % len(apis)].send("GET", "/api/v1/me")
        if answer.status == 429:
            return served, answer
    raise AssertionError("a thousand requests were served")


@contextlib.contextmanager
def crowd(kerbside, tokens):
    """A connection for each of the tokens, each from an address of its own."""
    apis = [Api(kerbside, token, source=own_address()) for token in tokens]
    yield apis
    for api in apis:
        api.close()


def key(kerbside, name, role="operator") -> str:
    _, text = kerbside.ask("POST", "/api/v1/apikeys", {"name": name, "role": role})
    return json.loads(text)["key"]


# ---- requests ----

def test_an_address(kerbside):
    with kerbside.settings(**SLOW):
        one, other = (Api(kerbside, source=own_address()) for _ in range(2))
        served, answer = ask_too_much(one)
        assert served >= 10
        assert answer.json()["error"]["code"] == "too_many_requests"
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
        # Others, health and the admin socket go on.
        assert other.send("GET", "/api/v1/me").status == 401
        for path in ("/healthz", "/readyz"):
            for _ in range(15):
                assert one.send("GET", path).status == 200
        for _ in range(15):
            kerbside.ask("GET", "/api/v1/me")
        # It is a pace, not a ban.
        wait_until(lambda: one.send("GET", "/api/v1/me").status == 401, "it is served again")
        one.close()
        other.close()
    line = wait_until(lambda: [x for x in kerbside.log("http.limited")
                               if x["client_address"] == one.source[0]], "the log says so")[0]
    assert line["by"] == "address"


def test_a_key_from_many_addresses(kerbside):
    token = key(kerbside, "many")
    with kerbside.settings(**SLOW), crowd(kerbside, [token] * 5) as apis:
        served, answer = ask_too_much(*apis)
        assert served >= 10
        assert "API key" in answer.json()["error"]["message"]
        with crowd(kerbside, [key(kerbside, "other")]) as others:
            assert others[0].send("GET", "/api/v1/me").status == 200


def test_a_user_with_many_logins(kerbside):
    """Logging in again and again gives no more."""
    user = {"username": "dora", "password": "correct horse"}
    kerbside.ask("POST", "/api/v1/users", {"name": "dora", "role": "user",
                                           "password": user["password"]})
    with crowd(kerbside, [None] * 5) as apis:
        tokens = [api.ask("POST", "/api/v1/login", user).json()["access_token"] for api in apis]
    with kerbside.settings(**SLOW), crowd(kerbside, tokens) as apis:
        served, answer = ask_too_much(*apis)
        assert served >= 10
        assert "this user" in answer.json()["error"]["message"]


def test_no_limit(kerbside):
    with kerbside.settings(limits={"http_requests": 0}):
        api = Api(kerbside, source=own_address())
        for _ in range(200):
            assert api.send("GET", "/api/v1/me").status == 401
        api.close()


# ---- sizes ----

@pytest.mark.parametrize("size", [17_000, 28_000])
@pytest.mark.parametrize("where", ["header", "target"])
def test_a_head_that_is_too_large(kerbside, size, where):
    api = Api(kerbside)
    text = "a" * size
    answer = (api.send("GET", "/healthz", headers={"X-Long": text}) if where == "header"
              else api.send("GET", "/" + text))
    assert answer.status == 431
    assert answer.json()["error"]["code"] == "head_too_large"
    assert answer.closes
    assert api.send("GET", "/healthz", headers={"X-Long": "a" * 15_000}).status == 200
    api.close()


def test_a_head_that_is_far_too_large(kerbside):
    """Of this libmicrohttpd says so itself, as docs/configure.md has it."""
    for headers, target, status in (({"X-Long": "a" * 100_000}, "/healthz", 431),
                                    ({f"X-{i}": "a" for i in range(2000)}, "/healthz", 431),
                                    ({}, "/" + "a" * 100_000, 414)):
        api = Api(kerbside)
        answer = api.send("GET", target, headers=headers)
        assert answer.status == status and answer.closes
        assert b"<html>" in answer.body
        api.close()


# ---- time ----

def drip(api, head: bytes, drop: bytes) -> bytes:
    """Sends a byte now and then until the daemon has had enough; what it says."""
    raw = socket.create_connection(api.address, PATIENCE)
    sock = api.tls.wrap_socket(raw, server_hostname=api.address[0])
    sock.sendall(head)
    said = b""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not select.select([sock], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # what it said is still there
                sock.sendall(drop)
            continue
        part = sock.recv(65536)
        if not part:
            break
        said += part
    else:
        raise AssertionError("it went on and on")
    sock.close()
    return said


@pytest.mark.parametrize("head, drop", [
    (b"GET /heal", b"t"),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"a"),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
     b"Content-Length: 60000\r\n\r\n{", b" "),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
], ids=["target", "header", "body", "chunks"])
def test_a_request_that_drips(kerbside, head, drop):
    with kerbside.settings(timeouts={"request": "1s"}):
        api = Api(kerbside)
        head_said, _, body = drip(api, head, drop).partition(b"\r\n\r\n")
    assert head_said.startswith(b"HTTP/1.1 408 ")
    error = json.loads(body)["error"]
    assert error["code"] == "request_timeout"
    assert wait_until(lambda: [x for x in kerbside.log("http.request_timeout")
                               if x["request_id"] == error["request_id"]], "the log says so")


def test_a_connection_may_rest_between_requests(kerbside):
    """The time is a request's, not a connection's."""
    with kerbside.settings(timeouts={"request": "3s"}):
        api = Api(kerbside)
        assert api.send("GET", "/healthz").status == 200
        assert not select.select([api.sock], [], [], 3.5)[0]
        assert api.send("GET", "/healthz").status == 200
        api.close()


# ---- sessions and channels ----

def denied(kerbside, world, token) -> str:
    """The reason why the token starts no session now."""
    client = Client(kerbside.address, world.tls)
    assert client.link(token) == ERROR
    assert client.rest() == b""
    client.close()
    return kerbside.wait_audit("grant.denied", client_address=client.source)["reason"]


def test_sessions_of_a_user(world):
    kerbside = world.kerbside
    with kerbside.settings(limits={"user_sessions": 2}):
        waiting = kerbside.grant("desk", user="dora").token
        first = Session(kerbside, world.server, user="dora")
        with Session(kerbside, world.server, user="dora") as second, \
                Session(kerbside, world.server, user="emil"):
            assert denied(kerbside, world, waiting) == "user_sessions"
            second.channel(DISPLAY).exchange()
            ended, _ = first.id, first.close()
            kerbside.wait_audit("session.ended", session_id=ended)
            with Session(kerbside, world.server, token=waiting) as third:  # it is still good
                third.main.exchange()


def test_sessions_of_an_address(world):
    kerbside, here = world.kerbside, own_address()
    with kerbside.settings(limits={"address_sessions": 1}):
        with Session(kerbside, world.server, source=here):
            client = Client(kerbside.address, world.tls, source=here)
            assert client.link(kerbside.grant("desk").token) == ERROR
            client.close()
            row = kerbside.wait_audit("grant.denied", client_address=here)
            assert row["reason"] == "address_sessions"
            with Session(kerbside, world.server) as other:
                other.main.exchange()


def test_channels_of_a_session(world):
    kerbside = world.kerbside
    with Session(kerbside, world.server) as session, \
            kerbside.settings(limits={"session_channels": 3}):
        session.channel(DISPLAY).exchange()
        inputs = session.channel(INPUTS)
        mark = kerbside.mark()
        client = session.client()
        assert client.link(session.token, Link(DISPLAY, 1, session.connection_id)) == ERROR
        client.close()
        row = kerbside.wait_audit("channel.refused", mark, session_id=session.id)
        assert (row["reason"], row["channel"]) == ("session_channels", "display:1")
        inputs.close()
        session.channels.remove(inputs)
        kerbside.wait_audit("channel.closed", mark, session_id=session.id, channel="inputs:0")
        session.channel(DISPLAY, 1).exchange()


# ---- the audit ----

def test_a_flood_of_wrong_tokens(world):
    """One event at once, one for all the others; and none is lost."""
    kerbside, source, mark = world.kerbside, own_address(), world.kerbside.mark()
    for _ in range(50):
        client = Client(kerbside.address, world.tls, source=source)
        assert client.link("unknown") == PERMISSION_DENIED
        client.close()

    def rows():
        found = kerbside.audit("grant.denied", mark, client_address=source)
        return found if sum(row["count"] for row in found) == 50 else None

    # On a machine in a hurry the fifty take longer than the ten seconds, and make some rows more.
    found = wait_until(rows, "all are in the audit", explain=kerbside.last_words)
    assert found[0]["count"] == 1 and len(found) < 25
    assert {row["reason"] for row in found} == {"token_unknown"}
    assert all(row["detail"] == f"{row['count']} more like it"
               for row in found if row["count"] > 1)
    wait_until(lambda: [x["count"] for x in kerbside.log("grant.denied")
                        if x["client_address"] == source] == [row["count"] for row in found],
               "the log has the same lines")
