"""Domains of libvirt: a real libvirtd, and QEMU guests with real SPICE servers that do not run."""

import json
import re
import uuid
from pathlib import Path

import pytest
import yaml
from common.libvirtd import Libvirtd
from common.pki import Authority
from common.process import LabError, wait_until
from daemon import Kerbside
from spice import INPUTS, MSG_MAIN_INIT, OK, Client, Link


class Site:
    def __init__(self, folder, authority, libvirtd):
        self.authority, self.libvirtd = authority, libvirtd
        self.web = self.libvirtd.domain("web", owner="alice")
        self.kerbside = Kerbside(folder / "kerbside", [self.config()],
                                 policies={"default": {"grammar": "observe"}})
        self.listed("web")

    def config(self, **more) -> dict:
        return {"source": "host", "type": "libvirt", "uri": self.libvirtd.uri, "refresh": "0",
                "ca_cert": self.authority.pem, **more}

    def consoles(self) -> dict:
        return {c["name"]: c for c in self.kerbside.items("/api/v1/consoles")}

    def listed(self, *names):
        """Nobody asks for a refresh: libvirt tells."""
        wait_until(lambda: self.consoles().keys() == set(names), f"the list is {names}",
                   explain=lambda: f"{list(self.consoles())}\n{self.kerbside.last_words()}")

    def source(self) -> dict:
        return json.loads(self.kerbside.ask("GET", "/api/v1/sources/host")[1])

    def refresh(self) -> dict:
        return json.loads(self.kerbside.ask("POST", "/api/v1/sources/host/refresh")[1])

    def check(self) -> list[dict]:
        return json.loads(self.kerbside.ask("POST", "/api/v1/sources/host/check")[1])["steps"]

    def token(self, domain) -> str:
        wait_until(lambda: domain.uuid in [c["uuid"] for c in self.consoles().values()],
                   "it is listed", explain=self.kerbside.last_words)
        return self.kerbside.grant(domain.uuid, "host").token

    def opens(self, domain):
        """main and inputs, which QEMU itself lets in. (The display of a guest that never ran is not
        for asking: at the third time QEMU 7.2 crashes.)"""
        token = self.token(domain)
        main = Client(self.kerbside.address, self.kerbside.client_tls())
        assert main.link(token) == OK, self.kerbside.last_words()
        kind, body = main.message()
        while kind != MSG_MAIN_INIT:
            kind, body = main.message()
        inputs = Client(self.kerbside.address, self.kerbside.client_tls(), source=main.source)
        code = inputs.link(token, Link(INPUTS, 0, int.from_bytes(body[:4], "little")))
        assert code == OK, self.kerbside.last_words()
        main.close()
        inputs.close()

    def denied(self, domain) -> dict:
        mark = self.kerbside.mark()
        client = Client(self.kerbside.address, self.kerbside.client_tls())
        assert client.link(self.token(domain)) != OK
        client.close()
        return self.kerbside.wait_audit("channel.refused", mark)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("libvirt")
    authority = Authority()
    libvirtd = Libvirtd(folder / "libvirtd.log",
                        x509=authority.x509_dir(folder / "x509", "O=Lab,CN=hv1.example"),
                        client_x509=authority.issue(folder / "client", "CN=kerbside", client=True))
    try:
        held = Site(folder, authority, libvirtd)
        yield held
        held.kerbside.stop()
    finally:
        libvirtd.stop()


@pytest.fixture
def domain(site):
    """Starts guests beside `web`, which are gone after the test, also from the list."""
    started = []

    def start(*args, **more):
        started.append(site.libvirtd.domain(*args, **more))
        return started[-1]

    yield start
    for one in started:
        try:
            one.destroy()
        except LabError:
            pass  # the test did
    site.listed("web")


