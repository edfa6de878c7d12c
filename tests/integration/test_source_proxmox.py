"""Proxmox VE: its logins, its list, and what spiceproxy answers when a console is opened."""

import contextlib
import json

import pytest
from clouds.proxmox import Proxmox
from clouds.server import HOSTILE_NAMES, as_odd, as_text, nulls, without
from common.pki import Authority
from common.process import wait_until
from daemon import Kerbside
from session import Session
from spice import MAIN, OK, Client, Link, Server

SUBJECT = "OU=PVE Cluster Node,O=Proxmox Virtual Environment,CN=pve1.example"


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority("O=PVE,CN=Cluster CA")
        self.cloud = Proxmox(self.authority.server_context(folder / "api", "CN=localhost"),
                             ca=self.authority.pem)
        self.server = Server(tls=self.authority.server_context(folder / "hv", SUBJECT))
        self.token = self.cloud.api_token()
        self.kerbside = Kerbside(folder / "kerbside", [self.source()],
                                 env={"NO_PROXY": "localhost"})

    def source(self, **more) -> dict:
        wish = {"source": "pve", "type": "proxmox", "url": self.cloud.url,
                "token_id": "gw@pve!kerbside", "token": self.token, "refresh": "1h",
                "timeout": "60s", "ca_cert": self.authority.pem, **more}
        return {k: v for k, v in wish.items() if v is not None}

    def machine(self, name="web", server=None, **more):
        server = server or self.server

        def set_ticket(password, seconds):
            server.ticket = password

        return self.cloud.qemu(name, node=more.pop("node", "pve1"), tls_port=server.port,
                               subject=more.pop("subject", SUBJECT), set_ticket=set_ticket, **more)

    def refresh(self) -> dict:
        return json.loads(self.kerbside.ask("POST", "/api/v1/sources/pve/refresh")[1])

    def check(self) -> dict:
        return json.loads(self.kerbside.ask("POST", "/api/v1/sources/pve/check")[1])

    def consoles(self) -> dict:
        return {row["uuid"]: row for row in self.kerbside.items("/api/v1/consoles", source="pve")}

    def open(self, machine, **more) -> Session:
        return Session(self.kerbside, self.server, uuid(machine), source_name="pve", **more)

    def refused(self, machine, why: str, words=""):
        """A link that fails; the audit says why."""
        mark = self.kerbside.mark()
        client = Client(self.kerbside.address, self.kerbside.client_tls())
        assert client.link(self.kerbside.grant(uuid(machine), "pve").token, Link(MAIN, 0, 0)) != OK
        row = self.kerbside.wait_audit("channel.refused", mark, client_address=client.source)
        client.close()
        assert row["reason"] == why and words in (row["detail"] or ""), row

    def settings(self, **change):
        return self.kerbside.settings(sources=[self.source(**change)])

    def patience(self, trouble: str):
        """One that never answers is waited for a little, all others as long as it takes."""
        quick = trouble in ("hang", "slow")
        return self.settings(timeout="2s") if quick else contextlib.nullcontext()

    def stop(self):
        self.cloud.release()
        self.kerbside.stop()
        self.cloud.stop()
        self.server.stop()


