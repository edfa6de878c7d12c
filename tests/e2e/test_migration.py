"""A desktop that moves to another hypervisor must not take the client along past kerbside."""

import re

import pytest
from lab import wait_until


def connected_to(trace) -> set[tuple[str, int]]:
    """Every TCP address the client has tried to connect to."""
    pattern = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([\d.]+)"\)')
    found = set()
    for line in trace.read_text(errors="replace").splitlines():
        for port, host in pattern.findall(line):
            found.add((host, int(port)))
    return found


def migrate(source, destination):
    """What a cloud does: tell the source's clients where to go, then move."""
    target = destination.scratch / "migration.sock"
    destination.qmp.run("migrate-incoming", uri=f"unix:{target}")
    there = destination.endpoint
    tls = {"tls-port": there.tls_port} if there.tls_port else {}
    source.qmp.run("client_migrate_info", protocol="spice", hostname="127.0.0.1", port=there.port,
                   **tls)
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


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_client_stays_with_kerbside(lab, tmp_path, tls):
    options = {"tls": True, **lab.x509()} if tls else {}
    source = lab.qemu(name="first", **options)
    destination = lab.qemu(name="second", incoming=True, **options)
    kerbside = lab.kerbside(source)
    trace = tmp_path / "connects"
    client = lab.client_through(kerbside, source.endpoint.uuid, trace=trace)
    client.wait_picture()
    (session,) = kerbside.sessions()
    migrate(source, destination)

    # The session continues on kerbside, or has ended with a reason that says what happened.
    def settled():
        live = [s["id"] for s in kerbside.sessions()]
        ended = [e for e in kerbside.audit("session.ended") if e["session_id"] == session["id"]]
        return ended or (session["id"] in live and client.find("primary"))

    wait_until(settled, "the session's fate is known", explain=kerbside.log)
    source.kill()  # as the cloud does after a migration
    ended = kerbside.wait_audit("session.ended", session_id=session["id"])
    assert ended["reason"] in ("migrated", "server_closed", "server_lost")
    assert connected_to(trace) == {("127.0.0.1", kerbside.port)}
    assert not destination.qmp.run("query-spice").get("channels")
