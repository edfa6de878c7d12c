"""Sessions live and end in every way; the list and the audit tell the truth each time."""

import datetime
import signal

import pytest
from lab import CLIENT_LEFT, wait_until
from lab.qemu import BOX_B

ALL = {("main", 0), ("display", 0), ("cursor", 0), ("inputs", 0)}


def ready(client):
    client.wait_picture()
    wait_until(lambda: client.opened() >= ALL, "the channels are open")


def channels_of(session) -> set[str]:
    return {c["channel"] for c in session["channels"]}


def test_two_clients_after_each_other(lab):
    server = lab.spice_server()
    kerbside = lab.kerbside(server)
    seen = []
    for number in (1, 2):
        client = lab.client_through(kerbside, server.endpoint.uuid)
        ready(client)
        client.key()
        client.wait_colour(320, 240, (0xFF0000, 0x00FF00)[number - 1])
        (session,) = kerbside.wait_sessions(1)
        seen.append(session["id"])
        client.disconnect()
        kerbside.wait_sessions(0)
        ended = kerbside.wait_audit("session.ended", session_id=session["id"])
        assert ended["reason"] in CLIENT_LEFT
        assert ended["bytes_from_server"] > 256_000  # the bandwidth test alone
        assert ended["bytes_from_client"] > 0
    assert len(set(seen)) == 2
    started = kerbside.audit("session.started")
    assert {row["session_id"] for row in started} == set(seen)


def test_second_client_takes_the_console_over(lab):
    """libspice-server serves one client: a new one ends the old one's session, and kerbside says
    that it was the hypervisor who did it."""
    server = lab.spice_server()
    kerbside = lab.kerbside(server)
    first = lab.client_through(kerbside, server.endpoint.uuid)
    ready(first)
    (old,) = kerbside.sessions()
    second = lab.client_through(kerbside, server.endpoint.uuid)
    ready(second)
    first.wait_over()
    ended = kerbside.wait_audit("session.ended", session_id=old["id"])
    assert ended["reason"] == "server_closed"
    (new,) = kerbside.wait_sessions(1)
    assert new["id"] != old["id"]


def test_five_sessions_at_once(lab):
    servers = [lab.qemu(name=f"desktop-{i}") for i in range(2)]
    fakes = lab.spice_server(count=3)
    endpoints = [q.endpoint for q in servers] + fakes.endpoints
    kerbside = lab.kerbside(consoles=[e.console() for e in endpoints])
    clients = [lab.client_through(kerbside, e.uuid) for e in endpoints]
    for client in clients:
        ready(client)
    wait_until(lambda: all(len(c.opened()) == len({(e["type"], e["id"]) for e in
                                                   c.find_all("channel", state="new")})
                           for c in clients), "all channels of all clients are open")
    sessions = kerbside.wait_sessions(5)
    assert {s["uuid"] for s in sessions} == {e.uuid for e in endpoints}
    for session in sessions:
        assert channels_of(session) >= {"main:0", "display:0", "cursor:0", "inputs:0"}
    assert kerbside.metric("kerbside_sessions_active") == 5
    assert kerbside.metric("kerbside_channels_active") == sum(len(s["channels"]) for s in sessions)
    # Each key goes to its own desktop.
    for number, client in enumerate(clients[2:]):
        client.key(0x10 + number)
        fakes.wait_event("key", server=number, scancode=0x10 + number)
    assert len(fakes.find_all("key", scancode=lambda s: s < 0x80)) == 3
    # One leaves, the others stay.
    clients[0].disconnect()
    left = kerbside.wait_sessions(4)
    assert {s["uuid"] for s in left} == {e.uuid for e in endpoints[1:]}
    for client in clients[1:]:
        assert client.find("disconnected") is None
        client.disconnect()
    kerbside.wait_sessions(0)
    assert kerbside.metric("kerbside_sessions_active") == 0
    assert kerbside.metric("kerbside_channels_active") == 0


@pytest.mark.parametrize("kind", ["qemu", "spice_server"])
def test_client_is_killed(lab, kind):
    server = getattr(lab, kind)()
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    ready(client)
    (session,) = kerbside.sessions()
    client.kill()
    kerbside.wait_sessions(0)
    ended = kerbside.wait_audit("session.ended", session_id=session["id"])
    assert ended["reason"] in CLIENT_LEFT
    # The hypervisor is free for the next.
    ready(lab.client_through(kerbside, server.endpoint.uuid))


