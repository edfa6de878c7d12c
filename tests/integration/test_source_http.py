"""The HTTP directory, and what all sources that ask a cloud have in common: lists that come and go,
clouds that fail, hang and lie, and the consoles that are opened meanwhile."""

import contextlib
import json
import threading

import pytest
from clouds.directory import Directory
from clouds.server import HOSTILE_NAMES, as_odd, as_text, nulls
from common.pki import Authority
from common.process import wait_until
from daemon import Kerbside
from session import Session
from spice import CHANNEL_NOT_AVAILABLE, ERROR, MAIN, OK, Client, Link, Server

SLOWLY = "1h"  # refreshed when a test asks, so that nothing comes in between


class Site:
    """A kerbside with the directory `inventory` and a static source beside it."""

    def __init__(self, folder, **more):
        self.authority = Authority("O=Cloud,CN=Cloud CA")
        self.cloud = Directory(self.authority.server_context(folder / "tls", "CN=localhost"))
        self.server, self.beside = Server(), Server()
        self.kerbside = Kerbside(folder / "kerbside", [self.source(**more), {
            "source": "lab", "type": "static", "tls": "plain", "consoles": [
                {"uuid": "desk", "hypervisor_ip": "127.0.0.1", "insecure_port": self.beside.port,
                 "ticket": "sesame"}]}], env={"NO_PROXY": "localhost"})

    def source(self, **more) -> dict:
        return {"source": "inventory", "type": "http", "url": f"{self.cloud.url}/consoles",
                "token": self.cloud.token, "ca_cert": self.authority.pem, "tls": "plain",
                "refresh": SLOWLY, "timeout": "60s", **more}

    def machine(self, name="web", **more):
        return self.cloud.add(name, **{"port": self.server.port, "ticket": "sesame", **more})

    def refresh(self, source="inventory") -> dict:
        return json.loads(self.kerbside.ask("POST", f"/api/v1/sources/{source}/refresh")[1])

    def state(self, source="inventory") -> dict:
        return json.loads(self.kerbside.ask("GET", f"/api/v1/sources/{source}")[1])

    def check(self) -> dict:
        return json.loads(self.kerbside.ask("POST", "/api/v1/sources/inventory/check")[1])

    def consoles(self, source="inventory") -> dict:
        rows = self.kerbside.items("/api/v1/consoles", source=source)
        return {row["uuid"]: row for row in rows}

    def open(self, machine, **more) -> Session:
        return Session(self.kerbside, self.server, machine.uuid, source_name="inventory", **more)

    def link_code(self, uuid) -> int:
        client = Client(self.kerbside.address, self.kerbside.client_tls())
        code = client.link(self.kerbside.grant(uuid, "inventory").token, Link(MAIN, 0, 0))
        client.close()
        return code

    def settings(self, **change):
        beside = self.kerbside.configuration["sources"][1]
        return self.kerbside.settings(sources=[self.source(**change), beside])

    def patience(self, trouble: str):
        """One that never answers is waited for a little, all others as long as it takes."""
        quick = trouble in ("hang", "slow")
        return self.settings(timeout="2s") if quick else contextlib.nullcontext()

    def stop(self):
        self.cloud.release()
        self.kerbside.stop()
        self.cloud.stop()
        self.server.stop()
        self.beside.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    held = Site(tmp_path_factory.mktemp("directory"))
    yield held
    held.stop()


@pytest.fixture(autouse=True)
def calm(request):
    if "site" not in request.fixturenames:
        yield
        return
    site = request.getfixturevalue("site")
    yield
    site.cloud.reset()
    site.cloud.empty()
    site.cloud.token, site.cloud.expire_at_page = "a directory's token", 0
    site.cloud.page_size, site.cloud.records = 0, None
    site.cloud.bare = site.cloud.no_etag = site.cloud.wrong_host_links = False
    assert site.refresh()["error"] is None


def test_listed_and_opened(site):
    machine = site.machine("büro", more={"project": "staff", "state": "running"})
    assert site.refresh()["consoles"] == 1
    row = site.consoles()[machine.uuid]
    assert (row["name"], row["project"], row["state"]) == ("büro", "staff", "running")
    assert (row["protocol"], row["transport"]) == ("spice", "tcp")
    with site.open(machine) as session:
        session.channel().exchange()


