"""What a policy says of clipboard, files, folders and USB, against real peers: what is forbidden
does not get across, what is not does, and the session lives."""

import hashlib
import os
import struct

import pytest
from lab import wait_until
from test_agent import (CAN_SEND, CAPS, CLIPBOARD, DATA, GRAB, GUEST_CAPS, REQUEST, START, STATUS,
                        SUCCESS, TEXT, u32)


def start(lab, server, **policy):
    """A client through a kerbside with that policy, whose agent has introduced itself."""
    kerbside = lab.kerbside(server, settings={"policies": {"default": policy}})
    client = lab.client_through(kerbside, server.endpoint.uuid)
    client.wait_event("agent", connected=True)
    server.wait_event("agent_message", type=CAPS)
    since = server.position()
    server.say(CAPS, u32(1, GUEST_CAPS))
    server.wait_event("agent_message", type=CAPS, since=since)
    return kerbside, client


def paste(server, client, text, serial):
    """From the client to the guest."""
    since = server.position()
    client.command(f"clipboard-offer 0 1 {text}")
    server.wait_event("agent_message", type=GRAB, since=since)
    assert server.heard(GRAB, since) == [u32(0, serial, TEXT)]
    server.say(REQUEST, u32(0, TEXT))
    server.wait_event("agent_message", type=CLIPBOARD, since=since)
    assert server.heard(CLIPBOARD, since) == [u32(0, TEXT) + text.encode()]


def copy(server, client, text, serial):
    """From the guest to the client."""
    since = client.position()
    server.say(GRAB, u32(0, serial, TEXT))
    client.wait_event("clipboard_grab", since=since)
    client.command("clipboard-ask 0 1")
    server.wait_event("agent_message", type=REQUEST)
    server.say(CLIPBOARD, u32(0, TEXT) + text.encode())
    assert client.wait_event("clipboard", since=since)["text"] == text


def test_paste_into_the_desktop_never_out_of_it(lab):
    server = lab.spice_server(agent=True)
    kerbside, client = start(lab, server, clipboard={"out": False})
    server.say(GRAB, u32(0, 0, TEXT))
    kerbside.wait_audit("policy.blocked", reason="clipboard.out")
    client.command("clipboard-ask 0 1")  # for what it was never offered
    assert client.wait_event("clipboard")["type"] == 0  # there is nothing, and it knows at once
    server.say(CLIPBOARD, u32(0, TEXT) + b"secret")
    paste(server, client, "into the desktop", serial=1)
    assert client.find("clipboard_grab") is None
    assert [e["size"] for e in client.find_all("clipboard")] == [0]
    assert not server.heard(REQUEST)
    client.disconnect()


def test_copy_out_of_the_desktop_never_into_it(lab):
    server = lab.spice_server(agent=True)
    kerbside, client = start(lab, server, clipboard={"in": False})
    client.command("clipboard-offer 0 1 secret")
    kerbside.wait_audit("policy.blocked", reason="clipboard.in")
    for _ in range(30):  # more often than the server has tokens, by a client that says nothing
        server.say(REQUEST, u32(0, TEXT))
    wait_until(lambda: server.heard(CLIPBOARD) == [u32(0, 0)] * 30, "an answer to each question",
               explain=lambda: str(server.heard(CLIPBOARD)))
    copy(server, client, "out of the desktop", serial=0)
    assert client.find("clipboard_request") is None
    client.disconnect()


def test_nothing_either_way(lab):
    server = lab.spice_server(agent=True)
    _, client = start(lab, server, clipboard={"in": False, "out": False})
    # Neither side hears of the other's clipboard at all.
    for caps in server.heard(CAPS):
        assert not struct.unpack("<2I", caps[:8])[1] & GUEST_CAPS & ~(1 << 2)
    client.disconnect()


