"""Policies: which of them hold, what they refuse at the link, their times, and what a reload changes for
live sessions. What a message may carry is in test_policy_content.py and its like."""

import contextlib
import json
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest
from common.process import wait_until
from conftest import World, console
from daemon import binary
from session import Session
from spice import (DISPLAY, MAIN, OK, PERMISSION_DENIED, PLAYBACK, RECORD, USBREDIR, Client, Link,
                   Server, last_notice, message, notice)

POLICIES = {
    "quiet": {"sound": False, "microphone": False},
    "bare": {"usb": {"enabled": False}, "smartcard": False, "folders": "off", "cursor": False,
             "sound": False},
    "trial": {"mode": "observe", "sound": False, "usb": {"enabled": False}},
    "closed": {"hours": {"open": "mon 00:00-00:01"}},
    "source-wide": {"clipboard": {"max_bytes": "64KiB"}},
    "for-web": {"clipboard": {"max_bytes": "4KiB", "out": False}},
    "for-one": {"view_only": True, "hours": {"open": "mon-sun 00:00-24:00", "zone": "Asia/Tokyo"}},
    "staff": {"screens": 2},
    "guests": {"files": {"names": ["*.pdf", "!x*"]}, "ports": []},
}
WARN = 1


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    far = Server()
    other = {"source": "far", "type": "static", "tls": "plain", "policy": "source-wide",
             "policies": [{"consoles": ["web-*"], "policy": "for-web"}],
             "consoles": [console("web-1", far), console("db", far, policy="for-one")]}
    identity = {"roles": [{"role": "user", "users": ["ann"], "sources": ["far"], "policy": "staff"}],
                "groups": [{"groups": ["visitors"], "policy": "guests"}]}
    world = World(tmp_path_factory.mktemp("world"), [other], policies=POLICIES, identity=identity)
    world.far = far
    yield world
    far.stop()
    world.stop()


def closed_now() -> dict:
    """Hours that are over."""
    return {"hours": {"open": next(f"{day} 00:00-00:01" for i, day in enumerate(
        ("mon", "tue", "wed")) if (time.gmtime().tm_wday - i) % 7 in range(2, 6))}}


def refuse(session: Session, channel_type: int) -> str:
    """Tries to open a channel that must be refused; the audit's reason."""
    client = session.client()
    mark = session.kerbside.mark()
    code = client.link(session.token, Link(channel_type, 0, session.connection_id))
    assert code == PERMISSION_DENIED
    return session.kerbside.wait_audit("channel.refused", mark, session_id=session.id)["reason"]


def verdicts(kerbside) -> dict[str, float]:
    text = kerbside.ask("GET", "/metrics")[1].decode()
    return {line.split(" ")[0].removeprefix("kerbside_policy_verdicts_total"):
            float(line.split(" ")[1]) for line in text.splitlines()
            if line.startswith("kerbside_policy_verdicts_total{")}


# ---- channels ----

def test_a_channel_that_is_off(world):
    label = '{channel="playback",direction="client_to_server",rule="channel",action="blocked"}'
    before = verdicts(world.kerbside).get(label, 0)
    with Session(world.kerbside, world.server, policy="quiet") as session:
        assert refuse(session, PLAYBACK) == "channel_forbidden"
        assert refuse(session, RECORD) == "channel_forbidden"
        session.channel(DISPLAY).exchange()
        session.channel(USBREDIR).exchange()
        session.main.exchange()
        row = next(s for s in world.kerbside.sessions() if s["id"] == session.id)
        assert row["policy"] == "default quiet"
    assert verdicts(world.kerbside)[label] == before + 1


def test_a_channel_that_is_off_on_trial(world):
    with Session(world.kerbside, world.server, policy="trial") as session:
        session.channel(PLAYBACK).exchange()
        row = world.kerbside.wait_audit("policy.observed", session_id=session.id)
        assert (row["reason"], row["channel"]) == ("channel", "playback:0")
        session.main.exchange()