@pytest.mark.parametrize("trouble", ["chunked", "gzip"])
def test_encodings(site, trouble):
    machine = site.machine()
    site.cloud.trouble = trouble
    assert site.refresh()["error"] is None
    assert set(site.consoles()) == {machine.uuid}


def test_reconciled(site):
    """Added, changed and removed, each said once; what did not change is not said again."""
    first, second = site.machine("first"), site.machine("second")
    mark = site.kerbside.mark()
    site.refresh()
    site.refresh()
    assert {r["console"] for r in site.kerbside.audit("console.added", mark)} == {
        first.uuid, second.uuid}
    assert not site.kerbside.audit("console.changed", mark)
    first.name = "renamed"
    site.cloud.vanish(second)
    site.refresh()
    (changed,) = site.kerbside.audit("console.changed", mark)
    assert (changed["console"], changed["detail"]) == (first.uuid, "name")
    (removed,) = site.kerbside.audit("console.removed", mark)
    assert removed["console"] == second.uuid


def test_unchanged_costs_nothing(site):
    site.machine()
    site.refresh()
    site.cloud.requests.clear()
    assert site.refresh()["error"] is None
    (request,) = site.cloud.requests
    assert request.headers["if-none-match"].startswith('"')


def test_pages(site):
    """Of a next link only path and query count: behind a balancer it may name any host."""
    site.cloud.fill(25, port=1)
    site.cloud.page_size, site.cloud.wrong_host_links = 10, True
    assert site.refresh()["consoles"] == 25
    assert site.cloud.count("/consoles") >= 3


def test_token_expires_between_pages(site):
    site.cloud.fill(5, port=1)
    assert site.refresh()["consoles"] == 5
    site.cloud.page_size, site.cloud.no_etag = 2, True
    site.cloud._pages, site.cloud.expire_at_page = 0, 1
    state = site.refresh()
    assert "401" in state["error"] and state["state"] == "stale" and state["consoles"] == 5


@pytest.mark.parametrize("trouble, words", [
    ("500", "status 500"), ("401", "status 401"), ("429", "status 429"), ("503", "status 503"),
    ("nonsense", "not what it should be"), ("empty", "not what it should be"), ("cut", "listing"),
    ("drop", "listing"), ("hang", "listing"), ("slow", "listing"), ("elsewhere", "status 302"),
])
def test_a_failure_keeps_the_last_good_list(site, trouble, words):
    with site.patience(trouble):
        machine = site.machine()
        wait_until(lambda: site.refresh()["state"] == "ok", "a list")
        site.machine("not seen")
        mark = site.kerbside.mark()
        site.cloud.trouble = trouble
        state = site.refresh()
        assert state["state"] == "stale" and state["stale_since"] and words in state["error"]
        assert set(site.consoles()) == {machine.uuid}
        failed = site.kerbside.wait_audit("source.failed", mark)
        assert failed["detail"] == state["error"]
        # It cannot say where the console is now: nobody is led to a place that may be another's.
        assert site.link_code(machine.uuid) == ERROR
        site.cloud.reset()
        state = site.refresh()
        assert state["state"] == "ok" and state["consoles"] == 2
        with site.open(machine):
            pass


def test_a_list_too_long(site):
    site.machine()
    site.refresh()
    site.cloud.records = [{"uuid": "x", "name": "y" * (65 << 20)}]
    assert "longer than" in site.refresh()["error"]


