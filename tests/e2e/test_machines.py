"""Machines with a SPICE server of their own, which is Debian's Xspice: listed in a file, and announced by
`kerbside register`."""

import json

from lab import wait_until


def shows(lab, kerbside, source: str, uuid: str, colour: int):
    """A client sees the machine's screen and presses a key."""
    client = lab.client(vv=kerbside.vv(source, uuid))
    client.wait_picture()
    wait_until(lambda: client.screenshot().count(colour) > 100_000, "the machine's screen")
    client.wait_channel("inputs")
    client.key()
    (session,) = kerbside.wait_sessions(1)
    assert session["uuid"] == uuid
    return client


def test_in_a_file(lab, tmp_path):
    """The file comes when kerbside runs already."""
    folder = tmp_path / "desks.d"
    folder.mkdir()
    kerbside = lab.kerbside_of([{"source": "desks", "type": "static", "path": str(folder),
                                 "probe": "500ms", "tls": "plain"}])
    machine = lab.xspice()
    (folder / "new").write_text(json.dumps(machine.endpoint.console()))
    (folder / "new").rename(folder / "xspice.yaml")
    uuid = machine.endpoint.uuid
    wait_until(lambda: [c["uuid"] for c in kerbside.items("/api/v1/consoles")
                        if c["state"] == "up"] == [uuid], "it is listed, and up",
               explain=kerbside.log)
    shows(lab, kerbside, "desks", uuid, machine.COLOUR)


def test_registered(lab):
    """It comes by itself, with a ticket that nobody was told, and goes with its agent."""
    kerbside = lab.kerbside_of([{"source": "desks", "type": "registered", "tls": "plain"}])
    machine = lab.registered_xspice(kerbside, "desks", "lab-3")
    wait_until(lambda: [c["uuid"] for c in kerbside.items("/api/v1/consoles")] == ["lab-3"],
               "it is registered", explain=machine.process.log)
    shows(lab, kerbside, "desks", "lab-3", machine.COLOUR).disconnect()
    assert machine.end() == 0
    assert kerbside.items("/api/v1/consoles") == []