def test_what_is_listed(site, domain):
    tls = domain("tls", tls=True)
    domain("none", listen="none", ticket=None)
    domain("file", listen="socket")
    domain("vnc", kind="vnc", ticket=None)
    site.listed("web", "tls", "none", "file", "vnc")
    found = site.consoles()
    web = found["web"]
    assert (web["uuid"], web["state"], web["owner"]) == (site.web.uuid, "paused", "alice")
    assert (web["insecure_port"], web["secure_port"]) == (site.web.port, None)
    assert web["hypervisor_ip"] == "127.0.0.1" and web["hypervisor"]
    assert (found["tls"]["insecure_port"], found["tls"]["secure_port"]) == (tls.port, tls.tls_port)
    assert [found[name]["transport"] for name in ("web", "none", "file")] == [
        "tcp", "source", "source"]
    assert [found[name]["protocol"] for name in ("web", "none", "vnc")] == ["spice", "spice", "vnc"]


def test_changes_are_told(site, domain):
    desk = domain("desk")
    site.listed("web", "desk")
    desk.virsh("resume")
    wait_until(lambda: site.consoles()["desk"]["state"] == "running", "its state is new")
    desk.virsh("metadata", "urn:kerbside:1", "--live", "--key", "k", "--set",
               "<console owner='bob'/>")
    wait_until(lambda: site.consoles()["desk"]["owner"] == "bob", "its owner is new")
    desk.destroy()
    site.listed("web")


def test_a_password_for_each_session(site):
    """The one that the guest was started with is good no more; nor is ours for long."""
    site.opens(site.web)
    first = site.libvirtd.virsh("dumpxml", site.web.uuid, "--security-info")
    assert "sesame" not in first and "connected='keep'" in first
    site.opens(site.web)
    second = site.libvirtd.virsh("dumpxml", site.web.uuid, "--security-info")
    passwords = [re.search("passwd='([^']+)'", xml)[1] for xml in (first, second)]
    assert passwords[0] != passwords[1]
    assert re.search(r"passwdValidTo='\d{4}-", second)
    assert not any(word in site.kerbside.process.log() for word in ["sesame", *passwords])


def test_over_tls(site, domain):
    """The certificate is for localhost and 127.0.0.1."""
    site.opens(domain("tls", tls=True))


@pytest.mark.parametrize("listen, ticket", [("none", None), ("socket", "sesame")])
def test_without_a_port(site, domain, listen, ticket):
    site.opens(domain("desk", listen=listen, ticket=ticket))


def test_a_guest_without_a_password(site, domain):
    site.opens(domain("desk", ticket=None))


def test_the_second_graphics_device(site, domain):
    vnc = "<graphics type='vnc'><listen type='none'/></graphics>"
    site.opens(domain("desk", listen="none", more=vnc))


def test_a_domain_that_went(site, domain):
    """Between the grant and the opening; the same name is not the same domain."""
    desk = domain("desk")
    token = site.token(desk)
    desk.destroy()
    domain("desk")
    mark = site.kerbside.mark()
    client = Client(site.kerbside.address, site.kerbside.client_tls())
    assert client.link(token) != OK
    client.close()
    # The grant went with the console, unless libvirt told of that only when it was asked.
    row = wait_until(lambda: site.kerbside.audit("grant.denied", mark)
                     or site.kerbside.audit("channel.refused", mark), "it is audited")[0]
    assert row["reason"] in ("token_revoked", "console_gone")


def test_a_remote_connection(site, domain):
    """Over TLS, with a certificate each: passwords are set, but no socket can be handed over."""
    none = domain("none", listen="none")
    with site.kerbside.settings(sources=[site.config(uri=site.libvirtd.tls_uri)]):
        site.opens(site.web)
        denied = site.denied(none)
        assert denied["reason"] == "source_failed" and "its own host" in denied["detail"]
        (rights,) = [step for step in site.check() if step["step"] == "rights"]
        assert rights["result"] == "ok" and "on its own host alone" in rights["detail"]