def test_files_by_name(lab, tmp_path):
    server = lab.spice_server(agent=True)
    kerbside, client = start(lab, server, files={"names": ["*.txt"], "max_size": "1MB"})
    content = os.urandom(100_000)
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "a.exe").write_bytes(content)
    (tmp_path / "big.txt").write_bytes(bytes(2_000_000))

    for name, rule in (("a.exe", "files.names"), ("big.txt", "files.max_size")):
        since = client.position()
        client.command(f"send-file {tmp_path}/{name}")
        assert not client.wait_event("file_sent", since=since)["sent"]
        kerbside.wait_audit("policy.blocked", reason=rule)
    assert not server.heard(START)

    since = client.position()
    client.command(f"send-file {tmp_path}/a.txt")
    server.wait_event("agent_message", type=START)
    (said,) = server.heard(START)
    server.say(STATUS, said[:4] + u32(CAN_SEND))
    wait_until(lambda: sum(e["size"] - 12 for e in server.find_all("agent_message", type=DATA)) ==
               len(content), "the whole file")
    server.say(STATUS, said[:4] + u32(SUCCESS))
    assert client.wait_event("file_sent", since=since)["sent"]
    row = kerbside.wait_audit("file.moved")
    assert "a.txt" in row["detail"] and hashlib.sha256(content).hexdigest() in row["detail"]
    client.disconnect()


def test_no_files(lab, tmp_path):
    server = lab.spice_server(agent=True)
    _, client = start(lab, server, files={"in": False})
    (tmp_path / "a.txt").write_bytes(b"text")
    client.command(f"send-file {tmp_path}/a.txt")
    assert not client.wait_event("file_sent")["sent"]
    paste(server, client, "still works", serial=0)
    assert not server.heard(START)
    client.disconnect()


def test_a_folder_to_read(lab, tmp_path):
    server = lab.spice_server(webdav=True)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file.txt").write_bytes(b"to be read")
    kerbside = lab.kerbside(server,
                            settings={"policies": {"default": {"folders": "read_only"}}})
    client = lab.client_through(kerbside, server.endpoint.uuid, shared_dir=shared)
    client.wait_event("port", name="org.spice-space.webdav.0", opened=True)
    assert server.webdav_get("/file.txt")["text"] == "to be read"
    for method in ("PUT", "DELETE", "MKCOL", "MOVE", "LOCK"):
        assert server.webdav_get(f"{method} /file.txt")["status"] == 403
    assert server.webdav_get("PROPFIND /")["status"] != 403
    assert server.webdav_get("/file.txt")["text"] == "to be read"
    assert [p.name for p in shared.iterdir()] == ["file.txt"]
    kerbside.wait_audit("policy.blocked", reason="folders")
    client.disconnect()


@pytest.mark.parametrize("filters, plugged", [("0x08,-1,-1,-1,1", True),
                                              ("0x03,-1,-1,-1,1|-1,-1,-1,-1,0", False)])
def test_usb_by_class(lab, tmp_path, filters, plugged):
    """A CD drive, which is storage (class 8), that the client emulates."""
    disc = tmp_path / "disc.iso"
    disc.write_bytes(bytes(2048 * 400))
    qemu = lab.qemu(usb=1)
    kerbside = lab.kerbside(qemu, settings={"policies": {"default": {"usb": {"filter": filters}}}})
    client = lab.client_through(kerbside, qemu.endpoint.uuid)
    client.wait_channel("usbredir")
    client.command(f"usb-cd {disc}")
    kerbside.wait_audit("usb.plugged" if plugged else "usb.refused")
    if plugged:
        wait_until(lambda: "480 Mb/s" in qemu.info("usb"), "the guest sees the device",
                   explain=lambda: qemu.info("usb"))
    else:
        kerbside.wait_audit("policy.blocked", reason="usb.filter")
        assert "480 Mb/s" not in qemu.info("usb")
    assert ("usbredir", 0) in client.opened()
    client.key()
    assert not client.find_all("channel", type="usbredir", state="closed")
    client.disconnect()
