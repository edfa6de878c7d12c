"""Every way to reach a hypervisor, and every way it can be the wrong one."""

import pytest
from lab import CLIENT_LEFT
from lab.lab import SUBJECT
from lab.net import Port
from common.pki import Authority
from lab.qemu import BOX_B

# How a hypervisor can listen, and what the source says about it.
FORMS = {
    "plain with ticket": ({}, {"tls": "plain"}),
    "plain without ticketing": ({"ticket": None}, {"tls": "plain"}),
    "tls port beside a plain one": ({"tls": True}, {"tls": "require"}),
    "tls port alone": ({"tls": True, "plain": False}, {"tls": "require"}),
    "tls preferred": ({"tls": True}, {"tls": "prefer"}),
    "tls preferred, none there": ({}, {"tls": "prefer"}),
    "some channels by tls only": (
        {"tls": True, "secure_channels": ["main", "inputs"]},
        {"tls": "prefer"},
    ),
    "tls as the source does it by itself": ({"tls": True}, {}),
    "unix socket": ({"unix": True}, {}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["qemu", "spice_server"])
def test_reaches(lab, kind, form):
    options, source = FORMS[form]
    server = getattr(lab, kind)(**options)
    kerbside = lab.kerbside(server, **source)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    client.wait_picture()
    client.wait_channel("inputs")
    if kind == "qemu":
        client.wait_image(server.screen())
        client.key()
        client.wait_image(server.wait_drawn(BOX_B))
    else:
        client.key()
        client.wait_colour(320, 240, 0xFF0000)
    (session,) = kerbside.sessions()
    assert session["uuid"] == server.endpoint.uuid
    client.disconnect()
    kerbside.wait_sessions(0)
    ended = kerbside.wait_audit("session.ended", console=server.endpoint.uuid)
    assert ended["reason"] in CLIENT_LEFT


@pytest.mark.parametrize("address", ["localhost", "::1", "127.0.0.1"])
def test_hypervisor_by_name_and_address(lab, address):
    server = lab.spice_server(address="::1" if address == "::1" else "127.0.0.1")
    console = server.endpoint.console(hypervisor=address, hypervisor_ip=None)
    kerbside = lab.kerbside(consoles=[console])
    client = lab.client_through(kerbside, console["uuid"])
    client.wait_picture()


def test_name_in_the_certificate_is_enough_without_a_subject(lab):
    server = lab.spice_server(tls=True, plain=False)
    kerbside = lab.kerbside(server, consoles=[server.endpoint.console(host_subject=None)])
    client = lab.client_through(kerbside, server.endpoint.uuid)
    client.wait_picture()


def test_subject_makes_up_for_another_name(lab):
    """The certificate names neither the address nor the name: host_subject alone decides."""
    more = lab.x509(names=["elsewhere.lab"], addresses=[])
    server = lab.spice_server(tls=True, plain=False, **more)
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid)
    client.wait_picture()


def refused(lab, server, reason, *, source=None, console=None):
    """The client is told, the audit knows why, and no session stays."""
    console = server.endpoint.console(**(console or {}))
    kerbside = lab.kerbside(consoles=[console], **(source or {}))
    client = lab.client_through(kerbside, console["uuid"])
    last = client.wait_over()[-1]
    assert last["state"].startswith("error_")
    event = kerbside.wait_audit("channel.refused", console=console["uuid"], reason=reason)
    assert event["channel"] == "main:0"
    kerbside.wait_sessions(0)
    assert not client.opened()
    return event


@pytest.mark.parametrize("kind", ["qemu", "spice_server"])
def test_stranger_of_another_authority(lab, kind):
    server = getattr(lab, kind)(tls=True)
    refused(lab, server, "server_certificate", source={"ca_cert": Authority().pem})