def test_the_file_says_so(world):
    def file(**wish) -> dict:
        _, text = world.kerbside.ask("POST", "/api/v1/consoles/lab/desk/grants", wish,
                                     {"Accept": "application/x-virt-viewer"})
        return dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)

    free = file()
    assert "disable-channels" not in free
    assert (free["enable-usbredir"], free["enable-smartcard"]) == ("1", "1")
    bare = file(policy="bare")
    assert bare["disable-channels"] == "cursor;playback;smartcard;usbredir;webdav;"
    assert (bare["enable-usbredir"], bare["enable-usb-autoshare"]) == ("0", "0")
    assert bare["enable-smartcard"] == "0"
    trial = file(policy="trial")
    assert "disable-channels" not in trial and trial["enable-usbredir"] == "1"


# ---- grants ----

def test_a_grant_with_a_policy_that_is_none(world):
    status, _, text = world.kerbside.call("POST", "/api/v1/consoles/lab/desk/grants",
                                          {"policy": "nothing"})
    assert status == 422 and json.loads(text)["error"]["code"] == "invalid_field"


def test_grants_carry_the_policies_of_their_user(world):
    def carried(uuid: str, **wish) -> str | None:
        grant = world.kerbside.grant(uuid, "far", **wish)
        return next(g for g in world.kerbside.items("/api/v1/grants") if g["id"] == grant.id)["policy"]

    assert carried("db") is None
    assert carried("db", user="bob") is None
    assert carried("db", user="ann") == "staff"
    assert carried("db", user="ann", policy="quiet") == "staff quiet"
    assert carried("db", user="ann", policy="staff") == "staff"
    grant = world.kerbside.grant("desk", "lab", user="ann")  # where her role does not hold
    rows = world.kerbside.items("/api/v1/grants")
    assert next(g for g in rows if g["id"] == grant.id)["policy"] is None


def test_a_session_has_all_that_hold(world):
    with Session(world.kerbside, world.far, "web-1", source_name="far", user="ann",
                 policy="quiet") as session:
        row = next(s for s in world.kerbside.sessions() if s["id"] == session.id)
        assert row["policy"] == "default source-wide for-web staff quiet"


def test_a_policy_that_is_gone(world):
    """A grant is never good for more than it was made for."""
    grant = world.kerbside.grant("desk", policy="quiet")
    rest = {name: p for name, p in POLICIES.items() if name != "quiet"}
    with world.kerbside.settings(policies=rest):
        mark = world.kerbside.mark()
        client = Client(world.kerbside.address, world.tls)
        assert client.link(grant.token, Link(MAIN)) == PERMISSION_DENIED
        row = world.kerbside.wait_audit("channel.refused", mark, client_address=client.source)
        assert (row["reason"], row["detail"]) == ("policy_unknown", "quiet")
        world.kerbside.wait_audit("session.ended", mark, reason="policy_unknown")


# ---- time ----

def test_outside_the_hours(world):
    with world.kerbside.settings(policies={**POLICIES, "closed": closed_now()}):
        grant = world.kerbside.grant("desk", policy="closed")
        client = Client(world.kerbside.address, world.tls)
        assert client.link(grant.token, Link(MAIN)) == PERMISSION_DENIED
        assert world.kerbside.why_refused([client]) == {client.source: "hours"}


def test_the_end_of_the_hours(world):
    """A warning two minutes before; the end when they are over."""
    now = time.time()
    start, end = (time.strftime("%H:%M", time.gmtime(now + s)) for s in (-600, 120))
    soon = {"hours": {"open": f"mon-sun {start}-{end}"}}
    with world.kerbside.settings(policies={**POLICIES, "closed": soon}):
        with Session(world.kerbside, world.server, policy="closed") as session:
            severity, text = notice(session.main.client)
            assert severity == WARN
            assert text.startswith("the hours of sessions end; this one ends in ")
            session.main.exchange()
            world.kerbside.reload(policies={**POLICIES, "closed": closed_now()})
            assert last_notice(session.main.client) == \
                "the session's policy does not allow sessions at this hour"
            assert session.wait_end()["reason"] == "hours"


