"""A desktop that moves to another hypervisor takes its session along, and never the client past
kerbside."""

import re

import pytest
from lab import CLIENT_LEFT, wait_until
from lab.qemu import BOX_A, BOX_B


def connected_to(trace) -> set[tuple[str, int]]:
    """Every TCP address the client has tried to connect to."""
    pattern = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([\d.]+)"\)')
    found = set()
    for line in trace.read_text(errors="replace").splitlines():
        for port, host in pattern.findall(line):
            found.add((host, int(port)))
    return found


def migrate(source, destination, before=lambda: None):
    """What a cloud does: tell the source's clients where to go, then move. before: what happens
    before the machine's memory has travelled."""
    target = destination.scratch / "migration.sock"
    destination.qmp.run("migrate-incoming", uri=f"unix:{target}")
    there = destination.endpoint
    tls = {"tls-port": there.tls_port} if there.tls_port else {}
    source.qmp.run("client_migrate_info", protocol="spice", hostname="127.0.0.1", port=there.port,
                   **tls)
    before()
    source.qmp.run("migrate", uri=f"unix:{target}")
    wait_until(lambda: source.qmp.run("query-migrate").get("status") == "completed",
               "the migration", explain=lambda: str(source.qmp.run("query-migrate")))
    wait_until(lambda: destination.qmp.run("query-status")["running"], "the desktop runs again")


def test_direct_client_follows(lab, tmp_path):
    """Without kerbside a client goes where the hypervisor says: this is what must not happen, and
    the proof that these two hypervisors really try it."""
    source = lab.qemu(name="first")
    destination = lab.qemu(name="second", incoming=True)
    trace = tmp_path / "connects"
    client = lab.client(endpoint=source.endpoint, trace=trace)
    client.wait_picture()
    migrate(source, destination)
    wait_until(lambda: ("127.0.0.1", destination.endpoint.port) in connected_to(trace),
               "the client connects to the second hypervisor")


def pair(lab, tls=False, **options):
    """The hypervisor where the desktop is, and the one to which it moves."""
    if tls:
        options.update(tls=True, **lab.x509())
    return lab.qemu(name="first", **options), lab.qemu(name="second", incoming=True, **options)


def kinds(qemu) -> set[tuple[int, int]]:
    return {(c["channel-type"], c["channel-id"]) for c in qemu.channels()}


def migrate_seamlessly(source, destination):
    """As a cloud does: its machines' memory travels for longer than a client needs to follow."""

    def followed():
        wait_until(lambda: kinds(destination) == kinds(source), "all channels at the second too",
                   explain=lambda: f"{kinds(source)} {kinds(destination)}")

    migrate(source, destination, before=followed)


INPUTS = (3, 0)  # as QEMU says it
CHANNELS = {(kind, 0) for kind in ("main", "display", "inputs", "cursor", "playback", "record",
                                   "usbredir", "port")}


def events_of_channels(client):
    return [(e["type"], e["id"], e["state"]) for e in client.find_all("channel")]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_session_goes_along(lab, tmp_path, tls):
    """The client notices nothing: no new connection, no channel lost, and the desktop goes on where
    it was, at the second hypervisor, when the first is gone."""
    source, destination = pair(lab, tls, audio="tone", usb=1, serial=True, agent=True)
    kerbside = lab.kerbside(source)
    trace = tmp_path / "connects"
    client = lab.client_through(kerbside, source.endpoint.uuid, trace=trace)
    client.wait_picture()
    client.wait_event("playback_loud")
    client.key()
    client.wait_image(source.wait_drawn(BOX_B))
    wait_until(lambda: client.opened() == CHANNELS, "all channels are open",
               explain=lambda: str(client.opened()))
    (session,) = kerbside.sessions()
    before = events_of_channels(client)

    migrate_seamlessly(source, destination)
    moved = kerbside.wait_audit("session.migrated", session_id=session["id"])
    there, here = destination.endpoint, source.endpoint
    assert moved["detail"] == (f"from 127.0.0.1:{here.tls_port or here.port} to "
                               f"127.0.0.1:{there.tls_port or there.port}, seamless")
    source.kill()  # as the cloud does
    for box in (BOX_A, BOX_B):
        client.key()
        client.wait_image(destination.wait_drawn(box))
    assert events_of_channels(client) == before
    assert connected_to(trace) == {("127.0.0.1", kerbside.port)}
    assert [s["id"] for s in kerbside.sessions()] == [session["id"]]
    client.disconnect()
    ended = kerbside.wait_audit("session.ended", session_id=session["id"])
    assert ended["reason"] in CLIENT_LEFT


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_client_is_sent_back(lab, tmp_path, tls):
    """Hypervisors without seamless migration: the client leaves and comes again, to kerbside, and
    it is the same session."""
    source, destination = pair(lab, tls, seamless=False)
    kerbside = lab.kerbside(source)
    trace = tmp_path / "connects"
    client = lab.client_through(kerbside, source.endpoint.uuid, trace=trace)
    client.wait_picture()
    client.wait_channel("inputs")
    (session,) = kerbside.sessions()
    before = client.position()
    migrate(source, destination)
    kerbside.wait_audit("session.migrated", session_id=session["id"])
    source.kill()
    client.wait_channel("inputs", since=before)
    client.key()
    client.wait_image(destination.wait_drawn(BOX_B))
    assert connected_to(trace) == {("127.0.0.1", kerbside.port)}
    assert [s["id"] for s in kerbside.sessions()] == [session["id"]]


@pytest.mark.parametrize("seamless", [True, False], ids=["seamless", "switch"])
def test_remote_viewer_stays(lab, seamless):
    source, destination = pair(lab, seamless=seamless)
    kerbside = lab.kerbside(source)
    viewer = lab.viewer(kerbside.vv("lab", source.endpoint.uuid))
    viewer.wait_screen(lambda screen: screen.find(source.screen()), "the guest's screen")
    wait_until(lambda: INPUTS in kinds(source), "the viewer's inputs channel")
    (migrate_seamlessly if seamless else migrate)(source, destination)
    kerbside.wait_audit("session.migrated")
    source.kill()
    wait_until(lambda: INPUTS in kinds(destination), "the viewer's inputs channel")
    viewer.key("a")
    changed = destination.wait_drawn(BOX_B)
    viewer.wait_screen(lambda screen: screen.find(changed), "the guest's screen after a key")


def test_the_new_hypervisor_wants_another_ticket(lab):
    """The session ends, and says why; nobody is sent past kerbside."""
    source = lab.qemu(name="first")
    destination = lab.qemu(name="second", incoming=True, ticket="another")
    kerbside = lab.kerbside(source)
    client = lab.client_through(kerbside, source.endpoint.uuid)
    client.wait_picture()
    (session,) = kerbside.sessions()

    def refused():
        failed = kerbside.wait_audit("session.migration_failed", session_id=session["id"])
        assert failed["reason"] == "server_ticket"

    migrate(source, destination, before=refused)
    ended = kerbside.wait_audit("session.ended", session_id=session["id"])
    assert ended["reason"] == "server_ticket"
