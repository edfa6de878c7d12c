"""Other real servers than QEMU: Xspice, and libspice-server with other pictures."""

import pytest
from lab import spicy_screenshot, wait_until
from test_stock_clients import vv_endpoint


def test_xspice(lab, tmp_path):
    xspice = lab.xspice()
    kerbside = lab.kerbside(xspice)

    def shown():
        vv = kerbside.vv("lab", xspice.endpoint.uuid)
        picture = spicy_screenshot(tmp_path, vv_endpoint(vv))
        return picture.count(xspice.COLOUR) > 100_000

    wait_until(shown, "Xspice's screen through kerbside")


def test_xspice_keeps_a_session(lab):
    xspice = lab.xspice()
    kerbside = lab.kerbside(xspice)
    client = lab.client_through(kerbside, xspice.endpoint.uuid)
    client.wait_picture()
    wait_until(lambda: client.screenshot().count(xspice.COLOUR) > 100_000, "Xspice's screen")
    client.wait_channel("inputs")
    client.key()
    (session,) = kerbside.sessions()
    assert session["uuid"] == xspice.endpoint.uuid


@pytest.mark.parametrize("compression", ["off", "quic", "glz", "lz", "lz4"])
def test_every_compression(lab, compression):
    """Pictures that depend on one another (a dictionary, a cache) survive the relay: nothing is
    dropped, doubled or reordered."""
    server = lab.spice_server(fps=10, compression=compression)
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    client.wait_picture()
    wait_until(lambda: client.stats()[("display", 0)]["invalidates"] > 20, "frames arrive")
    assert client.find("channel", state=lambda s: s.startswith("error_")) is None
    client.disconnect()


def test_a_cache_that_two_screens_share(lab):
    """A client's screens have one cache. When it is full, a server tells one screen's channel what to
    forget, and what of the other's to wait for before, both in one message."""
    server = lab.spice_server(fps=50, cached=True, displays=2, compression="off")
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    client.wait_picture(0)
    client.wait_picture(1)
    # Well above what spice-gtk's cache holds of such frames.
    for display in (0, 1):
        wait_until(lambda n=display: client.stats()[("display", n)]["invalidates"] > 150,
                   "frames arrive")
    assert not kerbside.audit("policy.blocked")
    client.disconnect()


def test_video_streams(lab):
    server = lab.spice_server(fps=25, streams=True, size=(320, 240))
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    client.wait_picture()
    wait_until(lambda: client.stats()[("display", 0)]["invalidates"] > 60, "frames arrive")
    assert not kerbside.audit("policy.blocked")
    client.disconnect()