def test_a_libvirtd_that_hangs(site):
    """Nobody waits for it longer than for any cloud; what was listed stays; and it comes back."""
    other = {"source": "other", "type": "static", "consoles": []}
    with site.kerbside.settings(sources=[site.config(timeout="1s"), other]):
        site.listed("web")
        with site.libvirtd.frozen():
            view = site.refresh()
            assert "does not answer" in view["error"] and view["consoles"] == 1
            assert site.denied(site.web)["reason"] == "source_failed"
            # A connection that has to be made meanwhile hangs at its very beginning.
            site.kerbside.reload(sources=[site.config(timeout="1s", ticket_expiry="50s"), other])
            assert "does not answer" in site.refresh()["error"]
        wait_until(lambda: site.refresh()["error"] is None, "it is listed again",
                   explain=site.kerbside.last_words)
    site.listed("web")
    site.opens(site.web)


def test_source_check(site, domain):
    domain("none", listen="none")
    site.listed("web", "none")
    steps = site.check()
    assert all(step["result"] == "ok" for step in steps), steps
    assert [s["step"] for s in steps] == ["configuration", "library", "connect", "events", "rights",
                                          "list"]
    before = site.libvirtd.virsh("dumpxml", site.web.uuid, "--security-info")
    site.check()
    assert site.libvirtd.virsh("dumpxml", site.web.uuid, "--security-info") == before


@pytest.mark.parametrize("uri, step, words", [
    ("qemu+unix:///session?socket=/nonexistent/sock", "connect", "Start libvirtd"),
    ("nonsense:///y", "connect", "uri"),
    ("qemu+tls://localhost:1/system?pkipath=/nonexistent", "tls", "pkipath"),
    ("qemu+tcp://localhost:1/system", "connect", "Start libvirtd"),
])
def test_check_of_what_is_wrong(site, uri, step, words):
    with site.kerbside.settings(sources=[site.config(uri=uri)]):
        failed = site.check()[-1]
        assert (failed["step"], failed["result"]) == (step, "failed"), failed
        assert words in failed["advice"], failed
        assert site.source()["error"]
    site.listed("web")


def test_the_page_of_the_source(site):
    """Its example is a configuration that loads."""
    page = (Path(__file__).parents[2] / "docs/sources/libvirt.md").read_text()
    block = "\n".join(line[4:] for line in re.search(r"\n((?:    .*\n)+)", page)[1].splitlines())
    (example,) = yaml.safe_load(block)["sources"]
    example.update(source="example", ca_cert=site.authority.pem, uri=site.libvirtd.uri)
    with site.kerbside.settings(sources=[site.config(), example]):
        wait_until(lambda: [c["source"] for c in site.kerbside.items("/api/v1/consoles")].count(
            "example") == 1, "the example lists", explain=site.kerbside.last_words)


def test_a_libvirtd_that_ends(tmp_path):
    """And one that comes back: kerbside finds it when the list is due. At last it hangs, and keeps
    nobody from going."""
    libvirtd = Libvirtd(tmp_path / "libvirtd.log")
    kerbside = None
    try:
        first = libvirtd.domain("first")
        kerbside = Kerbside(tmp_path / "kerbside", [
            {"source": "host", "type": "libvirt", "uri": libvirtd.uri, "refresh": "300ms"}])

        def names():
            return {c["name"] for c in kerbside.items("/api/v1/consoles")}

        wait_until(lambda: names() == {"first"}, "it is listed", explain=kerbside.last_words)
        libvirtd.end()
        row = kerbside.wait_audit("source.failed")
        assert "connecting" in row["detail"] and names() == {"first"}
        libvirtd.start()
        libvirtd.domain("second", uuid=str(uuid.uuid4()))
        json.loads(kerbside.ask("POST", "/api/v1/sources/host/refresh")[1])
        wait_until(lambda: names() == {"second"}, "the new one", explain=kerbside.last_words)
        assert first.uuid not in {c["uuid"] for c in kerbside.items("/api/v1/consoles")}
        with libvirtd.frozen():
            kerbside.stop()
    finally:
        if kerbside:
            kerbside.stop()
        libvirtd.stop()