@pytest.mark.parametrize("key,reason", [("max_session", "max_session"), ("idle_timeout", "idle")])
def test_limits_of_time(world, key, reason):
    """The shorter one of grant and policy; also the other way round."""
    grants = {"idle_timeout": "5m"}
    with world.kerbside.settings(policies={**POLICIES, "brief": {key: "1s"}}, grants=grants):
        with Session(world.kerbside, world.server, policy="brief", max_session="5m") as session:
            assert session.wait_end()["reason"] == reason


def test_limits_of_time_on_trial(world):
    brief = {"mode": "observe", "max_session": "1s"}
    with world.kerbside.settings(policies={**POLICIES, "brief": brief}):
        with Session(world.kerbside, world.server, policy="brief") as session:
            row = world.kerbside.wait_audit("policy.observed", session_id=session.id)
            assert (row["reason"], row["channel"]) == ("max_session", "main:0")
            session.main.exchange()
        session.wait_end()
        assert len(world.kerbside.audit("policy.observed", session_id=session.id)) == 1


# ---- bandwidth ----

RATE = 200_000
BURST = RATE // 4
READ = 2 * 131072  # what one read and the buffers of TLS may take beyond the ceiling


def test_bandwidth(world):
    """Only that it is not faster can be said: a busy machine may be slower."""
    wide = {**POLICIES, "narrow": {"bandwidth": f"{RATE}"}}
    with world.kerbside.settings(policies=wide):
        with Session(world.kerbside, world.server, policy="narrow") as session:
            display = session.display()
            whole = message(304, bytes(RATE * 3 - 6))
            sender = threading.Thread(target=display.server.send, args=(whole,), daemon=True)
            began = time.monotonic()
            sender.start()
            assert display.client.read(RATE) == whole[:RATE]
            # A display that waits holds nobody else up, and can be waited for.
            session.main.exchange()
            assert display.client.read(RATE * 2) == whole[RATE:]
            took = time.monotonic() - began
            assert took > (RATE * 3 - BURST - READ) / RATE
            sender.join()
            row = world.kerbside.wait_audit("policy.blocked", session_id=session.id)
            assert (row["reason"], row["channel"]) == ("bandwidth", "display:0")
        session.wait_end()
        rows = wait_until(lambda: world.kerbside.audit("policy.blocked", session_id=session.id)[1:],
                          "the total is audited")
        assert len(rows) == 1 and rows[0]["detail"].startswith("in all 0 from the client, ")


def test_displays_share_the_bandwidth(world):
    """Three that always have more to say: the ceiling parts it among them, whoever came first."""
    rate = 2_000_000
    over = threading.Event()

    def flood(display):
        with contextlib.suppress(OSError):
            while not over.is_set():
                display.server.send(message(304, bytes(100_000)))

    def drain(display):
        with contextlib.suppress(OSError):
            display.client.rest()

    with world.kerbside.settings(policies={**POLICIES, "narrow": {"bandwidth": f"{rate}"}}), \
            Session(world.kerbside, world.server, policy="narrow") as session:
        displays = [session.display(i) for i in range(3)]
        threads = [threading.Thread(target=work, args=(display,))
                   for display in displays for work in (flood, drain)]

        session_id = session.id

        def carried() -> list[int]:
            live = json.loads(world.kerbside.ask("GET", f"/api/v1/sessions/{session_id}")[1])
            by_name = {c["channel"]: c["bytes_from_server"] for c in live["channels"]}
            return [by_name[f"display:{i}"] for i in range(3)]

        for thread in threads:
            thread.start()
        try:
            # What the first took before the others were there counts for nobody.
            start = wait_until(lambda: min(carried()) > 0 and carried(), "all of them flow")
            now = wait_until(lambda: sum(carried()) - sum(start) > 3 * rate // 2 and carried(),
                             "the ceiling's worth of a while")
            shares = [b - a for a, b in zip(start, now, strict=True)]
            assert min(shares) * 2 > max(shares), shares
            session.main.exchange()
        finally:
            over.set()
            for display in displays:
                display.client.sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def test_bandwidth_is_raised_by_a_reload(world):
    """A channel that would wait for hours goes on at once."""
    with world.kerbside.settings(policies={**POLICIES, "narrow": {"bandwidth": "10"}}):
        with Session(world.kerbside, world.server, policy="narrow") as session:
            display = session.display()
            whole = message(304, bytes(1_000_000))
            sender = threading.Thread(target=display.server.send, args=(whole,), daemon=True)
            sender.start()
            world.kerbside.wait_audit("policy.blocked", session_id=session.id)
            world.kerbside.reload(policies=POLICIES | {"narrow": {}})
            assert display.client.read(len(whole)) == whole
            sender.join()


