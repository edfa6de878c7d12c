"""Whose token is it? Which session does a channel belong to?"""

import time

import pytest
from common.process import wait_until
from session import Session
from spice import (BAD_CONNECTION_ID, CHANNELS, DISPLAY, INPUTS, MAIN, OK, PERMISSION_DENIED,
                   USBREDIR, Client, Link)


def try_link(world, token, link=Link(), source=None) -> tuple[int, Client]:
    client = Client(world.kerbside.address, world.tls, source=source)
    code = client.link(token, link)
    assert code == OK or client.rest() == b""
    return code, client


def refused(world, token, code, reason, link=Link(), *, source=None, event="grant.denied"):
    """Links, and must be told the code for the reason; in the audit it is one event."""
    mark = world.kerbside.mark()
    got, client = try_link(world, token, link, source)
    client.close()
    assert got == code
    row = world.kerbside.wait_audit(event, mark, client_address=client.source)
    assert row["reason"] == reason
    other = {"grant.denied": "channel.refused", "channel.refused": "grant.denied"}[event]
    assert not world.kerbside.audit(other, mark, client_address=client.source)
    assert not world.kerbside.audit("session.started", mark, client_address=client.source)
    return row


def refused_channel(world, token, code, reason, link, **more):
    row = refused(world, token, code, reason, link, event="channel.refused", **more)
    assert row["channel"] == f"{CHANNELS[link.channel_type]}:{link.channel_id}"


def test_a_session_and_its_story(world):
    grant = world.kerbside.grant("desk", user="ada")
    with Session(world.kerbside, world.server, token=grant.token) as session:
        for kind in (DISPLAY, INPUTS):
            session.channel(kind).exchange()
        for channel in ("main:0", "display:0", "inputs:0"):
            world.kerbside.wait_audit("channel.opened", session_id=session.id, channel=channel)
        story = world.kerbside.audit(session_id=session.id)
        assert {e["event"] for e in story} == {"grant.redeemed", "session.started",
                                               "channel.opened"}
        for event in story:
            assert (event["grant_id"], event["source"], event["console"]) == (
                grant.id, "lab", "desk")
            assert event["client_address"] == session.source
        assert {s["id"] for s in world.kerbside.sessions()} >= {session.id}
        session.main.client.leave()
        assert session.wait_end()["reason"] == "client_closed"


# ---- tokens ----

def test_unknown_token(world):
    refused(world, "no-such-token", PERMISSION_DENIED, "token_unknown")


def test_expired_token(world):
    kerbside = world.kerbside
    token = kerbside.grant("desk", start_within="1ms").token
    end = time.time() + 0.002
    wait_until(lambda: time.time() > end, "the grant's time is over")
    refused(world, token, PERMISSION_DENIED, "token_expired")


def test_used_token(world):
    """A token starts one session; neither beside it nor after it another."""
    with Session(world.kerbside, world.server) as session:
        refused(world, session.token, PERMISSION_DENIED, "token_used")
        session.main.exchange()
    session.wait_end()
    refused(world, session.token, PERMISSION_DENIED, "token_used")


def test_revoked_token(world):
    grant = world.kerbside.grant("desk")
    world.kerbside.ask("DELETE", f"/api/v1/grants/{grant.id}")
    row = refused(world, grant.token, PERMISSION_DENIED, "token_revoked")
    assert row["grant_id"] == grant.id


def test_token_pinned_to_an_address(world):
    token = world.kerbside.grant("desk", client_address="127.99.1.2").token
    refused(world, token, PERMISSION_DENIED, "token_address")
    with Session(world.kerbside, world.server, token=token, source="127.99.1.2") as session:
        session.channel(DISPLAY).exchange()


def test_reusable_token(world):
    """Every main link with it is a session of its own, and channels go to the right one."""
    token = world.kerbside.grant("desk", reusable=True).token
    with Session(world.kerbside, world.server, token=token) as one, \
            Session(world.kerbside, world.server, token=token) as two:
        assert one.connection_id != two.connection_id
        for session in (one, two, one):
            session.channel(DISPLAY, len(session.channels)).exchange()
        assert one.id != two.id
        two.close()
        two.wait_end()
        one.channel(INPUTS).exchange()
        refused_channel(world, token, BAD_CONNECTION_ID, "connection_id",
                        Link(DISPLAY, 0, two.connection_id))


def test_token_of_a_console_that_is_gone(world):
    kerbside = world.kerbside
    before = kerbside.configuration["sources"]
    lab = before[0]
    grown = dict(lab, consoles=[*lab["consoles"], dict(lab["consoles"][0], uuid="brief")])
    with kerbside.settings(sources=[grown, *before[1:]]):
        wait_until(lambda: kerbside.call("GET", "/api/v1/consoles/lab/brief")[0] == 200,
                   "the console is there")
        token = kerbside.grant("brief").token
    wait_until(lambda: kerbside.call("GET", "/api/v1/consoles/lab/brief")[0] == 404,
               "the console is gone")
    refused(world, token, PERMISSION_DENIED, "token_revoked")


