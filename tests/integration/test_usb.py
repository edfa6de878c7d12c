"""USB devices that turn out to be something else than they looked like, by a usbredir channel whose
both ends are scripted (packets: usbredirproto.h 0.7)."""

import struct

import pytest
from session import Session
from spice import USBREDIR, message

POLICIES = {"default": {"usb": {"keyboards": False}}}

DATA = 101  # of the SPICE channel
HELLO, CONNECT, DISCONNECT, INTERFACES, ENDPOINTS, REJECT, ACK, CONTROL = 0, 1, 2, 4, 5, 22, 24, 100
# device versions, filter, disconnect_ack, packet sizes, ids of 64 bits
CAPS = 0x3e
PLAIN_HID, BOOT_KEYBOARD = (3, 0, 0), (3, 1, 1)
VOLUME = bytes.fromhex("050c0901a10109e909eac0")
KEYS = bytes.fromhex("05010906a101050719e029e7")


def packet(kind: int, body: bytes = b"", number=0) -> bytes:
    head = struct.pack("<III", kind, len(body), number)
    return message(DATA, head + (b"" if kind == HELLO else bytes(4)) + body)


def hear(wire) -> tuple[int, bytes]:
    """The next packet; kerbside cuts messages anew, so one may be in several."""
    def bytes_of(count):
        while len(wire.packets) < count:
            kind, body = wire.message()
            assert kind == DATA
            wire.packets += body
        taken, wire.packets = wire.packets[:count], wire.packets[count:]
        return taken

    kind, size = struct.unpack("<II", bytes_of(8))
    bytes_of(4 if kind == HELLO else 8)
    return kind, bytes_of(size)


@pytest.fixture
def usb(world):
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(USBREDIR)
        channel.session = session
        hello = packet(HELLO, b"test".ljust(64, b"\0") + struct.pack("<I", CAPS))
        for wire, other in ((channel.server, channel.client), (channel.client, channel.server)):
            wire.packets = other.packets = b""
            wire.send(hello)
            assert hear(other)[0] == HELLO
        yield channel
        session.main.exchange()


def plug(usb, *interfaces):
    table = [bytes(range(len(interfaces))), *map(bytes, zip(*interfaces, strict=True))]
    usb.client.send(
        packet(INTERFACES, struct.pack("<I", len(interfaces)) +
               b"".join(row.ljust(32, b"\0") for row in table)) +
        packet(ENDPOINTS, bytes(32 * 5)) +
        packet(CONNECT, struct.pack("<BBBBHHH", 2, 0, 0, 0, 0x1050, 0x0407, 0x0500)))


def ask_for_report(usb, interface=0):
    """As a guest's HID driver does before it takes a key."""
    question = struct.pack("<BBBBHHH", 0x80, 6, 0x81, 0, 0x2200, interface, 64)
    usb.server.send(packet(CONTROL, question, number=9))
    assert hear(usb.client) == (CONTROL, question)


def answer_report(usb, report: bytes):
    usb.client.send(packet(CONTROL, struct.pack("<BBBBHHH", 0x80, 6, 0x81, 0, 0x2200, 0,
                                                len(report)) + report, number=9))


def guest_sees_device(usb):
    assert [hear(usb.server)[0] for _ in range(3)] == [INTERFACES, ENDPOINTS, CONNECT]


def test_a_plain_hid_that_has_keys(world, usb):
    """It is taken from the guest before its driver knows of a key; the next device works."""
    plug(usb, PLAIN_HID, (8, 6, 0x50))
    guest_sees_device(usb)
    ask_for_report(usb)
    answer_report(usb, KEYS)
    assert hear(usb.server) == (DISCONNECT, b"")
    assert hear(usb.client) == (REJECT, b"")
    row = world.kerbside.wait_audit("policy.blocked", session_id=usb.session.id)
    assert row["reason"] == "usb.keyboards" and "03/00/00" in row["detail"]
    assert "keys in its reports" in row["detail"]
    world.kerbside.wait_audit("usb.unplugged", session_id=usb.session.id)
    usb.server.send(packet(ACK))
    usb.client.send(packet(DISCONNECT))
    assert hear(usb.client) == (ACK, b"")
    plug(usb, PLAIN_HID)
    guest_sees_device(usb)
    ask_for_report(usb)
    answer_report(usb, VOLUME)
    kind, body = hear(usb.server)
    assert kind == CONTROL and body[10:] == VOLUME


def test_a_keyboard_that_says_so(world, usb):
    """The guest never sees it."""
    plug(usb, PLAIN_HID, BOOT_KEYBOARD)
    assert hear(usb.client) == (REJECT, b"")
    row = world.kerbside.wait_audit("usb.refused", session_id=usb.session.id)
    assert "03/01/01" in row["detail"]