def test_bandwidth_on_trial(world):
    narrow = {"mode": "observe", "bandwidth": "1kB"}
    with world.kerbside.settings(policies={**POLICIES, "narrow": narrow}):
        with Session(world.kerbside, world.server, policy="narrow") as session:
            display = session.display()
            whole = message(304, bytes(500_000))
            display.server.send(whole)
            assert display.client.read(len(whole)) == whole
            row = world.kerbside.wait_audit("policy.observed", session_id=session.id)
            assert (row["reason"], row["channel"]) == ("bandwidth", "display:0")


# ---- reload ----

def test_a_reload_reaches_live_sessions(world):
    with Session(world.kerbside, world.server, policy="quiet") as session:
        assert refuse(session, PLAYBACK) == "channel_forbidden"
        usb, display = session.channel(USBREDIR), session.channel(DISPLAY)
        mark = world.kerbside.mark()
        changed = {**POLICIES, "quiet": {"usb": {"enabled": False}}}
        with world.kerbside.settings(policies=changed):
            row = world.kerbside.wait_audit("channel.closed", mark, session_id=session.id)
            assert (row["channel"], row["reason"]) == ("usbredir:0", "channel_forbidden")
            assert usb.client.rest() == b"" and usb.server.rest() == b""
            assert refuse(session, USBREDIR) == "channel_forbidden"
            session.channel(PLAYBACK).exchange()
            display.exchange()
            said = [line for line in world.kerbside.log("policy.renewed")
                    if line["session_id"] == session.id]
            assert said[-1]["channels_closed"] == 1 and "connects again" in said[-1]["detail"]


def test_fewer_screens_by_a_reload(world):
    with Session(world.kerbside, world.server, policy="quiet") as session:
        first, second = session.channel(DISPLAY), session.channel(DISPLAY, 1)
        mark = world.kerbside.mark()
        with world.kerbside.settings(policies={**POLICIES, "quiet": {"screens": 1}}):
            row = world.kerbside.wait_audit("channel.closed", mark, session_id=session.id)
            assert (row["channel"], row["reason"]) == ("display:1", "channel_forbidden")
            assert second.client.rest() == b""
            first.exchange()


def test_a_live_session_of_a_policy_that_is_gone(world):
    with Session(world.kerbside, world.server, policy="quiet") as session:
        rest = {name: p for name, p in POLICIES.items() if name != "quiet"}
        with world.kerbside.settings(policies=rest):
            wait_until(lambda: any(line["session_id"] == session.id and line["policy"] == "quiet"
                                   for line in world.kerbside.log("policy.kept")),
                       "the log says that the session keeps its rules")
            assert refuse(session, PLAYBACK) == "channel_forbidden"
            session.main.exchange()


def test_a_wrong_policy_changes_nothing(world):
    wrong = {**POLICIES, "quiet": {"sound": "some"}}
    before = dict(world.kerbside.configuration)
    with Session(world.kerbside, world.server, policy="quiet") as session:
        world.kerbside.reload("config.rejected", policies=wrong)
        world.kerbside.configuration = before
        world.kerbside.write_configuration()
        assert refuse(session, PLAYBACK) == "channel_forbidden"


# ---- what holds, and why ----

def explain(world, uuid: str, source="far", **query) -> dict:
    query = urllib.parse.urlencode(query)
    return json.loads(world.kerbside.ask(
        "GET", f"/api/v1/consoles/{source}/{uuid}/policy?{query}")[1])


