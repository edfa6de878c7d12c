"""Desktops of clouds: a stand-in for the cloud's API, and behind it a real SPICE server, whose desktop
a stock client shows."""

import pytest
from clouds.directory import Directory
from clouds.incus import Incus
from clouds.keystone import Keystone
from clouds.nova import Nova
from clouds.opennebula import OpenNebula
from clouds.ovirt import Ovirt
from clouds.proxmox import Proxmox
from clouds.shakenfist import ShakenFist
from common.pki import Authority
from common.process import wait_until

SUBJECT = "OU=PVE Cluster Node,O=Proxmox Virtual Environment,CN=pve1.example"
QUICKLY = "200ms"


@pytest.fixture
def api(tmp_path):
    """Who signs the API's certificates."""
    return Authority("O=Cloud,CN=Cloud CA")


def tls_of(api, tmp_path):
    return api.server_context(tmp_path / "api", "CN=localhost")


def desktop(lab, kerbside, source, uuid):
    """A client shows the console's desktop and presses a key."""
    wait_until(lambda: uuid in [c["uuid"] for c in kerbside.items("/api/v1/consoles")],
               "the console is listed", explain=kerbside.log)
    shown(lab, kerbside, uuid, kerbside.vv(source, uuid))


def shown(lab, kerbside, uuid, vv):
    client = lab.client(vv=vv)
    client.wait_picture()
    client.wait_channel("inputs")
    client.key()
    assert client.screenshot().width > 0
    (session,) = kerbside.wait_sessions(1)
    assert session["uuid"] == uuid


def followed(lab, kerbside, uuid, link, tmp_path):
    """The same by a link that the cloud gave its user, after the session before."""
    (session,) = kerbside.wait_sessions(1)
    kerbside.ask("POST", f"/api/v1/consoles/{session['source']}/{uuid}/terminate", {})
    kerbside.wait_sessions(0)
    answer = kerbside.call("GET", link, login=False)
    assert answer.status == 200, answer.body
    vv = tmp_path / "link.vv"
    vv.write_bytes(answer.body)
    shown(lab, kerbside, uuid, vv)


def test_directory(lab, api, tmp_path):
    hypervisor = lab.spice_server(tls=True, plain=False)
    end = hypervisor.endpoint
    cloud = Directory(tls_of(api, tmp_path))
    try:
        machine = cloud.add("desk", tls_port=end.tls_port, subject=end.subject, ticket=end.ticket)
        kerbside = lab.kerbside_of([{
            "source": "inventory", "type": "http", "url": f"{cloud.url}/consoles",
            "token": cloud.token, "ca_cert": api.pem + end.ca_pem, "refresh": QUICKLY}])
        desktop(lab, kerbside, "inventory", machine.uuid)
    finally:
        cloud.stop()


def test_proxmox(lab, api, tmp_path):
    """Through spiceproxy: CONNECT to a pseudo-host, TLS inside, the subject pinned."""
    hypervisor = lab.spice_server(tls=True, plain=False, **lab.x509(SUBJECT))
    end = hypervisor.endpoint
    cloud = Proxmox(tls_of(api, tmp_path), ca=end.ca_pem)
    try:
        machine = cloud.qemu("desk", node="pve1", tls_port=end.tls_port, subject=end.subject,
                             set_ticket=hypervisor.set_ticket)
        kerbside = lab.kerbside_of([{
            "source": "pve", "type": "proxmox", "url": cloud.url, "token_id": "gw@pve!kerbside",
            "token": cloud.api_token(), "ca_cert": api.pem, "refresh": QUICKLY}])
        desktop(lab, kerbside, "pve", str(machine.more["vmid"]))
        assert len(cloud.minted) == 1 and cloud.proxy.tunnels >= 3
    finally:
        cloud.stop()


