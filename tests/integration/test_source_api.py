"""What every driver has from the client of clouds' APIs that they share: whose certificates it takes,
and bodies that come in pieces, compressed, or too slowly. All clouds in one daemon."""

import json

import pytest
from clouds.directory import Directory
from clouds.incus import Incus
from clouds.keystone import Keystone
from clouds.kubevirt import KubeVirt
from clouds.nova import Nova
from clouds.opennebula import OpenNebula
from clouds.ovirt import Ovirt
from clouds.proxmox import Proxmox
from clouds.shakenfist import ShakenFist
from common.pki import Authority
from common.process import wait_until
from daemon import Kerbside


class Site:
    """One source of each type that asks a cloud, with one machine each."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority("O=Cloud,CN=Cloud CA")
        self.good = self.tls("good")
        self.services, self.sources = [], []
        for make in (self.directory, self.incus, self.kubevirt, self.openstack, self.opennebula,
                     self.ovirt, self.proxmox, self.shakenfist):
            self.sources.append({"source": make.__name__, "type": make.__name__,
                                 "ca_cert": self.authority.pem, "refresh": "0", "timeout": "60s",
                                 **make()})
        self.sources[0]["type"] = "http"
        self.names = [source["source"] for source in self.sources]
        self.kerbside = Kerbside(folder / "kerbside", self.sources, env={"NO_PROXY": "localhost"})

    def tls(self, name, **more):
        return self.authority.server_context(self.folder / name, "CN=localhost", **more)

    def serve(self, service):
        self.services.append(service)
        return service

    def directory(self):
        cloud = self.serve(Directory(self.good))
        cloud.add("web", port=1)
        return {"url": f"{cloud.url}/consoles", "token": cloud.token}

    def incus(self):
        cloud = self.serve(Incus(self.good))
        cloud.instance("web", port=1)
        return {"url": cloud.url, "token": cloud.token()}

    def kubevirt(self):
        cloud = self.serve(KubeVirt(self.good))
        cloud.vmi("web")
        return {"url": cloud.url, "token": cloud.account(), "serial": False}

    def openstack(self):
        keystone = self.serve(Keystone(self.good))
        project, user = keystone.project("service"), keystone.user("gateway", "secret")
        keystone.assign(user, "admin", project)
        self.serve(Nova(self.good, keystone)).owned("web", project, user, port=1)
        return {"url": keystone.url, "username": "gateway", "password": "secret",
                "project_name": "service"}

    def opennebula(self):
        cloud = self.serve(OpenNebula(self.good))
        cloud.instance("web", port=1)
        return {"url": cloud.url, "username": "oneadmin", "password": "opennebula"}

    def ovirt(self):
        cloud = self.serve(Ovirt(self.good, self.authority.pem))
        cloud.add("web", tls_port=1)
        return {"url": f"{cloud.url}/ovirt-engine", "username": "admin@ovirt@internalsso",
                "password": "secret"}

    def proxmox(self):
        cloud = self.serve(Proxmox(self.good, ca=self.authority.pem))
        cloud.qemu("web")
        return {"url": cloud.url, "token_id": "gw@pve!kerbside", "token": cloud.api_token()}

    def shakenfist(self):
        cloud = self.serve(ShakenFist(self.good))
        cloud.instance("web", tls_port=1)
        return {"url": cloud.url, "username": "system", "password": "oisoSe7T"}

    def all(self, what: str) -> dict:
        """POST /sources/NAME/what of each; the daemon takes no more than two at a time."""
        return {name: json.loads(self.kerbside.ask("POST", f"/api/v1/sources/{name}/{what}")[1])
                for name in self.names}

    def states(self) -> list[dict]:
        return self.kerbside.items("/api/v1/sources")

    def stop(self):
        for service in self.services:
            service.release()
        self.kerbside.stop()
        for service in self.services:
            service.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("clouds"))
    yield site
    site.stop()


@pytest.fixture
def site(shared):
    for service in shared.services:
        service.reset()
        service.tls = shared.good
    for name, state in shared.all("refresh").items():
        assert (state["error"], state["consoles"]) == (None, 1), name
    yield shared


@pytest.mark.parametrize("name, wrong, words, advice", [
    ("expired", {"expired": True}, "expired", "clock"),
    ("elsewhere", {"names": ("elsewhere.example",), "addresses": ()}, "name", "name in url"),
])
def test_certificates(site, name, wrong, words, advice):
    context = site.tls(name, **wrong)
    for service in site.services:
        service.tls = context
        service.requests.clear()
    for source, state in site.all("refresh").items():
        assert words in state["error"] and state["state"] == "stale", (source, state)
        assert state["consoles"] == 1
    for source, check in site.all("check").items():
        last = check["steps"][-1]
        assert (last["step"], last["result"]) == ("tls", "failed"), (source, last)
        assert advice in last["advice"]
    assert not any(service.requests for service in site.services)  # nobody was told a secret


@pytest.mark.parametrize("trouble", ["chunked", "gzip"])
def test_encodings(site, trouble):
    for service in site.services:
        service.trouble = trouble
    for source, state in site.all("refresh").items():
        assert (state["error"], state["consoles"]) == (None, 1), source


def test_bodies_too_slow(site):
    """Each source says so when its own time is over, and keeps what it had."""
    for service in site.services:
        service.trouble = "slow"
    with site.kerbside.settings(sources=[{**s, "timeout": "1s"} for s in site.sources]):
        wait_until(lambda: all("timed out" in (state["error"] or "") for state in site.states()),
                   "all sources have given up", explain=site.states)
        assert {state["consoles"] for state in site.states()} == {1}
        for service in site.services:
            service.reset()