def test_explain(world):
    found = explain(world, "web-1", user="ann", groups="other,visitors", policy="trial")
    assert [(p["name"], p["mode"], p["because"]) for p in found["policies"]] == [
        ("default", "enforce", "default"), ("source-wide", "enforce", "source"),
        ("for-web", "enforce", "console"), ("staff", "enforce", "role"),
        ("guests", "enforce", "group"), ("trial", "observe", "grant")]
    rules = {rule["rule"]: rule for rule in found["rules"]}
    assert rules["clipboard.max_bytes"]["value"] == 4096
    assert rules["clipboard.max_bytes"]["policies"] == ["for-web"]
    assert rules["clipboard.out"]["value"] is False
    assert rules["clipboard.in"] == {"rule": "clipboard.in", "value": True, "policies": [],
                                     "observed": None}
    assert rules["screens"]["policies"] == ["staff"]
    assert rules["files.names"]["value"] == ["*.pdf, !x*"]
    assert rules["ports"]["value"] == [""] and rules["ports"]["policies"] == ["guests"]
    assert rules["sound"] == {"rule": "sound", "value": True, "policies": [],
                              "observed": {"value": False, "policies": ["trial"]}}
    assert rules["grammar"]["value"] == "enforce"
    one = {rule["rule"]: rule for rule in explain(world, "db", user="bob")["rules"]}
    assert one["view_only"]["policies"] == ["for-one"]
    assert one["hours"]["value"] == ["mon-sun 00:00-24:00 (Asia/Tokyo)"]


def test_explain_what_is_not(world):
    assert world.kerbside.call("GET", "/api/v1/consoles/far/none/policy")[0] == 404
    assert world.kerbside.call("GET", "/api/v1/consoles/far/db/policy?policy=none")[0] == 422


def test_list(world):
    rows = {row["name"]: row for row in world.kerbside.items("/api/v1/policies")}
    assert set(rows) == {"default", *POLICIES}
    assert rows["default"] == {"name": "default", "mode": "enforce", "rules": {}, "attached": []}
    assert rows["for-web"]["rules"] == {"clipboard.max_bytes": 4096, "clipboard.out": False}
    assert rows["for-web"]["attached"] == [{"source": "far", "uuid": None, "consoles": ["web-*"]}]
    assert rows["for-one"]["attached"] == [{"source": "far", "uuid": "db", "consoles": []}]
    assert rows["trial"]["mode"] == "observe"
    assert len(world.kerbside.items("/api/v1/policies", q="for-")) == 2


def run(world, *words) -> subprocess.CompletedProcess:
    return subprocess.run([binary(), "policy", *words, "-c", world.kerbside.config_path],
                          capture_output=True, text=True)


def test_command_line(world):
    done = run(world, "list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["NAME", "MODE", "ATTACHED", "RULES"]
    assert any(line.split() == ["trial", "observe", "0", "usb.enabled,", "sound"] for line in lines)

    done = run(world, "show", "for-web")
    words = done.stdout.split()
    assert done.returncode == 0 and "clipboard.max_bytes 4096" in " ".join(words)
    assert "far web-*" in " ".join(words)
    assert json.loads(run(world, "show", "for-web", "--json").stdout)["name"] == "for-web"
    done = run(world, "show", "nobody")
    assert (done.returncode, done.stderr) == (1, "kerbside: no policy has this name\n")

    done = run(world, "explain", "ann", "web-1", "--groups", "visitors", "--policy", "trial")
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["guests", "enforce", "group"] in rows
    assert ["clipboard.max_bytes", "4096", "for-web", "-", "-"] in rows
    assert ["sound", "yes", "-", "no", "trial"] in rows
    found = json.loads(run(world, "explain", "ann", "far", "web-1", "--json").stdout)
    assert found["user"] == "ann"
    assert run(world, "explain", "ann", "nothing").returncode == 1
    assert run(world, "explain", "ann").returncode == 2