# ---- further channels ----

def test_channels_join_after_the_start_window(world):
    """A USB channel that is opened an hour later works."""
    grant = world.kerbside.grant("desk", start_within="1s")
    with Session(world.kerbside, world.server, token=grant.token) as session:
        end = time.time() + 1
        wait_until(lambda: time.time() > end, "the grant's time is over")
        session.channel(USBREDIR, 3).exchange()
        session.main.exchange()


@pytest.mark.parametrize("kind", [kind for kind in CHANNELS if kind != MAIN])
def test_every_channel_type_joins(world, kind):
    with Session(world.kerbside, world.server) as session:
        session.channel(kind, 255).exchange()
        event = world.kerbside.wait_audit("channel.opened", session_id=session.id,
                                          channel=f"{CHANNELS[kind]}:255")
        assert event["client_address"] == session.source


def test_id_of_another_session(world):
    with Session(world.kerbside, world.server) as mine, \
            Session(world.kerbside, world.server) as other:
        refused_channel(world, mine.token, BAD_CONNECTION_ID, "connection_id",
                        Link(DISPLAY, 0, other.connection_id))
        mine.main.exchange()
        other.main.exchange()


@pytest.mark.parametrize("wrong", [0, 1, 0xffffffff])
def test_id_of_no_session(world, wrong):
    with Session(world.kerbside, world.server) as session:
        refused_channel(world, session.token, BAD_CONNECTION_ID, "connection_id",
                        Link(DISPLAY, 0, wrong))
        session.main.exchange()


def test_main_with_an_id(world):
    """That would be the target of a migration, of which no client is ever told."""
    with Session(world.kerbside, world.server) as session:
        for connection_id in (session.connection_id, session.connection_id + 1):
            refused_channel(world, session.token, BAD_CONNECTION_ID, "connection_id",
                            Link(MAIN, 0, connection_id))
        session.main.exchange()


@pytest.fixture
def session_ids(world):
    """Sets what the server calls its next sessions."""
    before = world.server.session_ids
    yield lambda *ids: setattr(world.server, "session_ids", iter(ids))
    world.server.session_ids = before


def test_id_0_is_no_session(world, session_ids):
    """Not even where a server counts from 0: to SPICE it means a new one."""
    session_ids(0)
    with Session(world.kerbside, world.server) as session:
        refused_channel(world, session.token, BAD_CONNECTION_ID, "connection_id", Link(DISPLAY))
        session.main.exchange()


@pytest.mark.parametrize("connection_id", [0, 0x1001])
def test_channel_before_main(world, connection_id):
    """The token stays good: nothing has begun."""
    token = world.kerbside.grant("desk").token
    refused_channel(world, token, BAD_CONNECTION_ID, "connection_id",
                    Link(DISPLAY, 0, connection_id))
    with Session(world.kerbside, world.server, token=token) as session:
        session.main.exchange()


@pytest.mark.parametrize("connection_id", [0, 0x1001])
@pytest.mark.parametrize("kind", [MAIN, DISPLAY])
def test_channel_with_an_unknown_token(world, kind, connection_id):
    event = "grant.denied" if (kind, connection_id) == (MAIN, 0) else "channel.refused"
    refused(world, "no-such-token", PERMISSION_DENIED, "token_unknown",
            Link(kind, 0, connection_id), event=event)


@pytest.mark.parametrize("connection_id", [0, None])
def test_channel_after_the_session(world, connection_id):
    with Session(world.kerbside, world.server) as session:
        pass
    session.wait_end()
    refused_channel(world, session.token, PERMISSION_DENIED, "token_used",
                    Link(DISPLAY, 0, session.connection_id if connection_id is None else 0))


def test_channel_with_a_revoked_token(world):
    grant = world.kerbside.grant("desk")
    world.kerbside.ask("DELETE", f"/api/v1/grants/{grant.id}")
    refused_channel(world, grant.token, PERMISSION_DENIED, "token_revoked", Link(DISPLAY, 0, 7))


def test_the_ids_that_a_server_counts_belong_to_its_session_alone(world, session_ids):
    """Two hypervisors may count alike; the token tells their sessions apart."""
    session_ids(77, 77)
    with Session(world.kerbside, world.server) as one, \
            Session(world.kerbside, world.server) as two:
        assert one.connection_id == two.connection_id == 77
        one.channel(DISPLAY).exchange()
        two.channel(DISPLAY).exchange()
        one.close()
        one.wait_end()
        two.channel(INPUTS).exchange()
