"""oVirt: single sign-on, machines and hosts, and the engine's tickets."""

import contextlib
import json

import pytest
from clouds.ovirt import Ovirt
from clouds.server import HOSTILE_NAMES, as_odd, nulls, without
from common.pki import Authority
from common.process import wait_until
from daemon import Kerbside
from session import Session
from spice import MAIN, OK, Client, Link, Server

HOST = "O=Lab,CN=hv1.example"


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority("O=Lab,CN=Engine CA")
        self.cloud = Ovirt(self.authority.server_context(folder / "api", "CN=localhost"),
                           self.authority.pem)
        self.server = Server(tls=self.authority.server_context(folder / "hv", HOST))
        self.kerbside = Kerbside(folder / "kerbside", [self.source()],
                                 env={"NO_PROXY": "localhost"})

    def source(self, **more) -> dict:
        wish = {"source": "ovirt", "type": "ovirt", "url": f"{self.cloud.url}/ovirt-engine",
                "username": "admin@ovirt@internalsso", "password": "secret", "refresh": "1h",
                "timeout": "60s", "ca_cert": self.authority.pem, **more}
        return {k: v for k, v in wish.items() if v is not None}

    def machine(self, name="web", server=None, **more):
        server = server or self.server

        def set_ticket(password, seconds):
            server.ticket = password

        return self.cloud.add(name, set_ticket=set_ticket, **{
            "tls_port": server.port, "subject": HOST, **more})

    def settings(self, **change):
        return self.kerbside.settings(sources=[self.source(**change)])

    def refresh(self) -> dict:
        return json.loads(self.kerbside.ask("POST", "/api/v1/sources/ovirt/refresh")[1])

    def check(self) -> dict:
        return json.loads(self.kerbside.ask("POST", "/api/v1/sources/ovirt/check")[1])

    def consoles(self) -> dict:
        return {row["uuid"]: row for row in self.kerbside.items("/api/v1/consoles", source="ovirt")}

    def open(self, machine) -> Session:
        return Session(self.kerbside, self.server, machine.uuid, source_name="ovirt")

    def refused(self, machine, why: str, words=""):
        mark = self.kerbside.mark()
        client = Client(self.kerbside.address, self.kerbside.client_tls())
        grant = self.kerbside.grant(machine.uuid, "ovirt")
        assert client.link(grant.token, Link(MAIN, 0, 0)) != OK
        row = self.kerbside.wait_audit("channel.refused", mark, client_address=client.source)
        client.close()
        assert row["reason"] == why and words in (row["detail"] or ""), row

    def patience(self, trouble: str):
        """One that never answers is waited for a little, all others as long as it takes."""
        quick = trouble in ("hang", "slow")
        return self.settings(timeout="2s") if quick else contextlib.nullcontext()

    def stop(self):
        self.cloud.release()
        self.kerbside.stop()
        self.cloud.stop()
        self.server.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    held = Site(tmp_path_factory.mktemp("ovirt"))
    yield held
    held.stop()


@pytest.fixture(autouse=True)
def calm(site):
    yield
    cloud = site.cloud
    cloud.reset()
    cloud.empty()
    cloud.states.clear()
    cloud.hide_consoles.clear()
    cloud.in_use_by_other.clear()
    cloud.vnc_only.clear()
    cloud.tickets.clear()
    cloud.hide_hosts = cloud.fault_in_action = False
    cloud.ca = site.authority.pem
    assert site.refresh()["error"] is None


def test_listed_and_opened(site):
    machine = site.machine("büro")
    site.refresh()
    row = site.consoles()[machine.uuid]
    assert (row["name"], row["state"], row["hypervisor"], row["host_subject"]) == (
        "büro", "up", "hv1", HOST)
    with site.open(machine) as session:
        session.channel().exchange()
        session.channel(channel_id=1).exchange()
        # One ticket for all channels of a session, and one that ends soon.
        ((uuid, _, expiry),) = site.cloud.tickets
        assert (uuid, expiry) == (machine.uuid, 60)


def test_ticket_expiry(site):
    machine = site.machine()
    with site.settings(ticket_expiry="2m"):
        site.refresh()
        with site.open(machine):
            assert site.cloud.tickets[0][2] == 120


def test_a_ticket_each_session(site):
    machine = site.machine()
    site.refresh()
    for _ in range(2):
        with site.open(machine):
            pass
    assert len({value for _, value, _ in site.cloud.tickets}) == 2


def test_states(site):
    for state in ("down", "suspended", "image_locked", "up", "paused", "unknown"):
        machine = site.machine(state)
        site.cloud.states[machine.uuid] = state
    site.refresh()
    assert {c["name"] for c in site.consoles().values()} == {"up", "paused", "unknown"}


def test_session_ends(site):
    machine = site.machine()
    site.refresh()
    before = site.cloud.count("/sso/oauth/token")
    site.cloud.expire_sessions()
    assert site.refresh()["error"] is None
    with site.open(machine):
        pass
    assert site.cloud.count("/sso/oauth/token") == before + 1


@pytest.mark.parametrize("trouble", ["500", "503", "401", "nonsense", "empty", "cut", "drop", "hang",
                                     "slow", "elsewhere", "list"])
def test_a_failure_keeps_the_last_good_list(site, trouble):
    with site.patience(trouble):
        machine = site.machine()
        wait_until(lambda: site.refresh()["state"] == "ok", "a list")
        site.cloud.trouble = trouble
        state = site.refresh()
        assert state["state"] == "stale" and state["error"]
        assert set(site.consoles()) == {machine.uuid}
        site.refused(machine, "source_failed")


def test_hosts_in_trouble(site):
    """Half an answer is none: subjects would be lost."""
    machine = site.machine()
    site.refresh()
    site.cloud.trouble, site.cloud.where = "500", "/hosts"
    assert site.refresh()["state"] == "stale"
    assert site.consoles()[machine.uuid]["host_subject"] == HOST