def test_stranger_although_a_plain_port_is_there(lab):
    """`prefer` never falls back to clear when the certificate is wrong."""
    server = lab.spice_server(tls=True)
    refused(lab, server, "server_certificate",
            source={"ca_cert": Authority().pem, "tls": "prefer"})
    assert server.find("channel") is None or not any(
        not e["tls"] for e in server.find_all("channel", state="initialized"))


@pytest.mark.parametrize("subject", [
    "CN=hypervisor.lab",
    "C=AU,O=Lab,OU=Hypervisors,CN=other.lab",
    "CN=hypervisor.lab,OU=Hypervisors,O=Lab,C=AU",
    SUBJECT + ",CN=more",
], ids=["a part", "another name", "reordered", "one part more"])
@pytest.mark.parametrize("kind", ["qemu", "spice_server"])
def test_wrong_subject(lab, kind, subject):
    server = getattr(lab, kind)(tls=True)
    refused(lab, server, "server_subject", console={"host_subject": subject})


def test_wrong_name(lab):
    more = lab.x509(names=["elsewhere.lab"], addresses=["192.0.2.77"])
    server = lab.spice_server(tls=True, **more)
    refused(lab, server, "server_name", console={"host_subject": None})


def test_expired_certificate(lab):
    server = lab.spice_server(tls=True, **lab.x509(expired=True))
    refused(lab, server, "server_certificate")


@pytest.mark.parametrize("kind", ["qemu", "spice_server"])
def test_wrong_ticket(lab, kind):
    server = getattr(lab, kind)()
    refused(lab, server, "server_ticket", console={"ticket": "not sesame"})


def test_nobody_listens(lab):
    server = lab.spice_server()
    port = Port()  # bound, never listening
    refused(lab, server, "connect_failed", console={"insecure_port": port.number})


def test_unix_socket_is_not_there(lab, tmp_path):
    server = lab.spice_server(unix=True)
    refused(lab, server, "connect_failed", console={"unix_socket": str(tmp_path / "none.sock")})


def test_tls_is_required_and_there_is_no_tls_port(lab):
    server = lab.spice_server()
    refused(lab, server, "server_no_tls_port", source={"tls": "require"})


def test_hypervisor_wants_tls_and_the_source_says_plain(lab):
    server = lab.spice_server(tls=True, secure_channels=["main"])
    refused(lab, server, "server_needs_tls", source={"tls": "plain"})


def test_hypervisor_speaks_no_spice(lab, tmp_path):
    """Something else listens there: an X server would do, kerbside's own metrics are at hand."""
    server = lab.spice_server()
    other = lab.kerbside(server)
    console = server.endpoint.console(insecure_port=other.metrics_port)
    kerbside = lab.kerbside(consoles=[console], settings={"timeouts": {"link": "500ms"}})
    client = lab.client_through(kerbside, console["uuid"])
    assert client.wait_over()[-1]["state"].startswith("error_")
    event = kerbside.wait_audit("channel.refused", console=console["uuid"])
    assert event["reason"] in ("server_link_malformed", "server_link_closed",
                               "server_link_timeout")


def test_ticket_never_shows(lab):
    """Neither the hypervisor's ticket nor the token of a .vv file is in any log or in the store."""
    server = lab.spice_server(ticket="a-ticket-to-look-for")
    kerbside = lab.kerbside(server)
    vv = kerbside.vv("lab", server.endpoint.uuid)
    token = next(line[9:] for line in vv.read_text().splitlines() if line.startswith("password="))
    client = lab.client(vv=vv)
    client.wait_picture()
    client.disconnect()
    kerbside.wait_audit("session.ended")
    kerbside.drain()
    secrets = [b"a-ticket-to-look-for", token.encode()]
    looked_at = [kerbside.scratch / "kerbside.log"]
    looked_at += [p for p in kerbside.state_dir.rglob("*") if p.is_file()]
    for path in looked_at:
        content = path.read_bytes()
        for secret in secrets:
            assert secret not in content, f"{path} holds a secret"
