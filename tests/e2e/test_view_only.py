"""A person who may look and not touch, with real keyboards and pointers at both ends."""

import re

from lab import wait_until
from lab.qemu import BOX_A, BOX_B

LOOK = {"policies": {"default": {"view_only": True}}}


def test_keys_have_no_effect_and_the_screen_goes_on(lab):
    qemu = lab.qemu(serial=True)
    kerbside = lab.kerbside(qemu, settings=LOOK)
    client = lab.client_through(kerbside, qemu.endpoint.uuid)
    client.wait_picture()
    client.wait_image(qemu.wait_drawn(BOX_A))

    client.key()
    row = kerbside.wait_audit("policy.blocked", reason="view_only")
    assert row["channel"] == "inputs:0"
    # Every key turns the guest's box over: with the client's this would be the second.
    qemu.qmp.run("send-key", keys=[{"type": "qcode", "data": "a"}])
    client.wait_image(qemu.wait_drawn(BOX_B))
    client.key()
    client.command("mouse move 40 25")
    qemu.qmp.run("send-key", keys=[{"type": "qcode", "data": "a"}])
    client.wait_image(qemu.wait_drawn(BOX_A))

    # The serial console is to be read, not typed on.
    client.wait_event("port", name="org.qemu.console.serial.0", opened=True)
    client.write_port("org.qemu.console.serial.0", "root")
    kerbside.wait_audit("policy.blocked", reason="view_only", channel="port:0")
    assert "root" not in client.port_text("org.qemu.console.serial.0")
    (session,) = kerbside.sessions()
    assert {c["channel"] for c in session["channels"]} >= {"main:0", "display:0", "inputs:0"}
    client.disconnect()


def test_a_pointer_that_goes_nowhere_does_not_stall(lab):
    """spice-gtk has at most eight positions under way until they are acknowledged."""
    server = lab.spice_server()
    kerbside = lab.kerbside(server, settings=LOOK)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    client.wait_event("mouse_mode", mode="client")
    client.wait_channel("inputs")
    for step in range(300):
        client.command(f"mouse position {step} {step} 0")
    client.disconnect()
    kerbside.wait_audit("session.ended")

    def total():
        rows = [re.match(r"in all (\d+) from", row["detail"])
                for row in kerbside.audit("policy.blocked", channel="inputs:0")]
        return next((int(found[1]) for found in rows if found), None)

    wait_until(total, "the sum of what was blocked", explain=lambda: str(kerbside.audit()))
    assert total() > 100
    assert server.find("pointer", x=lambda x: x > 0) is None
