"""The lab's own parts, without kerbside: what the other tests build on is real."""

import pytest
from lab import LabError, spicy_screenshot, wait_until
from common.pki import Authority
from lab.qemu import BOX_A, BOX_B, DESKTOP


def test_guest_draws_and_answers(lab):
    qemu = lab.qemu()
    before = qemu.screen()
    assert before.count(DESKTOP) > 50_000
    assert before.count(BOX_A) == 120 * 120
    client = lab.client(endpoint=qemu.endpoint)
    client.wait_picture()
    client.wait_image(before)
    client.key()
    after = qemu.wait_drawn(BOX_B)
    client.wait_image(after)
    assert after != before


def test_screenshot_of_the_stock_tool_is_the_screen(lab, tmp_path):
    qemu = lab.qemu(tls=True)
    expected = qemu.screen()
    wait_until(lambda: spicy_screenshot(tmp_path, qemu.endpoint) == expected, "the same picture")


def test_wrong_password_is_refused(lab, tmp_path):
    server = lab.spice_server()
    client = lab.client(endpoint=server.endpoint, password="wrong")
    assert client.wait_over()[-1]["state"] == "error_auth"
    with pytest.raises(LabError):
        spicy_screenshot(tmp_path, server.endpoint, password="wrong")


def test_a_stranger_is_not_trusted(lab):
    server = lab.spice_server(tls=True, plain=False)
    client = lab.client(endpoint=server.endpoint, ca_pem=Authority().pem)
    assert client.wait_over()[-1]["state"] == "error_tls"


def test_subject_is_compared_part_by_part(lab):
    server = lab.spice_server(tls=True, plain=False)
    right = lab.client(endpoint=server.endpoint, host_subject=server.endpoint.subject)
    right.wait_picture()
    right.disconnect()
    wrong = lab.client(endpoint=server.endpoint, host_subject="CN=hypervisor.lab")
    assert wrong.wait_over()[-1]["state"] == "error_tls"


def test_programs_end_with_the_lab(lab):
    server = lab.spice_server()
    client = lab.client(endpoint=server.endpoint)
    client.wait_picture()
    lab.stop()
    assert not server.alive and not client.alive


def test_xspice_shows_its_root_window(lab, tmp_path):
    xspice = lab.xspice()
    wait_until(lambda: spicy_screenshot(tmp_path, xspice.endpoint).count(xspice.COLOUR) > 100_000,
               "the root window's colour")


def test_remote_viewer_shows_the_guest_and_types(lab, tmp_path):
    qemu = lab.qemu()
    vv = tmp_path / "direct.vv"
    vv.write_text("[virt-viewer]\ntype=spice\nhost=127.0.0.1\n"
                  f"port={qemu.endpoint.port}\npassword={qemu.endpoint.ticket}\n")
    viewer = lab.viewer(vv)
    expected = qemu.screen()
    viewer.wait_screen(lambda screen: screen.find(expected), "the guest's screen")
    viewer.key("a")
    expected = qemu.wait_drawn(BOX_B)
    viewer.wait_screen(lambda screen: screen.find(expected), "the guest's screen after a key")


def test_wire_can_be_pulled(lab):
    wire = lab.cut_off()
    server = lab.spice_server(enter=wire.enter(wire.inner), address=wire.SERVER)
    client = lab.client(endpoint=server.endpoint, enter=wire.enter(wire.outer))
    client.wait_picture()
    client.wait_channel("inputs")
    wire.pull()
    client.key()
    client.key()
    since = server.position()
    assert server.stats()["keys"] == 0
    assert client.alive
    assert server.find("channel", since=since, state="disconnected") is None
