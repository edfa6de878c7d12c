"""Clipboard, file transfer and folder sharing between a real spice-gtk client and an agent that a
script speaks, behind a real libspice-server."""

import hashlib
import os
import struct

# vd_agent.h
REPLY, CLIPBOARD, CAPS, GRAB, REQUEST, RELEASE, START, STATUS, DATA = 3, 4, 6, 7, 8, 9, 10, 11, 12
TEXT = 1
CAN_SEND, SUCCESS = 0, 3
# REPLY, BY_DEMAND, SELECTION, GRAB_SERIAL
GUEST_CAPS = 1 << 2 | 1 << 5 | 1 << 6 | 1 << 17


def u32(*numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def start(road, server, tmp_path, **options):
    """A client whose agent has introduced itself."""
    client = road.client(server, **options)
    client.wait_event("agent", connected=True)
    server.wait_event("agent_message", type=CAPS)
    since = server.position()
    server.say(CAPS, u32(1, GUEST_CAPS))
    # It asked for the client's in turn: by then the client has its.
    server.wait_event("agent_message", type=CAPS, since=since)
    return client


def test_clipboard_both_ways(road, lab, tmp_path):
    server = lab.spice_server(agent=True)
    client = start(road, server, tmp_path)

    client.command("clipboard-offer 0 1 from the client")
    server.wait_event("agent_message", type=GRAB)
    assert server.heard(GRAB) == [u32(0, 0, TEXT)]
    server.say(REQUEST, u32(0, TEXT))
    client.wait_event("clipboard_request", selection=0, type=TEXT)
    server.wait_event("agent_message", type=CLIPBOARD)
    assert server.heard(CLIPBOARD) == [u32(0, TEXT) + b"from the client"]

    server.say(GRAB, u32(0, 1, TEXT))
    client.wait_event("clipboard_grab", selection=0, types=[TEXT])
    client.command("clipboard-ask 0 1")
    server.wait_event("agent_message", type=REQUEST)
    big = b"from the guest " * 1000
    server.say(CLIPBOARD, u32(0, TEXT) + big)
    got = client.wait_event("clipboard", type=TEXT)
    assert got["size"] == len(big)
    client.disconnect()


def test_file_to_the_guest(road, lab, tmp_path):
    server = lab.spice_server(agent=True)
    client = start(road, server, tmp_path)
    content = os.urandom(50_000)
    (tmp_path / "a file.bin").write_bytes(content)

    client.command(f"send-file {tmp_path}/a file.bin")
    server.wait_event("agent_message", type=START)
    said = server.heard(START)[0]
    assert b"size=50000" in said
    server.say(STATUS, said[:4] + u32(CAN_SEND))
    data = server.wait_event("agent_message", type=DATA)
    assert data["size"] == 12 + len(content)
    assert data["sha256"] == hashlib.sha256(
        said[:4] + struct.pack("<Q", len(content)) + content).hexdigest()
    server.say(STATUS, said[:4] + u32(SUCCESS))
    assert client.wait_event("file_sent")["sent"]
    client.disconnect()


def test_folder_written_to(road, lab, tmp_path):
    server = lab.spice_server(webdav=True)
    shared = tmp_path / "shared"
    shared.mkdir()
    client = road.client(server, shared_dir=shared)
    client.wait_event("port", name="org.spice-space.webdav.0", opened=True)
    assert server.webdav_get("PUT /new.txt")["status"] == 201
    assert (shared / "new.txt").read_bytes() == b"bytes"
    assert server.webdav_get("/new.txt")["status"] == 200
    client.disconnect()