def test_client_vanishes_without_a_word(lab):
    """No FIN and no RST ever comes: the wire is pulled. The session must still end, by
    kerbside's own doing."""
    wire = lab.cut_off()
    inner = wire.enter(wire.inner)
    server = lab.spice_server(enter=inner)
    kerbside = lab.kerbside(server, enter=inner, host=wire.SERVER)
    client = lab.client_through(kerbside, server.endpoint.uuid, enter=wire.enter(wire.outer))
    ready(client)
    (session,) = kerbside.sessions()
    wire.pull()
    wait_until(lambda: not kerbside.sessions(), "kerbside gives up the client", timeout=180,
               explain=kerbside.log)
    ended = kerbside.wait_audit("session.ended", session_id=session["id"])
    assert ended["reason"] == "client_lost"
    wait_until(lambda: server.find("channel", type=1, state="disconnected"),
               "the hypervisor is told")


def test_hypervisor_vanishes_without_a_word(lab):
    """The same on the other side: the client is told, and whoever comes now is refused in time."""
    wire = lab.cut_off()
    here = wire.enter(wire.outer)
    server = lab.spice_server(enter=wire.enter(wire.inner), address=wire.SERVER)
    kerbside = lab.kerbside(server, enter=here, settings={"timeouts": {"connect": "2s"}})
    client = lab.client_through(kerbside, server.endpoint.uuid, enter=here)
    ready(client)
    (session,) = kerbside.sessions()
    wire.pull()
    wait_until(lambda: not kerbside.sessions(), "kerbside gives up the hypervisor", timeout=180,
               explain=kerbside.log)
    ended = kerbside.wait_audit("session.ended", session_id=session["id"])
    assert ended["reason"] == "server_lost"
    client.wait_over()
    late = lab.client_through(kerbside, server.endpoint.uuid, enter=here)
    late.wait_over()
    refused = kerbside.wait_audit("channel.refused")
    assert refused["reason"] in ("connect_timeout", "connect_failed")


@pytest.mark.parametrize("kind", ["qemu", "spice_server"])
def test_hypervisor_is_killed(lab, kind):
    server = getattr(lab, kind)()
    other = lab.spice_server(name="other")
    kerbside = lab.kerbside(server, other)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    bystander = lab.client_through(kerbside, other.endpoint.uuid)
    ready(client)
    ready(bystander)
    server.kill()
    client.wait_over()
    (left,) = kerbside.wait_sessions(1)
    assert left["uuid"] == other.endpoint.uuid
    ended = kerbside.wait_audit("session.ended", console=server.endpoint.uuid)
    assert ended["reason"] in ("server_closed", "server_lost")
    # Opening it again says that it is not there.
    again = lab.client_through(kerbside, server.endpoint.uuid)
    assert again.wait_over()[-1]["state"].startswith("error_")
    kerbside.wait_audit("channel.refused", console=server.endpoint.uuid, reason="connect_failed")
    # The bystander never noticed.
    bystander.key()
    bystander.wait_colour(320, 240, 0xFF0000)


def test_hypervisor_stalls_and_goes_on(lab):
    qemu = lab.qemu()
    other = lab.spice_server(name="other")
    kerbside = lab.kerbside(qemu, other)
    client = lab.client_through(kerbside, qemu.endpoint.uuid)
    bystander = lab.client_through(kerbside, other.endpoint.uuid)
    ready(client)
    ready(bystander)
    before = qemu.screen()
    qemu.stall()
    for _ in range(20):
        client.key()
        bystander.key()
    wait_until(lambda: other.stats()["keys"] == 20, "the bystander's keys arrive")
    assert len(kerbside.sessions()) == 2  # stalled is not dead
    qemu.go_on()
    wait_until(lambda: qemu.screen() != before, "the keys reach the guest after the stall")
    wait_until(lambda: client.screenshot() == qemu.screen(), "the picture after the stall")


def test_stalled_hypervisor_refuses_in_time(lab):
    """A new session to a hypervisor that accepts and then says nothing."""
    server = lab.spice_server()
    kerbside = lab.kerbside(server, settings={"timeouts": {"link": "1s"}})
    server.signal(signal.SIGSTOP)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    assert client.wait_over()[-1]["state"].startswith("error_")
    kerbside.wait_audit("channel.refused", console=server.endpoint.uuid,
                        reason="server_link_timeout")
    server.signal(signal.SIGCONT)
    kerbside.wait_sessions(0)
    ready(lab.client_through(kerbside, server.endpoint.uuid))