def test_odd_records(site):
    """One that cannot be used costs itself alone."""
    good = {"uuid": "good", "hypervisor_ip": "127.0.0.1", "insecure_port": site.server.port}
    site.cloud.records = [
        good, {**good, "uuid": 7}, {**good, "uuid": "text", "insecure_port": "5900"},
        {**good, "uuid": "null", "secure_port": None, "ticket": None, "owner": None},
        {}, None, [], "text", 7, {**good, "uuid": ""}, {**good, "uuid": None},
        {**good, "uuid": "a/b"}, {**good, "uuid": ".."}, {**good, "uuid": "a\nb"},
        {**good, "uuid": "x" * 256}, {**good, "uuid": "none", "insecure_port": 0},
        {**good, "uuid": "big", "insecure_port": 65536}, {**good, "uuid": "no", "hypervisor_ip": 1.5},
        {**good, "uuid": "long", "ticket": "x" * 60},
        {**good, "uuid": "rdp", "protocol": "rdp"},
        {"uuid": "socket", "unix_socket": "/run/docker.sock"},
    ]
    assert site.refresh()["error"] is None
    assert set(site.consoles()) == {"good", "7", "text", "null"}


def test_hostile_names(site):
    for name in HOSTILE_NAMES:
        site.machine(name)
    assert site.refresh()["consoles"] == len(HOSTILE_NAMES)
    for uuid in site.consoles():
        _, text = site.kerbside.ask("POST", f"/api/v1/consoles/inventory/{uuid}/grants", {},
                                    {"Accept": "application/x-virt-viewer"})
        keys = [line.split(b"=")[0] for line in text.splitlines()]
        assert len(keys) == len(set(keys)), text  # no name makes a line of its own


@pytest.mark.parametrize("alter", [
    nulls("hypervisor", "host_subject", "ticket"), as_text("insecure_port"),
    as_odd({"a": []}, "name", "host_subject"),
])
def test_odd_types(site, alter):
    machine = site.machine()
    site.cloud.alter = alter
    assert site.refresh()["error"] is None
    assert set(site.consoles()) == {machine.uuid}


def test_gone_between_list_and_open(site):
    machine = site.machine()
    site.refresh()
    grant = site.kerbside.grant(machine.uuid, "inventory")
    site.cloud.vanish(machine)
    client = Client(site.kerbside.address, site.kerbside.client_tls())
    assert client.link(grant.token, Link(MAIN, 0, 0)) != OK
    assert site.kerbside.why_refused([client]) == {client.source: "console_gone"}
    client.close()


def test_the_place_of_another(site):
    """A machine moved and another came to where it was: the old row opens the right one."""
    machine, other = site.machine(), site.machine("other", port=1)
    site.refresh()
    new = Server()
    other.port, machine.port = machine.port, new.port
    with Session(site.kerbside, new, machine.uuid, source_name="inventory"):
        assert site.server.legs.empty()
    new.stop()


def test_a_hung_directory_delays_nobody(site):
    with site.patience("hang"):
        machine = site.machine()
        wait_until(lambda: site.refresh()["state"] == "ok", "a list")
        site.cloud.trouble = "hang"
        grant = site.kerbside.grant(machine.uuid, "inventory")
        waiting = Client(site.kerbside.address, site.kerbside.client_tls())
        # One session of it is being opened, and does not come about; the other source goes on.
        codes = []
        thread = threading.Thread(
            target=lambda: codes.append(waiting.link(grant.token, Link(MAIN, 0, 0))))
        thread.start()
        wait_until(lambda: site.cloud.count("/consoles") >= 1, "the directory is asked")
        with Session(site.kerbside, site.beside, "desk") as session:
            session.channel().exchange()
            site.refresh("lab")
            site.kerbside.reload()
        thread.join()
        assert codes == [ERROR]
        waiting.close()


def test_checked(site):
    site.machine("büro")
    site.refresh()
    result = site.check()
    assert result["ok"], result
    assert [s["step"] for s in result["steps"]] == [
        "configuration", "resolve", "connect", "tls", "login", "list"]
    assert "büro" in result["steps"][-1]["detail"]
    assert site.state()["state"] == "ok"


@pytest.mark.parametrize("change, step, advice", [
    ({"url": "https://nowhere.invalid/consoles"}, "resolve", "resolver"),
    ({"url": "https://localhost:1/consoles"}, "connect", "listens"),
    ({"ca_cert": Authority("O=Other,CN=Other CA").pem}, "tls", "ca_cert"),
    ({"token": "wrong"}, "login", "token"),
])
def test_check_says_what_is_wrong(site, change, step, advice):
    sources = site.kerbside.configuration["sources"]
    with site.kerbside.settings(sources=[site.source(**change), sources[1]]):
        result = site.check()
        assert not result["ok"]
        last = result["steps"][-1]
        assert (last["step"], last["result"]) == (step, "failed") and advice in last["advice"], last
        wait_until(lambda: site.state()["error"], "the source itself says so too")


