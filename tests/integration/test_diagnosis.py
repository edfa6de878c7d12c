"""Why a console does not open: every hop with its result, and no harm done on the way."""

import json
import subprocess
import threading

import pytest
from daemon import binary
from spice import (BAD_CONNECTION_ID, CHANNEL_NOT_AVAILABLE, INPUTS, NEED_SECURED, OK,
                   PERMISSION_DENIED, Ended, LinkReply)
from test_dial import well_behaved, world  # noqa: F401  the same ways to be wrong

HOPS = ["source", "resolve", "connect", "tls", "identity", "link", "ticket"]


def stranger(leg):
    """A server as spice-server is: first the ticket, then the connection id that it does not know."""
    leg.read_link()
    assert leg.link.channel_type == INPUTS and leg.link.connection_id != 0
    leg.send(LinkReply(OK, leg.server.public_key).pack())
    right = leg.read_ticket() == leg.server.ticket
    leg.send((BAD_CONNECTION_ID if right else PERMISSION_DENIED).to_bytes(4, "little"))


@pytest.fixture(autouse=True)
def like_spice_server(well_behaved, world):  # noqa: F811
    for server in world.servers[2:]:
        server.behave = stranger


def diagnose(world, where):  # noqa: F811
    _, text = world.kerbside.ask("GET", "/api/v1/consoles/{}/{}/diagnosis".format(
        *where.split("/")))
    found = json.loads(text)
    hops = {hop["hop"]: hop for hop in found["hops"]}
    assert list(hops) == HOPS
    assert found["ok"] == all(hop["result"] in ("ok", "not_needed") for hop in found["hops"])
    return hops


def results(hops) -> str:
    """One letter for each hop: ok, failed, not needed, untried."""
    return "".join(hop["result"][0] for hop in hops.values())


@pytest.mark.parametrize("where, want", [
    ("plain/secured", "ononnoo"), ("plain/six", "ononnoo"), ("plain/unix", "ononnoo"),
    ("plain/localhost", "ooonnoo"), ("plain/several", "ooonnoo"), ("require/good", "onooooo"),
    ("require/pinned", "onooooo"), ("prefer-proved/both", "onooooo"),
])
def test_all_is_well(world, where, want):  # noqa: F811
    mark = world.kerbside.mark()
    hops = diagnose(world, where)
    assert results(hops) == want
    assert all(hop["ms"] >= 0 and hop["reason"] is None for hop in hops.values())
    # Nothing began: not here, not there. What sessions from before do may be written late.
    audit = world.kerbside.audit()
    before = {e["session_id"] for e in audit
              if e["event"] == "session.started" and int(e["id"]) <= mark}
    assert [e for e in audit if int(e["id"]) > mark and e.get("session_id") not in before] == []
    assert all(server.legs.empty() for server in world.servers[2:])


@pytest.mark.parametrize("where, want, hop, reason", [
    ("plain/unresolved", "ofunnuu", "resolve", "resolve_failed"),
    ("plain/refused", "onfnnuu", "connect", "connect_failed"),
    ("plain/no-socket", "onfnnuu", "connect", "connect_failed"),
    ("plain/dead", "onfnnuu", "connect", "connect_timeout"),
    ("plain/all-dead", "oofnnuu", "connect", "connect_failed"),
    ("plain/only-secure", "onfnnuu", "connect", "server_no_address"),
    ("require/no-port", "onfuuuu", "connect", "server_no_tls_port"),
    ("require/not-tls", "onofuuu", "tls", "server_tls_failed"),
    ("require/expired", "onoofuu", "identity", "server_certificate"),
    ("stranger/good", "onoofuu", "identity", "server_certificate"),
    ("require/other-name", "onoofuu", "identity", "server_name"),
    ("require/pinned-wrong", "onoofuu", "identity", "server_subject"),
    ("plain/wrong-ticket", "ononnof", "ticket", "server_ticket"),
    ("plain/no-ticket", "ononnof", "ticket", "server_ticket"),
])
def test_what_is_wrong(world, where, want, hop, reason):  # noqa: F811
    hops = diagnose(world, where)
    assert results(hops) == want
    assert hops[hop]["reason"] == reason
    assert hops[hop]["text"] and hops[hop]["advice"]


@pytest.mark.parametrize("behave, hop, reason", [
    (lambda leg: leg.read_link() and None, "link", "server_link_closed"),
    (lambda leg: leg.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "link", "server_link_malformed"),
    (lambda leg: leg.answer(LinkReply(NEED_SECURED, common=())), "link", "server_needs_tls"),
    (lambda leg: leg.rest(), "link", "server_link_timeout"),
    (lambda leg: (leg.read_link(), leg.send(LinkReply(OK, leg.server.public_key).pack()),
                  leg.read_ticket()) and None, "ticket", "server_link_closed"),
])
def test_servers_that_misbehave(world, behave, hop, reason):  # noqa: F811
    world.plain.behave = behave
    hops = diagnose(world, "plain/secured")
    assert hops[hop]["reason"] == reason, hops


@pytest.mark.parametrize("result", [OK, CHANNEL_NOT_AVAILABLE])
def test_other_ways_to_accept_a_ticket(world, result):  # noqa: F811
    world.plain.behave = lambda leg: leg.answer(result=result)
    assert results(diagnose(world, "plain/secured")) == "ononnoo"


def test_tls_that_the_server_demands(world):  # noqa: F811
    """As a channel does it: tried again with TLS where the source prefers that."""
    def demand(leg):
        leg.read_link()
        leg.send(LinkReply(NEED_SECURED, common=()).pack())
        raise Ended(b"")

    world.plain.behave = demand
    assert results(diagnose(world, "prefer/both")) == "onooooo"


def test_no_such_console(world):  # noqa: F811
    assert world.kerbside.call("GET", "/api/v1/consoles/plain/nothing/diagnosis")[0] == 404


def test_not_too_many_at_once(world):  # noqa: F811
    """Whoever asks holds a thread of the web for as long as the hypervisor takes."""
    world.plain.behave = lambda leg: leg.rest()
    statuses = []

    def ask():
        statuses.append(world.kerbside.call(
            "GET", "/api/v1/consoles/plain/secured/diagnosis")[0])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 429} and 200 in statuses


def test_the_command_line(world):  # noqa: F811
    def run(*words):
        return subprocess.run([binary(), "console", "diagnose", *words, "-c",
                               world.kerbside.config_path], capture_output=True, text=True)

    good = run("plain", "secured")
    assert good.returncode == 0, good
    assert [line.split()[0] for line in good.stdout.splitlines()[1:]] == HOPS
    bad = run("plain", "wrong-ticket")
    assert bad.returncode == 1
    assert "server_ticket" in bad.stdout and "Give the console the ticket" in bad.stdout
    assert json.loads(run("require", "good", "--json").stdout)["ok"] is True