def uuid(machine) -> str:
    return str(machine.more["vmid"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    held = Site(tmp_path_factory.mktemp("pve"))
    yield held
    held.stop()


@pytest.fixture(autouse=True)
def calm(site):
    yield
    cloud = site.cloud
    cloud.reset()
    cloud.empty()
    cloud.minted.clear()
    while not site.server.legs.empty():  # of diagnoses
        site.server.legs.get().close()
    cloud.clock, cloud.proxy_name, cloud.proxy.trouble = 0.0, None, None
    cloud.needs_tfa = cloud.no_subject = cloud.old_pseudo_host = False
    cloud.node_down.clear()
    cloud.rights = {"VM.Audit", "VM.Console"}
    assert site.refresh()["error"] is None


def test_listed_and_opened(site):
    machine = site.machine("büro", more={"pool": "staff"})
    site.refresh()
    row = site.consoles()[uuid(machine)]
    assert (row["name"], row["project"], row["state"], row["hypervisor"], row["transport"]) == (
        "büro", "staff", "running", "pve1", "connect")
    with site.open(machine) as session:
        session.channel().exchange()
        session.channel(channel_id=1).exchange()
        # One ticket for all channels of a session: a second one would void it.
        assert len(site.cloud.minted) == 1
    assert site.cloud.proxy.tunnels >= 3


def test_a_ticket_each_session(site):
    machine = site.machine()
    site.refresh()
    with site.open(machine):
        pass
    with site.open(machine):
        pass
    assert len(site.cloud.minted) == 2


def test_what_is_no_console(site):
    site.machine("stopped", running=False)
    site.machine("template", more={"template": 1})
    site.machine("container", more={"type": "lxc"})
    shown = site.machine("shown")
    site.refresh()
    assert set(site.consoles()) == {uuid(shown)}


def test_account_and_password(site):
    machine = site.machine()
    with site.settings(token_id=None, token=None, username="gw@pve", password="secret"):
        assert site.refresh()["error"] is None
        with site.open(machine):
            pass
        logins = site.cloud.count("/access/ticket")
        assert logins == 1, "calls share the login"
        site.cloud.expire_tickets()
        assert site.refresh()["error"] is None
        assert site.cloud.count("/access/ticket") == 2


def test_many_log_in_once(site):
    machine = site.machine()
    with site.settings(token_id=None, token=None, username="gw@pve", password="secret"):
        site.refresh()
        site.cloud.expire_tickets()
        before = site.cloud.count("/access/ticket")
        with site.open(machine):
            pass
        assert site.cloud.count("/access/ticket") == before + 1


@pytest.mark.parametrize("change, words", [
    ({"token": "00000000-0000-0000-0000-000000000000"}, "status 401"),
    ({"token_id": None, "token": None, "username": "gw@pve", "password": "x"},
     "authentication failure"),
    ({"token_id": None, "token": None}, "neither token_id nor username"),
])
def test_wrong_accounts(site, change, words):
    with site.settings(**change):
        state = wait_until(lambda: site.refresh(), "an answer")
        assert words in state["error"]
        result = site.check()
        assert result["steps"][-1]["step"] == "login" and words in result["steps"][-1]["detail"]


def test_second_factor(site):
    site.cloud.needs_tfa = True
    with site.settings(token_id=None, token=None, username="gw@pve", password="secret"):
        assert "API token" in site.refresh()["error"]


def test_rights(site):
    machine = site.machine()
    site.refresh()
    site.cloud.rights = {"VM.Audit"}
    site.refused(machine, "source_failed", "VM.Console")
    site.cloud.rights = set()
    result = site.check()
    assert result["ok"] and "VM.Audit" in result["steps"][-2]["detail"]


def test_checked(site):
    site.machine()
    result = site.check()
    assert result["ok"], result
    assert [s["step"] for s in result["steps"]] == [
        "configuration", "resolve", "connect", "tls", "login", "machines", "list"]
    assert "SPICE" in result["steps"][-2]["detail"]
    assert not site.cloud.minted, "a check voids nobody's ticket"


def test_no_spice_display(site):
    machine = site.machine(more={"vga": "std"})
    site.refresh()
    site.refused(machine, "source_failed", "no spice port")
    assert "qxl" in site.check()["steps"][-2]["detail"]


@pytest.mark.parametrize("trouble", ["500", "503", "401", "nonsense", "empty", "cut", "drop", "hang",
                                     "slow", "elsewhere", "list"])
def test_a_failure_keeps_the_last_good_list(site, trouble):
    with site.patience(trouble):
        machine = site.machine()
        wait_until(lambda: site.refresh()["state"] == "ok", "a list")
        site.cloud.trouble = trouble
        state = site.refresh()
        assert state["state"] == "stale" and state["error"]
        assert set(site.consoles()) == {uuid(machine)}
        site.refused(machine, "source_failed")


@pytest.mark.parametrize("alter", [
    nulls("pool", "tags", "name", "lock"), without("template", "uptime", "name"),
    as_text("vmid", "template"), as_odd([1], "pool", "name"),
])
def test_odd_types_in_the_list(site, alter):
    machine = site.machine()
    site.cloud.alter = alter
    assert site.refresh()["error"] is None
    assert set(site.consoles()) == {uuid(machine)}


@pytest.mark.parametrize("alter, why", [
    (nulls("host", where="spiceproxy"), "source_failed"),
    (without("password", where="spiceproxy"), "source_failed"),
    (without("proxy", where="spiceproxy"), "source_failed"),
    (as_odd(0, "tls-port", where="spiceproxy"), "source_failed"),
    (as_odd("x" * 60, "password", where="spiceproxy"), "source_failed"),
    (as_odd("a b", "host", where="spiceproxy"), "proxy_refused"),
    (as_odd("a\r\nX: y", "host", where="spiceproxy"), "proxy_refused"),
    (as_odd("::", "proxy", where="spiceproxy"), "source_failed"),
    (as_odd(7, "proxy", "host-subject", where="spiceproxy"), "source_failed"),
])
def test_answers_that_lead_nowhere(site, alter, why):
    machine = site.machine()
    site.refresh()
    site.cloud.alter = alter
    tunnels = site.cloud.proxy.tunnels
    site.refused(machine, why)
    assert site.cloud.proxy.tunnels == tunnels


def test_hostile_names(site):
    machines = [site.machine(name) for name in HOSTILE_NAMES]
    assert site.refresh()["consoles"] == len(machines)
    with site.open(machines[1]):
        pass


def test_number_used_again(site):
    """Another machine has the number now, and the list is older: it is not opened."""
    machine = site.machine()
    site.refresh()
    machine.name = "somebody else's"
    site.refused(machine, "source_failed", "the list is older")
    site.refresh()
    with site.open(machine):
        pass


def test_gone_and_stopped(site):
    gone, stopped = site.machine("gone"), site.machine("stopped")
    site.refresh()
    grants = [site.kerbside.grant(uuid(m), "pve") for m in (gone, stopped)]
    site.cloud.vanish(gone)
    stopped.running = False
    clients = [Client(site.kerbside.address, site.kerbside.client_tls()) for _ in grants]
    for client, grant in zip(clients, grants):
        assert client.link(grant.token, Link(MAIN, 0, 0)) != OK
    assert set(site.kerbside.why_refused(clients).values()) == {"console_gone"}
    for client in clients:
        client.close()


def test_migrated(site):
    machine = site.machine()
    site.machine("stays", node="pve2")
    site.refresh()
    site.cloud.migrate(machine, "pve2")
    with site.open(machine):
        pass


def test_node_down(site):
    """The cluster has lost a node: its machines are not gone, they cannot be opened."""
    machine = site.machine()
    site.refresh()
    site.cloud.node_down.add("pve1")
    assert site.refresh()["consoles"] == 1
    site.refused(machine, "source_failed", "595")


def test_no_subject(site):
    machine = site.machine()
    site.refresh()
    site.cloud.no_subject = True
    site.refused(machine, "source_failed", "host-subject")


def test_another_subject(site):
    machine = site.machine(subject="O=Lab,CN=somebody else")
    site.refresh()
    site.refused(machine, "server_subject")


def test_another_ca(site):
    """Signed by whoever, with the right subject."""
    stranger = Authority("O=Other,CN=Other CA")
    server = Server(tls=stranger.server_context(site.folder / "stranger", SUBJECT))
    machine = site.machine(server=server)
    site.refresh()
    site.refused(machine, "server_certificate")
    server.stop()


def test_word_of_an_unverified_api(site):
    """Without verify the answer's CA counts for nothing: the configured one does."""
    machine = site.machine(ca=Authority("O=Other,CN=Other CA").pem)
    with site.settings(verify=False):
        site.refresh()
        with site.open(machine):
            pass
    with site.settings(verify=False, ca_cert=None):
        site.refresh()
        site.refused(machine, "source_failed", "ca_cert")


def test_ticket_too_old(site):
    """The pseudo-host's time is signed: late, the proxy says no."""
    machine = site.machine()
    site.refresh()
    pseudo_host = site.cloud.pseudo_host

    def old(machine):
        site.cloud.clock = -60.0
        try:
            return pseudo_host(machine)
        finally:
            site.cloud.clock = 0.0

    site.cloud.pseudo_host = old
    try:
        site.refused(machine, "proxy_refused", "401 invalid ticket")
    finally:
        site.cloud.pseudo_host = pseudo_host


@pytest.mark.parametrize("trouble, words", [
    ("drop", "closed"), ("500", "status 500 no connection to node"), ("cut", "closed"),
])
def test_proxy_in_trouble(site, trouble, words):
    machine = site.machine()
    site.refresh()
    site.cloud.proxy.trouble = trouble
    site.refused(machine, "proxy_refused", words)


def test_proxy_says_nothing(site):
    machine = site.machine()
    site.refresh()
    site.cloud.proxy.trouble = "hang"
    with site.kerbside.settings(timeouts={"connect": "500ms"}):
        site.refused(machine, "proxy_refused", "no answer in time")
    site.cloud.proxy.release()


def test_chatty_proxy(site):
    """A long answer with many headers; not a byte behind it is lost."""
    machine = site.machine()
    site.refresh()
    site.cloud.proxy.trouble = "chatty"
    with site.open(machine) as session:
        session.channel().exchange()


def test_address_map(site):
    """spiceproxy names its node as the node knows itself."""
    site.cloud.proxy_name = "pve1.internal"
    machine = site.machine()
    site.refresh()
    site.refused(machine, "resolve_failed", "pve1.internal")
    with site.settings(address_map={"*.internal": "127.0.0.1"}):
        site.refresh()
        with site.open(machine):
            pass


def test_diagnosed(site):
    machine = site.machine()
    site.refresh()
    path = f"/api/v1/consoles/pve/{uuid(machine)}/diagnosis"
    result = json.loads(site.kerbside.ask("GET", path)[1])
    assert result["ok"], result
    assert "through the proxy" in next(h for h in result["hops"] if h["hop"] == "connect")["detail"]


def test_no_file_leads_straight_there(site):
    machine = site.machine()
    site.refresh()
    status, _, text = site.kerbside.call("GET",
                                         f"/console/direct/pve/{uuid(machine)}/console.vv")
    assert status == 409, text


def test_ten_thousand(site):
    site.cloud.fill(10000, node="pve1")
    assert site.refresh()["consoles"] == 10000


def test_secrets_stay_in_memory(site):
    machine = site.machine()
    with site.settings(token_id=None, token=None, username="gw@pve", password="secret"):
        site.refresh()
        with site.open(machine):
            pass
        log = site.kerbside.process.log()
        ticket = next(iter(site.cloud.tickets))
        for secret in (site.server.ticket, ticket, "password=secret", site.token):
            assert secret not in log
            for path in site.kerbside.state_dir.rglob("*.db*"):
                assert secret.encode() not in path.read_bytes()