def test_hosts_are_hidden(site):
    machine = site.machine()
    site.cloud.hide_hosts = True
    assert site.refresh()["error"] is None
    assert site.consoles()[machine.uuid]["host_subject"] is None
    last = site.check()["steps"][-1]
    assert (last["step"], last["result"]) == ("hosts", "failed") and "role" in last["advice"]


@pytest.mark.parametrize("alter", [
    nulls("address", "secure_port", "cluster", where="/vms"), without("display", where="/api/vms"),
    as_odd([], "name", "status_detail", "address", where="/vms"),
    as_odd({}, "secure_port", "type", where="/vms"),
])
def test_odd_types(site, alter):
    machine = site.machine()
    site.cloud.alter = alter
    assert site.refresh()["error"] is None
    assert set(site.consoles()) == {machine.uuid}


@pytest.mark.parametrize("alter, why", [
    (nulls("address", where="graphicsconsoles"), "source_failed"),
    (as_odd("-1", "tls_port", "port", where="graphicsconsoles"), "server_no_address"),
    (as_odd("../x", "id", where="graphicsconsoles"), "source_failed"),
    (as_odd("x" * 60, "value", where="ticket"), "source_failed"),
    (nulls("value", where="ticket"), "source_failed"),
    (as_odd("O=Lab,CN=other", "subject", where="/hosts/"), "server_subject"),
])
def test_answers_that_lead_nowhere(site, alter, why):
    machine = site.machine()
    site.refresh()
    site.cloud.alter = alter
    site.refused(machine, why)


def test_hostile_names(site):
    machines = [site.machine(name) for name in HOSTILE_NAMES]
    assert site.refresh()["consoles"] == len(machines)


def test_no_spice_console(site):
    machine = site.machine()
    site.cloud.vnc_only.add(machine.uuid)
    site.refresh()
    site.refused(machine, "source_failed", "no SPICE console")


def test_gone_between_list_and_open(site):
    machine = site.machine()
    site.refresh()
    grant = site.kerbside.grant(machine.uuid, "ovirt")
    site.cloud.vanish(machine)
    client = Client(site.kerbside.address, site.kerbside.client_tls())
    assert client.link(grant.token, Link(MAIN, 0, 0)) != OK
    assert site.kerbside.why_refused([client]) == {client.source: "console_gone"}
    client.close()


def test_migrated(site):
    """The subject is that of the host where the machine is now."""
    subject = "O=Lab,CN=hv2.example"
    server = Server(tls=site.authority.server_context(site.folder / "hv2", subject))
    machine = site.machine()
    site.refresh()
    site.cloud.migrate(machine, "hv2", tls_port=server.port, subject=subject)
    machine.set_ticket = lambda password, seconds: setattr(server, "ticket", password)
    with Session(site.kerbside, server, machine.uuid, source_name="ovirt"):
        pass
    server.stop()


@pytest.mark.parametrize("inside", [False, True])
def test_in_use_by_another(site, inside):
    machine = site.machine()
    site.refresh()
    site.cloud.fault_in_action = inside
    site.cloud.in_use_by_other.add(machine.uuid)
    site.refused(machine, "source_failed", "in use by another user")


def test_another_ca(site):
    """The engine's CA must be the configured one, by its bytes: lines may be cut as they like."""
    body = site.authority.pem.strip().split("\n")
    one_line = "\r\n".join([body[0], "".join(body[1:-1]), body[-1], ""])
    site.cloud.ca = one_line
    site.cloud.expire_sessions()
    assert site.refresh()["error"] is None
    site.cloud.ca = Authority("O=Lab,CN=Engine CA").pem
    site.cloud.expire_sessions()
    assert "ca_cert" in site.refresh()["error"]
    last = site.check()["steps"][-1]
    assert (last["step"], last["result"]) == ("login", "failed") and "ca_cert" in last["advice"]
    site.cloud.ca = site.authority.pem


def test_ca_from_the_engine(site, tmp_path):
    """Only from one that was verified."""
    machine = site.machine()
    with site.settings(ca_cert=None, verify=False):
        assert "ca_cert" in site.refresh()["error"]
    path = tmp_path / "api-ca.pem"
    path.write_text(site.authority.pem)
    with site.settings(ca_cert=None, verify=str(path)):
        assert site.refresh()["error"] is None
        with site.open(machine):
            pass


def test_the_api_has_another_ca(site, tmp_path):
    """verify: whose the API's certificate is; ca_cert: whose the hosts' are."""
    path = tmp_path / "api-ca.pem"
    path.write_text(site.authority.pem)
    hosts = Authority("O=Lab,CN=Hosts CA")
    server = Server(tls=hosts.server_context(site.folder / "hosts", HOST))
    machine = site.machine(server=server)
    site.cloud.ca = hosts.pem
    with site.settings(ca_cert=hosts.pem, verify=str(path)):
        assert site.refresh()["error"] is None
        with Session(site.kerbside, server, machine.uuid, source_name="ovirt"):
            pass
    server.stop()


def test_checked(site):
    site.machine()
    result = site.check()
    assert result["ok"], result
    assert [s["step"] for s in result["steps"]] == [
        "configuration", "resolve", "connect", "tls", "login", "hosts", "list"]
    assert not site.cloud.tickets, "a check voids nobody's ticket"


def test_wrong_password(site):
    with site.settings(password="wrong"):
        last = site.check()["steps"][-1]
        assert last["step"] == "login" and "Cannot authenticate" in last["detail"]


def test_ten_thousand(site):
    site.cloud.fill(10000, tls_port=1)
    assert site.refresh()["consoles"] == 10000
