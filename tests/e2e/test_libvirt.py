"""Desktops of a real libvirtd: a stock client shows them, on a port with a password and on none."""

import pytest
from common.libvirtd import Libvirtd
from common.process import wait_until
from lab.paths import Paths
from lab.qemu import BOX_A, BOX_B, BOX_PIXEL


@pytest.fixture
def libvirtd(lab, tmp_path):
    x509 = lab.authority.x509_dir(tmp_path / "x509", "O=Lab,CN=hv1.example")
    held = Libvirtd(tmp_path / "libvirtd.log", x509=x509)
    yield held
    held.stop()


def test_desktops(lab, libvirtd):
    """TLS with a password of kerbside's, then a socket that libvirtd hands over."""
    kerbside = lab.kerbside_of([{"source": "host", "type": "libvirt", "uri": libvirtd.uri,
                                 "ca_cert": lab.authority.pem, "refresh": "0"}])
    image = Paths.part("guest.img")
    for options in ({"tls": True}, {"listen": "none", "ticket": None}):
        desk = libvirtd.domain("desk", image=image, **options)
        wait_until(lambda: desk.uuid in [c["uuid"] for c in kerbside.items("/api/v1/consoles")],
                   "libvirt told of it", explain=kerbside.log)
        client = lab.client(vv=kerbside.vv("host", desk.uuid))
        client.wait_picture()
        client.wait_colour(*BOX_PIXEL, BOX_A)
        client.key()
        client.wait_colour(*BOX_PIXEL, BOX_B)
        (session,) = kerbside.wait_sessions(1)
        assert session["uuid"] == desk.uuid
        desk.destroy()
        kerbside.wait_sessions(0)