def test_client_stalls_and_goes_on(lab):
    """A client that stops reading a busy display must not make kerbside collect frames without
    bound, and finds its session again."""
    server = lab.spice_server(fps=25, compression="off")
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    ready(client)

    def resident() -> int:
        for line in open(f"/proc/{kerbside.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def received() -> int:
        (session,) = kerbside.sessions()
        return sum(c["bytes_from_server"] for c in session["channels"]
                   if c["channel"] == "display:0")

    before = resident()
    client.signal(signal.SIGSTOP)
    looks = []

    def stands_still() -> bool:
        """The relay has stopped reading: many looks in a row, over several frames, are equal."""
        looks.append(received())
        return len(looks) > 25 and len(set(looks[-25:])) == 1

    wait_until(stands_still, "the relay stops reading for a client that does not")
    assert resident() - before < 32 * 1024, "kerbside collects what the client does not take"
    client.signal(signal.SIGCONT)
    wait_until(lambda: received() > looks[-1] + 1_000_000, "frames flow again")
    client.key()
    server.wait_event("key", scancode=0x1E)


def test_operator_ends_a_session(lab):
    server = lab.spice_server()
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    ready(client)
    (session,) = kerbside.sessions()
    kerbside.ask("POST", f"/api/v1/sessions/{session['id']}/terminate",
                 {"reason": "maintenance"})
    told = "the session was ended by an operator: maintenance"
    client.wait_event("notice", text=lambda text: text.endswith(told))
    client.wait_over()
    kerbside.wait_sessions(0)
    event = kerbside.wait_audit("session.terminated", session_id=session["id"])
    assert event["actor"] == "admin"
    ended = kerbside.wait_audit("session.ended", session_id=session["id"])
    assert ended["reason"] == "terminated"


@pytest.mark.parametrize("kind", ["qemu", "spice_server"])
def test_diagnosis_harms_nobody(lab, kind):
    """It proves the ticket to a server that has a client, and the client never notices."""
    server = getattr(lab, kind)()
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    ready(client)
    before = channels_of(kerbside.sessions()[0])
    found = kerbside.ask("GET", f"/api/v1/consoles/lab/{server.endpoint.uuid}/diagnosis")
    assert found["ok"], found
    assert found["hops"][-1]["detail"] == "accepted"
    (session,) = kerbside.sessions()
    assert channels_of(session) == before
    client.key()
    assert not [e for e in client.find_all("channel") if e["state"] == "closed"]


def test_drain_ends_sessions_with_a_reason(lab):
    server = lab.spice_server()
    kerbside = lab.kerbside(server, settings={"drain": "500ms"})
    client = lab.client_through(kerbside, server.endpoint.uuid)
    ready(client)
    (session,) = kerbside.sessions()
    assert kerbside.drain() == 0
    client.wait_over()
    kerbside.start()
    ended = kerbside.wait_audit("session.ended", session_id=session["id"])
    assert ended["reason"] == "drained"
    kerbside.wait_sessions(0)


def test_crash_leaves_no_session_behind(lab):
    """kerbside itself is killed: after its restart the audit has the session's end."""
    server = lab.spice_server()
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    ready(client)
    (session,) = kerbside.sessions()
    kerbside.process.kill()
    client.wait_over()
    kerbside.start()
    kerbside.wait_sessions(0)
    ended = kerbside.wait_audit("session.ended", session_id=session["id"])
    assert ended["reason"] == "node_restarted"
    ready(lab.client_through(kerbside, server.endpoint.uuid))


def test_usb_channel_opens_long_after_the_start(lab):
    """The token's time to start a session is over; further channels of the session still open."""
    qemu = lab.qemu(usb=1)
    kerbside = lab.kerbside(qemu)
    vv = kerbside.vv("lab", qemu.endpoint.uuid, start_within="2s")
    client = lab.client(vv=vv)
    ready(client)
    client.wait_channel("usbredir")
    client.command("close usbredir 0")
    (session,) = kerbside.sessions()

    def closed() -> bool:
        return "usbredir:0" not in channels_of(kerbside.session(session["id"]))

    wait_until(closed, "one channel closes alone")
    ended = kerbside.wait_audit("channel.closed", session_id=session["id"], channel="usbredir:0")
    assert ended["reason"] in CLIENT_LEFT
    (grant,) = kerbside.items("/api/v1/grants")
    expires = datetime.datetime.fromisoformat(grant["expires_at"])
    wait_until(lambda: datetime.datetime.now(datetime.timezone.utc) > expires, "the grant's end")
    client.command("connect usbredir 0")
    wait_until(lambda: not closed(), "the new channel is the same session's")
    wait_until(lambda: len(client.find_all("channel", type="usbredir", state="opened")) == 2,
               "the client has its channel again")
    client.key()
    qemu.wait_drawn(BOX_B)