def test_openstack(lab, api, tmp_path):
    """By the list, and by the link that Nova gives its user. Nova sets no SPICE password."""
    hypervisor = lab.spice_server(tls=True, plain=False, ticket=None, **lab.x509("CN=hv1.example"))
    end = hypervisor.endpoint
    keystone = Keystone(tls_of(api, tmp_path))
    project, user = keystone.project("service"), keystone.user("kerbside", "secret")
    keystone.assign(user, "admin", project)
    nova = Nova(tls_of(api, tmp_path), keystone)
    try:
        machine = nova.owned("desk", project, user, node="hv1", tls_port=end.tls_port)
        kerbside = lab.kerbside_of([{
            "source": "cloud", "type": "openstack", "url": keystone.url, "username": "kerbside",
            "password": "secret", "project_name": "service", "host_subject": "CN=%h",
            "ca_cert": api.pem + end.ca_pem, "refresh": QUICKLY}])
        desktop(lab, kerbside, "cloud", machine.uuid)
        link = f"/nova/cloud/console.vv?token={nova.console_token(machine)}&title=desk"
        followed(lab, kerbside, machine.uuid, link, tmp_path)
    finally:
        nova.stop()
        keystone.stop()


def test_ovirt(lab, api, tmp_path):
    hypervisor = lab.spice_server(tls=True, plain=False, **lab.x509("O=Lab,CN=hv1.example"))
    end = hypervisor.endpoint
    path = tmp_path / "api-ca.pem"
    path.write_text(api.pem)
    cloud = Ovirt(tls_of(api, tmp_path), end.ca_pem)
    try:
        machine = cloud.add("desk", tls_port=end.tls_port, subject=end.subject,
                            set_ticket=hypervisor.set_ticket)
        kerbside = lab.kerbside_of([{
            "source": "ovirt", "type": "ovirt", "url": f"{cloud.url}/ovirt-engine",
            "username": "admin@ovirt@internalsso", "password": "secret",
            "ca_cert": end.ca_pem, "verify": str(path), "refresh": QUICKLY}])
        desktop(lab, kerbside, "ovirt", machine.uuid)
        assert len(cloud.tickets) == 1
    finally:
        cloud.stop()


def test_opennebula(lab, api, tmp_path):
    """A static password, and no TLS to the host."""
    hypervisor = lab.spice_server(tls=False, plain=True)
    end = hypervisor.endpoint
    cloud = OpenNebula(tls_of(api, tmp_path), "kerbside", "secret")
    try:
        machine = cloud.instance("desk", port=end.port, ticket=end.ticket)
        kerbside = lab.kerbside_of([{
            "source": "one", "type": "opennebula", "url": cloud.url, "username": "kerbside",
            "password": "secret", "ca_cert": api.pem, "refresh": QUICKLY}])
        desktop(lab, kerbside, "one", str(machine.more["id"]))
    finally:
        cloud.stop()


def test_shakenfist(lab, api, tmp_path):
    """By the list, and by the signed link of the cluster. It sets no SPICE password."""
    hypervisor = lab.spice_server(tls=True, plain=False, ticket=None, **lab.x509("O=Lab,CN=sf-1"))
    end = hypervisor.endpoint
    cloud = ShakenFist(tls_of(api, tmp_path))
    try:
        machine = cloud.instance("desk", node="sf-1", tls_port=end.tls_port, subject=end.subject)
        kerbside = lab.kerbside_of([{
            "source": "sf", "type": "shakenfist", "url": cloud.url, "username": "system",
            "password": "oisoSe7T", "ca_cert": api.pem + end.ca_pem, "refresh": QUICKLY}])
        desktop(lab, kerbside, "sf", machine.uuid)
        cloud.proxy_url = kerbside.configuration["public"]["url"]
        link = f"/sf-console.vv?token={cloud.console_token(machine.uuid)}"
        followed(lab, kerbside, machine.uuid, link, tmp_path)
    finally:
        cloud.stop()


def test_incus(lab, api, tmp_path):
    """Every channel over a WebSocket of the API, which carries the bytes of the machine's socket."""
    hypervisor = lab.spice_server(tls=False, plain=True, ticket=None)
    cloud = Incus(tls_of(api, tmp_path))
    try:
        machine = cloud.instance("desk", port=hypervisor.endpoint.port)
        kerbside = lab.kerbside_of([{
            "source": "incus", "type": "incus", "url": cloud.url, "token": cloud.token(),
            "ca_cert": api.pem, "refresh": QUICKLY}])
        desktop(lab, kerbside, "incus", machine.uuid)
    finally:
        cloud.stop()