def test_not_verified(site):
    machine = site.machine()
    sources = site.kerbside.configuration["sources"]
    strange = site.source(ca_cert=Authority("O=Other,CN=Other CA").pem, verify=False)
    with site.kerbside.settings(sources=[strange, sources[1]]):
        assert site.refresh()["error"] is None
        assert set(site.consoles()) == {machine.uuid}


def test_one_console_asked_alone(site):
    """console_url: the list is not fetched to open one."""
    machine = site.machine()
    sources = site.kerbside.configuration["sources"]
    handle = site.cloud.handle

    def with_records(request):
        if not request.path.startswith("/one/"):
            return handle(request)
        answer = handle(type(request)(request.method, "/consoles", {}, request.headers, b""))
        found = [r for r in answer.body["consoles"] if r["uuid"] == request.path[5:]]
        answer.status, answer.body = (200, found[0]) if found else (404, {})
        return answer

    site.cloud.handle = with_records
    try:
        one = site.source(console_url=f"{site.cloud.url}/one/{{uuid}}")
        with site.kerbside.settings(sources=[one, sources[1]]):
            site.refresh()
            site.cloud.requests.clear()
            with site.open(machine):
                assert [r.path for r in site.cloud.requests] == [f"/one/{machine.uuid}"]
            site.cloud.machines.clear()
            assert site.link_code(machine.uuid) == CHANNEL_NOT_AVAILABLE
    finally:
        site.cloud.handle = handle


def test_address_map(site):
    machine = site.machine(address="10.1.0.7", node="hv.internal")
    sources = site.kerbside.configuration["sources"]
    mapped = site.source(address_map={"10.0.0.0/8": "127.0.0.1"})
    with site.kerbside.settings(sources=[mapped, sources[1]]):
        site.refresh()
        assert site.consoles()[machine.uuid]["hypervisor_ip"] == "10.1.0.7"
        with site.open(machine):
            pass


def test_refreshed_by_the_clock(tmp_path):
    site = Site(tmp_path, refresh="100ms")
    try:
        machine = site.machine()
        wait_until(lambda: machine.uuid in site.consoles(), "the machine is listed")
        site.cloud.vanish(machine)
        wait_until(lambda: not site.consoles(), "the machine is gone")
    finally:
        site.stop()


def test_opened_while_listed_for_the_first_time(tmp_path):
    """After a start the store knows the consoles before the source does: who comes then waits for
    the first list, and is not led by what the store remembers."""
    site = Site(tmp_path)
    try:
        machine = site.machine()
        site.refresh()
        grant = site.kerbside.grant(machine.uuid, "inventory")
        site.kerbside.drain()
        site.cloud.trouble, site.cloud.times = "hang", 1
        site.kerbside.start()
        with Session(site.kerbside, site.beside, "desk"):
            assert site.state()["state"] in ("pending", "failed")
        site.cloud.release()
        wait_until(lambda: site.state()["state"] == "ok", "the source is listed",
                   explain=site.kerbside.last_words)
        with site.open(machine, token=grant.token):
            pass
    finally:
        site.stop()


def test_ends_while_a_directory_hangs(tmp_path):
    site = Site(tmp_path)
    try:
        site.cloud.trouble = "hang"
        mark = len(site.cloud.requests)
        site.kerbside.reload()
        wait_until(lambda: len(site.cloud.requests) > mark, "the directory is asked")
        assert site.kerbside.drain() == 0
    finally:
        site.stop()


def test_ten_thousand(site):
    site.cloud.fill(10000, port=site.server.port, ticket="sesame")
    try:
        assert site.refresh()["consoles"] == 10000
        some = list(site.cloud.machines.values())[4321]
        with site.open(some):
            pass
    finally:
        site.cloud.empty()
        assert site.refresh()["consoles"] == 0
