"""Every channel at once in one session, straight and through kerbside, on two real servers."""

import hashlib
import os

from lab import wait_until
from lab.qemu import BOX_B

# What a client must have open for QEMU's full guest.
FULL_QEMU = {
    ("main", 0), ("display", 0), ("display", 1), ("inputs", 0), ("cursor", 0), ("cursor", 1),
    ("playback", 0), ("record", 0), ("usbredir", 0), ("usbredir", 1), ("usbredir", 2),
    ("smartcard", 0), ("port", 0), ("webdav", 0),
}
FULL_SERVER = {
    ("main", 0), ("display", 0), ("display", 1), ("inputs", 0), ("cursor", 0), ("cursor", 1),
    ("playback", 0), ("record", 0), ("smartcard", 0), ("port", 0), ("port", 1), ("webdav", 0),
}
SERIAL = "org.qemu.console.serial.0"
# What precedes the first message on a channel's way to the client, at most: the link reply with
# its header, some capability words and the result. spice-gtk counts it, kerbside's relay does not.
LINK_BYTES_MAX = 400


def wait_opened(client, expected):
    wait_until(lambda: client.opened() >= expected, "all channels are open",
               explain=lambda: f"missing: {expected - client.opened()}")
    assert client.opened() == expected


def check_counters(kerbside, client):
    """kerbside's counters of a session against the client's own, channel by channel."""

    def equal():
        (session,) = kerbside.sessions()
        ours = {tuple(c["channel"].split(":")): c for c in session["channels"]}
        theirs = {(kind, str(number)): c for (kind, number), c in client.stats().items()}
        assert set(ours) == set(theirs)
        wrong = []
        for key, channel in theirs.items():
            # The sound goes on between the two questions; everything else must agree.
            missing = channel["read_bytes"] - ours[key]["bytes_from_server"]
            if key[0] != "playback" and not 0 <= missing <= LINK_BYTES_MAX:
                wrong.append((key, channel["read_bytes"], ours[key]["bytes_from_server"]))
        return not wrong

    wait_until(equal, "kerbside's and the client's counters agree")


def test_everything_of_qemu(road, lab, tmp_path):
    qemu = lab.qemu(displays=2, audio="tone", usb=3, smartcard=True, serial=True, webdav=True,
                    agent=True)
    image = tmp_path / "disc.iso"
    image.write_bytes(bytes(2048 * 512))
    client = road.client(qemu, smartcard=lab.smartcard(), shared_dir=tmp_path)
    wait_opened(client, FULL_QEMU)
    client.wait_picture()
    client.wait_image(qemu.screen())

    # Keys and the mouse change the guest's picture, and the change arrives.
    client.key()
    client.wait_image(qemu.wait_drawn(BOX_B))
    still = qemu.screen()
    client.command("mouse move 40 25")
    wait_until(lambda: qemu.screen() != still, "the guest moves its pointer")
    wait_until(lambda: client.screenshot() == qemu.screen(), "the moved pointer at the client")

    # The guest beeps.
    client.wait_event("playback_start")
    client.wait_event("playback_loud")

    # The serial console, both ways.
    client.wait_event("port", name=SERIAL, opened=True)
    client.write_port(SERIAL, "\\r")
    client.wait_port_text(SERIAL, "kerbside guest login: ")
    client.write_port(SERIAL, "operator")
    client.wait_port_text(SERIAL, "login: operator")

    # A USB device that the client emulates is plugged into the guest.
    assert "480 Mb/s" not in qemu.info("usb")
    client.command(f"usb-cd {image}")
    client.wait_event("usb_connected")
    wait_until(lambda: "480 Mb/s" in qemu.info("usb"), "the guest sees the USB device",
               explain=lambda: qemu.info("usb"))

    client.wait_event("smartcard_inserted")
    assert {c["channel-type"] for c in qemu.channels()} >= {1, 2, 3, 4, 5, 6, 8, 9}
    if road.through_kerbside:
        check_counters(road.kerbside, client)
    client.disconnect()


