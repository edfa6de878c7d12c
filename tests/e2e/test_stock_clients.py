"""What people really use: remote-viewer and spicy, with the file that kerbside's API gives."""

import configparser
import re

import pytest
from lab import spicy_screenshot, wait_until
from lab.hypervisor import Endpoint
from lab.qemu import BOX_B


def read_vv(path) -> dict:
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",))
    parser.read_string(path.read_text())
    assert parser.sections() == ["virt-viewer"]
    return dict(parser["virt-viewer"])


def vv_endpoint(path) -> Endpoint:
    """The same way in for a program that cannot read a .vv file."""
    vv = read_vv(path)
    return Endpoint(name="kerbside", host=vv["host"], tls_port=int(vv["tls-port"]),
                    ticket=vv["password"], ca_pem=vv["ca"].replace("\\n", "\n"))


def test_spicy_screenshot_is_the_same_with_and_without_kerbside(lab, tmp_path):
    qemu = lab.qemu()
    kerbside = lab.kerbside(qemu)
    truth = qemu.screen()
    wait_until(lambda: spicy_screenshot(tmp_path, qemu.endpoint) == truth, "the direct picture")

    def through():
        vv = kerbside.vv("lab", qemu.endpoint.uuid)
        return spicy_screenshot(tmp_path, vv_endpoint(vv)) == truth

    wait_until(through, "the same picture through kerbside")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_remote_viewer_opens_the_file(lab, tls):
    qemu = lab.qemu(tls=tls, plain=not tls)
    kerbside = lab.kerbside(qemu)
    vv = kerbside.vv("lab", qemu.endpoint.uuid)
    viewer = lab.viewer(vv)
    viewer.wait_screen(lambda screen: screen.find(qemu.screen()), "the guest's screen")
    wait_until(lambda: not vv.exists(), "remote-viewer deletes the file with the token")

    viewer.key("a")
    changed = qemu.wait_drawn(BOX_B)
    viewer.wait_screen(lambda screen: screen.find(changed), "the guest's screen after a key")
    (session,) = kerbside.sessions()
    assert session["uuid"] == qemu.endpoint.uuid
    viewer.stop()
    kerbside.wait_sessions(0)


def test_remote_viewer_cannot_use_a_file_twice(lab):
    qemu = lab.qemu()
    kerbside = lab.kerbside(qemu)
    vv = kerbside.vv("lab", qemu.endpoint.uuid)
    copy = vv.with_name("copy.vv")
    copy.write_bytes(vv.read_bytes())
    first = lab.viewer(vv)
    first.wait_screen(lambda screen: screen.find(qemu.screen()), "the guest's screen")
    lab.viewer(copy)
    kerbside.wait_audit("grant.denied", reason="token_used")
    first.key("a")
    changed = qemu.wait_drawn(BOX_B)
    first.wait_screen(lambda screen: screen.find(changed), "the first viewer goes on")


def test_file_says_all_a_client_needs(lab):
    qemu = lab.qemu()
    kerbside = lab.kerbside(qemu)
    vv = read_vv(kerbside.vv("lab", qemu.endpoint.uuid))
    assert vv["type"] == "spice"
    assert vv["host"] == "127.0.0.1"
    assert vv["tls-port"] == str(kerbside.port)
    assert "port" not in vv and "proxy" not in vv
    assert vv["delete-this-file"] == "1"
    assert re.fullmatch(r"[A-Za-z0-9_-]{43,59}", vv["password"])
    assert vv["ca"].startswith("-----BEGIN CERTIFICATE-----\\n")
    assert vv["host-subject"]
    assert qemu.endpoint.ticket not in vv.values()
