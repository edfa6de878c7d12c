"""Sessions that an operator ends: what matches is cut on all its channels and told why, what does not
goes on, and who may see and end what by being the console's owner."""

import json

import pytest
from conftest import World, console
from session import Session
from spice import DISPLAY, INPUTS, Server, last_notice
from web import Web


@pytest.fixture(scope="module")
def others():
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory, others):
    homes = {"source": "homes", "type": "static", "tls": "plain",
             "consoles": [console("mine", others, owner="apikey:olga"),
                          console("theirs", others, owner="apikey:peter")]}
    world = World(tmp_path_factory.mktemp("terminate"), [homes])
    yield world
    world.stop()


def is_cut(session: Session) -> str:
    """Every channel ends, with nothing asked of the client; the words that main had for it."""
    words = last_notice(session.main.client)
    for channel in session.channels[1:]:
        assert channel.client.rest() == b""
    return words


def wishes(session: Session) -> dict:
    grant = session.kerbside.audit("session.started", client_address=session.source)[0]["grant_id"]
    return {
        "session": (f"/api/v1/sessions/{session.id}/terminate", {}),
        "console": ("/api/v1/consoles/homes/mine/terminate", {}),
        "user": ("/api/v1/sessions/terminate", {"user": "ulla"}),
        "grant": ("/api/v1/sessions/terminate", {"grant_id": grant}),
    }


@pytest.mark.parametrize("by", ["session", "console", "user", "grant"])
def test_all_channels_end_at_once(world, others, by):
    kerbside = world.kerbside
    with (Session(kerbside, others, "mine", source_name="homes", user="ulla") as session,
          Session(kerbside, others, "theirs", source_name="homes", user="vito") as other):
        for kind in (DISPLAY, INPUTS):
            session.channel(kind).exchange()
            other.channel(kind).exchange()
        path, body = wishes(session)[by]
        answer = json.loads(kerbside.ask("POST", path, {**body, "reason": "moving house"})[1])
        assert answer == {"terminated": 1}
        assert is_cut(session).endswith(": moving house")
        for channel in other.channels[1:]:
            channel.exchange()
        event = kerbside.wait_audit("session.terminated", session_id=session.id)
        assert (event["actor"], event["detail"]) == ("admin-socket", "moving house")
        found = json.loads(kerbside.ask("GET", f"/api/v1/sessions/{session.id}")[1])
        assert found["reason"] == "terminated" and found["channels"] == []
        closed = {row["channel"]: row for row in found["closed_channels"]}
        assert set(closed) == {"main:0", "display:0", "inputs:0"}
        # As many bytes as were exchanged, each way: a header of 6 and a body of 12.
        assert {(row["bytes_from_client"], row["bytes_from_server"])
                for name, row in closed.items() if name != "main:0"} == {(18, 18)}
        assert found["bytes_from_client"] == sum(
            row["bytes_from_client"] for row in closed.values())
        assert found["termination"]["request_id"] == event["request_id"]


def test_many_at_once(world, others):
    """One request, all sessions of a user, on all loops."""
    sessions = [Session(world.kerbside, others, "mine", source_name="homes", user="wim")
                for _ in range(12)]
    answer = world.kerbside.ask("POST", "/api/v1/sessions/terminate", {"user": "wim"})[1]
    assert json.loads(answer) == {"terminated": len(sessions)}
    for session in sessions:
        is_cut(session)
        session.close()


def test_channels_that_closed_before_the_end(world, others):
    """A live session shows them too."""
    with Session(world.kerbside, others, "mine", source_name="homes") as session:
        channel = session.channel(DISPLAY)
        channel.exchange()
        channel.close()
        world.kerbside.wait_audit("channel.closed", session_id=session.id)
        found = json.loads(world.kerbside.ask("GET", f"/api/v1/sessions/{session.id}")[1])
        assert [c["channel"] for c in found["channels"]] == ["main:0"]
        assert [(c["channel"], c["reason"]) for c in found["closed_channels"]] == [
            ("display:0", "client_closed")]
        assert found["ended_at"] is None


# ---- by ownership ----

def key(world, name, role) -> str:
    wish = {"name": name, "role": role, "consoles": "owner"}
    return json.loads(world.kerbside.ask("POST", "/api/v1/apikeys", wish)[1])["key"]


def test_operator_of_own_consoles(world, others):
    olga = key(world, "olga", "operator")
    web = Web(world.kerbside)
    with (Session(world.kerbside, others, "mine", source_name="homes", user="xenia") as mine,
          Session(world.kerbside, others, "theirs", source_name="homes", user="xenia") as theirs):
        shown = web.ask("GET", "/api/v1/sessions", token=olga).json["items"]
        assert [s["uuid"] for s in shown] == ["mine"]
        for session, status in ((mine, 200), (theirs, 403)):
            path = f"/api/v1/sessions/{session.id}"
            assert web.ask("GET", path, token=olga).status == status
        path = f"/api/v1/sessions/{theirs.id}/terminate"
        assert web.ask("POST", path, {}, olga).status == 403
        assert web.ask("POST", "/api/v1/sessions/terminate", {"user": "xenia"}, olga).json == {
            "terminated": 1}
        is_cut(mine)
        theirs.channel(DISPLAY).exchange()
        ended, live = f"/api/v1/sessions/{mine.id}", f"/api/v1/sessions/{theirs.id}"
        assert web.ask("GET", ended, token=olga).json["ended_by"] == "apikey:olga"
        assert web.ask("GET", live, token=olga).status == 403
    theirs.wait_end()
    assert web.ask("GET", live, token=olga).status == 403  # nor when it has ended


def test_auditor_of_own_consoles(world, others):
    """Events of a console go by the owner of then."""
    peter = key(world, "peter", "auditor")
    with Session(world.kerbside, others, "theirs", source_name="homes") as session:
        session.channel(DISPLAY)
    session.wait_end()
    rows = Web(world.kerbside).ask("GET", "/api/v1/audit?limit=1000", token=peter).json["items"]
    assert {row["console"] for row in rows} == {"theirs"}
    assert {"console.added", "grant.created", "session.started", "channel.opened",
            "channel.closed", "session.ended"} <= {row["event"] for row in rows}
