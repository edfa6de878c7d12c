"""What the person in front of a session is told: why it ends, and that it is about to end. It comes as
a NOTIFY on main, never inside another message."""

import pytest
from session import Session
from spice import DISPLAY, INPUTS, last_notice, message, notice

KEY_DOWN, PING, NAME = 101, 4, 113
WARN = 1


def grant_of(session: Session) -> str:
    return session.kerbside.audit("session.started", client_address=session.source)[0]["grant_id"]


# ---- ended by an operator ----

@pytest.mark.parametrize("which", ["session", "console", "user", "grant", "source"])
def test_an_end_says_why(world, which):
    """By session, console, user, grant or source; nobody else's session ends."""
    with Session(world.kerbside, world.server, user="alice") as session:
        display = session.channel(DISPLAY)
        display.exchange()
        way, wish = {
            "session": (f"sessions/{session.id}/terminate", {}),
            "console": ("consoles/lab/desk/terminate", {}),
            "user": ("sessions/terminate", {"user": "alice"}),
            "grant": ("sessions/terminate", {"grant_id": grant_of(session)}),
            "source": ("sessions/terminate", {"source": "lab", "uuid": "desk"}),
        }[which]
        world.kerbside.ask("POST", f"/api/v1/{way}", {"reason": "Wartung um 12 — später", **wish})
        text = "the session was ended by an operator: Wartung um 12 — später"
        assert last_notice(session.main.client) == text
        assert display.client.rest() == b""  # a display counts its messages
        assert session.main.server.rest() == b""
        assert session.wait_end()["reason"] == "terminated"


def test_nothing_matches(world):
    with Session(world.kerbside, world.server, user="alice") as session:
        for wish in ({"user": "bob"}, {"grant_id": "nothing"}, {"source": "lab", "uuid": "no"},
                     {"source": "lab", "uuid": "desk", "user": "bob"}):
            _, text = world.kerbside.ask("POST", "/api/v1/sessions/terminate", wish)
            assert text == b'{"terminated":0}\n'
        for wish in ({}, {"reason": "none"}, {"uuid": "desk"}):
            assert world.kerbside.call("POST", "/api/v1/sessions/terminate", wish)[0] == 422
        session.main.exchange()


def test_no_notice_inside_a_message(world):
    """The rest of a long message never comes, so nobody may take other bytes for it."""
    with Session(world.kerbside, world.server) as session:
        whole = message(PING, bytes(range(256)) * 200)
        session.main.server.send(whole[:40000])
        assert session.main.client.read(40000) == whole[:40000]
        world.kerbside.ask("POST", f"/api/v1/sessions/{session.id}/terminate", {"reason": "now"})
        assert session.main.client.rest() == b""
        assert session.wait_end()["reason"] == "terminated"


def test_a_notice_before_a_message_that_is_held(world):
    """A short message that has not come whole has not begun for the client."""
    with Session(world.kerbside, world.server) as session:
        first = message(NAME, b"first")
        session.main.server.send(first + message(NAME, b"second")[:-1])
        assert session.main.client.read(len(first)) == first
        world.kerbside.ask("POST", f"/api/v1/sessions/{session.id}/terminate", {})
        assert last_notice(session.main.client) == "the session was ended by an operator"


# ---- limits ----

def test_the_longest_time_says_so(world):
    """A limit that is shorter than the warning's time has no warning."""
    with Session(world.kerbside, world.server, max_session="1s") as session:
        assert last_notice(session.main.client) == \
            "the session reached its longest allowed time"


def test_a_warning_of_the_longest_time(world):
    with Session(world.kerbside, world.server, max_session="121s") as session:
        severity, text = notice(session.main.client)
        assert severity == WARN
        assert text.startswith("a session lasts at most 121s; this one ends in ")
        session.main.exchange()  # and it goes on
        session.main.exchange()


def test_an_idle_session(world):
    with world.kerbside.settings(grants={"idle_timeout": "1s"}):
        with Session(world.kerbside, world.server) as session:
            assert last_notice(session.main.client) == \
                "nobody touched keyboard or mouse for the session's idle time"
            assert session.wait_end()["reason"] == "idle"


def test_a_warning_of_idleness(world):
    """Once for each time that nobody does anything."""
    with world.kerbside.settings(grants={"idle_timeout": "121s"}):
        session = Session(world.kerbside, world.server)
    with session:
        inputs = session.channel(INPUTS)
        for _ in range(2):
            severity, text = notice(session.main.client)
            assert severity == WARN
            assert text.startswith("a session that nobody touches ends after 121s; this one ends")
            key = message(KEY_DOWN, b"\x1e\0\0\0")
            inputs.client.send(key)
            assert inputs.server.read(len(key)) == key


def test_a_warning_waits_for_the_message_under_way(world):
    whole = message(PING, bytes(60000))
    with Session(world.kerbside, world.server, max_session="121s") as session, \
            Session(world.kerbside, world.server, max_session="121s") as other:
        session.main.server.send(whole[:40000])
        assert session.main.client.read(40000) == whole[:40000]
        notice(other.main.client)
        notice_of_a_third_round(world)
        session.main.server.send(whole[40000:])
        assert session.main.client.read(len(whole) - 40000) == whole[40000:]
        assert notice(session.main.client)[0] == WARN


def notice_of_a_third_round(world):
    """Until a session that began now has had its warning: every loop has ticked meanwhile."""
    with Session(world.kerbside, world.server, max_session="121s") as session:
        notice(session.main.client)
