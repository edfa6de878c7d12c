"""Machines of OpenNebula: the pool over XML-RPC, the way to one that is opened, its static password.
The front-end is a stand-in; behind its machines is a scripted SPICE server."""

import pytest
from clouds.opennebula import OpenNebula
from clouds.server import HOSTILE_NAMES
from source_site import SourceSite
from spice import Server

PASSWORD = "one's <password> & more"


class Site(SourceSite):
    name = "one"

    def make_cloud(self):
        cloud = OpenNebula(self.tls, "kerbside", PASSWORD)
        self.users = dict(cloud.users)
        return cloud

    def config(self, **more):
        return {"source": "one", "type": "opennebula", "url": f"{self.cloud.url}/RPC2",
                "username": "kerbside", "password": PASSWORD, "ca_cert": self.authority.pem,
                "refresh": "0", **more}

    def machine(self, name="web", **more) -> str:
        """Its uuid here: OpenNebula's number."""
        machine = self.cloud.instance(name, **{"port": self.behind.port, "ticket": "sesame", **more})
        self.refresh()
        return str(machine.more["id"])

    def of(self, uuid: str):
        return next(m for m in self.cloud.machines.values() if str(m.more["id"]) == uuid)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("one"))
    yield site
    site.stop()


@pytest.fixture
def site(shared):
    cloud = shared.cloud
    cloud.reset()
    cloud.empty()
    cloud.users = dict(shared.users)
    cloud.type_text, cloud.entities, cloud.fault_code = "SPICE", False, None
    cloud.expire_at_page = cloud.shift_at_page = cloud._pages = 0
    cloud.no_history, cloud.host_names, cloud.calls = set(), {}, []
    cloud.alter_vm = lambda text: text
    shared.behind.ticket = "sesame"
    assert shared.refresh()["error"] is None
    yield shared


# ---- the list ----


def test_what_is_listed(site):
    web = site.machine(address="192.0.2.3", port=6526)
    site.machine("off", running=False)
    site.machine("text", spice=False)
    site.machine("vnc", more={"graphics": {"TYPE": "vnc"}})
    site.machine("portless", more={"graphics": {"PORT": None}})
    site.machine("booting", more={"lcm": 2})
    moving = site.machine("moving", more={"lcm": 4})
    nowhere = site.machine("nowhere")
    site.cloud.no_history.add(site.of(nowhere).uuid)
    site.refresh()
    assert set(site.consoles()) == {web, moving}
    row = site.consoles()[web]
    assert (row["name"], row["project"], row["state"], row["owner"]) == (
        "web", "users", "RUNNING", None)
    assert (row["hypervisor"], row["hypervisor_ip"], row["insecure_port"], row["protocol"]) == (
        "192.0.2.3", None, 6526, "spice")
    assert site.consoles()[moving]["state"] == "MIGRATE"
    for site.cloud.type_text in ("spice", "Spice"):
        assert site.refresh()["consoles"] == 2
    site.cloud.empty()
    assert site.refresh()["consoles"] == 0


def test_owners(site):
    """Only where the configuration says what their names are here."""
    web = site.machine(owner="alice")
    with site.settings(owner="oidc:%u"):
        site.refresh()
        assert site.consoles()[web]["owner"] == "oidc:alice"


def test_pages(site):
    site.cloud.fill(999, port=1)
    site.cloud.calls.clear()
    assert site.refresh()["consoles"] == 999
    ranges = [params[2:4] for method, params in site.cloud.calls if method == "one.vmpool.info"]
    assert len(ranges) > 4 and all(end == -200 for _, end in ranges)


@pytest.mark.parametrize("count", [199, 200, 201, 399])
def test_pages_that_end_evenly(site, count):
    site.cloud.fill(count, port=1)
    assert site.refresh()["consoles"] == count


def test_a_machine_that_goes_between_pages(site):
    """Pages are counted by number: without a second look another one would be missed."""
    site.cloud.fill(450, port=1)
    site.cloud._pages, site.cloud.shift_at_page = 0, 2
    assert site.refresh()["consoles"] == 449


def test_an_account_that_ends_between_pages(site):
    site.cloud.fill(300, port=1)
    assert site.refresh()["consoles"] == 300
    site.cloud._pages, site.cloud.expire_at_page = 0, 1
    state = site.refresh()
    assert "couldn't be authenticated" in state["error"] and "0x0100" in state["error"]
    assert state["state"] == "stale" and state["consoles"] == 300
    assert PASSWORD not in site.kerbside.process.log()


@pytest.mark.parametrize("trouble", ["500", "503", "429", "nonsense", "empty", "cut", "drop",
                                     "elsewhere", "fault"])
def test_trouble_keeps_the_list(site, trouble):
    web = site.machine()
    site.cloud.trouble = trouble
    if trouble == "fault":
        site.cloud.trouble, site.cloud.fault_code = None, -506
    state = site.refresh()
    assert state["error"] and state["state"] == "stale" and set(site.consoles()) == {web}
    assert site.denied(web)["reason"] == "source_failed"


BOMB = ('<!DOCTYPE VM [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
        '<!ENTITY f SYSTEM "file:///etc/passwd">]>')