def test_everything_of_libspice_server(road, lab, tmp_path):
    server = lab.spice_server(displays=2, playback=True, record=True, agent=True, smartcard=True,
                              webdav=True, echo_ports=["org.test.echo.0", "org.test.echo.1"])
    shared = tmp_path / "shared"
    shared.mkdir()
    content = os.urandom(300_000)
    (shared / "file.bin").write_bytes(content)
    client = road.client(server, smartcard=lab.smartcard(), shared_dir=shared)
    wait_opened(client, FULL_SERVER)

    # Each display has its own picture; a key changes both.
    client.wait_picture(0)
    client.wait_picture(1)
    client.wait_colour(2, 2, 0x203060, display=0)
    client.wait_colour(2, 2, 0x502030, display=1)
    client.key()
    server.wait_event("key", scancode=0x1E)
    client.wait_colour(320, 240, 0xFF0000, display=0)
    client.wait_colour(320, 240, 0xFF0000, display=1)

    # Sound both ways.
    client.wait_event("playback_loud")
    client.wait_event("record_start")
    server.wait_event("record_loud")

    # Ports: what is written comes back, on the port it was written to.
    for number in (0, 1):
        client.wait_event("port", name=f"org.test.echo.{number}", opened=True)
        client.write_port(f"org.test.echo.{number}", f"text for {number}")
        client.wait_port_text(f"org.test.echo.{number}", f"text for {number}")
    assert server.stats()["port_bytes"] == {"org.test.echo.0": 10, "org.test.echo.1": 10}

    # A file of the client's folder, read by the guest's side.
    client.wait_event("port", name="org.spice-space.webdav.0", opened=True)
    answer = server.webdav_get("/file.bin")
    assert answer["status"] == 200
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    assert server.webdav_get("/absent")["status"] == 404

    # The card's answer to reset (5) follows its reader (3), and the agent hears the client.
    server.wait_event("smartcard", type=3)
    server.wait_event("smartcard", type=5)
    server.wait_event("agent_data")
    client.wait_event("agent", connected=True)
    if road.through_kerbside:
        check_counters(road.kerbside, client)
    client.disconnect()


def test_pointer_positions_arrive(road, lab):
    server = lab.spice_server()
    client = road.client(server)
    client.wait_event("mouse_mode", mode="client")
    client.wait_channel("inputs")
    for x, y in ((10, 20), (333, 222), (639, 479)):
        client.command(f"mouse position {x} {y} 0")
        server.wait_event("pointer", x=x, y=y)
    client.command("mouse click 1")
    server.wait_event("pointer", buttons=lambda b: b != 0)


def test_a_thousand_motions_do_not_stall_the_pointer(road, lab):
    """spice-gtk has at most eight positions under way until the server acknowledges them."""
    server = lab.spice_server()
    client = road.client(server)
    client.wait_event("mouse_mode", mode="client")
    client.wait_channel("inputs")
    for step in range(1000):
        client.send(f"mouse position {step % 640} {step % 480} 0")
    client.command("mouse position 77 88 0")
    server.wait_event("pointer", x=77, y=88)


def test_moving_pictures_do_not_delay_keys_for_ever(road, lab):
    """Full frames of noise as fast as they go: keys still arrive, and so does what they draw."""
    server = lab.spice_server(fps=25, compression="off")
    client = road.client(server)
    client.wait_picture()
    for _ in range(5):
        since = server.position()
        client.key()
        server.wait_event("key", since=since, scancode=0x1E)
    wait_until(lambda: client.stats()[("display", 0)]["invalidates"] > 30, "frames arrive")


def test_large_writes_to_a_port_come_back_whole(road, lab):
    server = lab.spice_server(echo_ports=["org.test.echo.0"])
    client = road.client(server)
    client.wait_event("port", name="org.test.echo.0", opened=True)
    block = "0123456789abcdef" * 4096
    for _ in range(16):
        client.write_port("org.test.echo.0", block)
    total = 16 * len(block)
    wait_until(lambda: client.stats()[("port", 0)]["payload_bytes"] >= total, "the whole echo",
               explain=lambda: str(client.stats()[("port", 0)]))
    assert client.stats()[("port", 0)]["payload_bytes"] == total
    assert server.stats()["port_bytes"]["org.test.echo.0"] == total