@pytest.mark.parametrize("pool", [
    f"{BOMB}<VM_POOL>&b;&f;</VM_POOL>", "<VM_POOL><VM>", "<VM></VM>", "", "&nbsp;",
    "<VM_POOL>" + "<a>" * 300 + "</a>" * 300 + "</VM_POOL>",
], ids=["bomb", "cut", "other", "empty", "entity", "deep"])
def test_documents_that_are_none(site, pool):
    web = site.machine()
    site.cloud._pool = lambda *args: site.cloud._reply(True, pool, 0)
    try:
        assert "VM_POOL" in site.refresh()["error"]
    finally:
        del site.cloud._pool
    assert set(site.consoles()) == {web}


@pytest.mark.parametrize("change, left", [
    (lambda text: text.replace("<UNAME>", "<U>").replace("</UNAME>", "</U>"), 1),
    (lambda text: text.replace("<NAME>", "<N>").replace("</NAME>", "</N>"), 1),
    (lambda text: text.replace("<STATE>3", "<STATE>three"), 0),
    (lambda text: text.replace("<ID>", "<ID>a/"), 0),
    (lambda text: text.replace("HISTORY_RECORDS", "HISTORY"), 0),
    (lambda text: text.replace("<GRAPHICS>", "<GRAPHICS><PORT>-1</PORT>"), 0),
    (lambda text: text.replace("<VM>", "<VM><FUTURE a='b'/>"), 1),
])
def test_odd_machines(site, change, left):
    site.machine()
    site.cloud.alter_vm = change
    state = site.refresh()
    assert (state["error"], state["consoles"]) == (None, left)


def test_hostile_names(site):
    for site.cloud.entities in (False, True):
        for name in HOSTILE_NAMES:
            site.cloud.instance(name, port=1)
    assert site.refresh()["consoles"] == 2 * len(HOSTILE_NAMES)
    assert {n for n in HOSTILE_NAMES if n.isprintable()} <= site.names()


def test_ten_thousand(site):
    site.cloud.fill(10000, port=1)
    assert site.refresh()["consoles"] == 10000


# ---- sessions ----


def test_a_desktop_opens(site):
    web = site.machine()
    with site.open(web) as session:
        session.channel().exchange()
        assert session.main.server.password == "sesame"
    calls = [method for method, _ in site.cloud.calls]
    assert calls.count("one.vm.info") == 1  # one for the session, not one a channel


def test_passwords_and_addresses(site):
    """What the machine has now counts, whatever the list said."""
    web = site.machine(address="kvm1.invalid")
    site.behind.ticket = site.of(web).ticket = "a ]]> b & <c>"
    site.of(web).more["graphics"] = {"LISTEN": "127.0.0.1"}
    denied = site.denied(web)
    assert denied["reason"] == "source_failed" and "LISTEN" in denied["detail"]
    site.cloud.host_names["hv1"] = "localhost"
    with site.open(web):
        pass
    site.of(web).ticket = "x" * 60
    assert "59 bytes" in site.denied(web)["detail"]
    del site.of(web).more["graphics"]
    site.of(web).ticket = "a ]]> b & <c>"
    site.cloud.host_names["hv1"] = "kvm1"
    with site.settings(address_map={"kvm1": "127.0.0.1"}):
        with site.open(web):
            pass


def test_a_machine_that_moved(site):
    web = site.machine(port=1)
    site.cloud.migrate(site.of(web), "hv2", port=site.behind.port)
    with site.open(web):
        pass


def test_the_place_of_another(site):
    web, other = site.machine(), site.machine("other", port=1)
    new = Server()
    site.of(web).port, site.of(other).port = new.port, site.behind.port
    site.behind, new = new, site.behind
    try:
        with site.open(web):
            pass
    finally:
        site.behind, new = new, site.behind
        new.stop()


@pytest.mark.parametrize("change", [
    lambda site, m: site.cloud.vanish(m), lambda site, m: setattr(m, "running", False),
    lambda site, m: setattr(m, "spice", False),
])
def test_gone_between_list_and_open(site, change):
    web = site.machine()
    change(site, site.of(web))
    assert site.denied(web)["reason"] == "console_gone"


# ---- the configuration ----


def test_source_check(site):
    site.machine("büro")
    steps = site.check()
    assert [s["step"] for s in steps] == ["configuration", "resolve", "connect", "tls", "login",
                                          "list"]
    assert all(s["result"] == "ok" for s in steps), steps
    assert "6.8.0" in steps[-2]["detail"] and "büro" in steps[-1]["detail"]
    site.cloud.users["kerbside"] = "another"
    last = site.check()[-1]
    assert (last["step"], last["result"]) == ("login", "failed")
    assert "password" in last["advice"] and "authenticated" in last["detail"]
    with site.settings(url=f"{site.cloud.url}/elsewhere"):
        last = site.check()[-1]
        assert last["step"] == "login" and "oned" in last["advice"]


def test_the_page_of_the_source(site):
    example = {**site.page_example(), "password": PASSWORD}
    with site.kerbside.settings(sources=[{**example, "refresh": "0"}]):
        assert site.refresh()["error"] is None
