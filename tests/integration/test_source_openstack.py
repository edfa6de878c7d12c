"""OpenStack: Keystone's logins, Nova's servers and consoles, and the tokens that Nova gives its users."""

import contextlib
import json
import threading

import pytest
from clouds.keystone import Keystone
from clouds.nova import Nova
from clouds.server import HOSTILE_NAMES, as_odd, as_text, nulls, without
from common.pki import Authority
from common.process import wait_until
from daemon import Kerbside
from session import Session
from spice import MAIN, OK, Client, Link, Server

VV = "application/x-virt-viewer"


class Site:
    def __init__(self, folder):
        self.authority = Authority("O=Cloud,CN=Cloud CA")
        tls = self.authority.server_context(folder / "api", "CN=localhost")
        self.keystone = k = Keystone(tls)
        self.project, self.theirs = k.project("service"), k.project("theirs")
        self.gateway, self.alice = k.user("gateway", "secret"), k.user("alice", "hers")
        k.assign(self.gateway, "admin", self.project)
        k.assign(self.alice, "member", self.theirs)
        self.nova = Nova(tls, k)
        self.server = Server()
        self.kerbside = Kerbside(folder / "kerbside", [self.source()],
                                 env={"NO_PROXY": "localhost"})

    def source(self, **more) -> dict:
        wish = {"source": "cloud", "type": "openstack", "url": self.keystone.url,
                "username": "gateway", "password": "secret", "project_name": "service",
                "refresh": "1h", "timeout": "60s", "exchange": "shared",
                "ca_cert": self.authority.pem, **more}
        return {k: v for k, v in wish.items() if v is not None}

    def settings(self, *more, **change):
        return self.kerbside.settings(sources=[self.source(**change), *more])

    def machine(self, name="web", **more):
        self.server.ticket = ""  # Nova sets none
        return self.nova.owned(name, self.theirs, self.alice,
                               **{"port": self.server.port, **more})

    def refresh(self, name="cloud") -> dict:
        return json.loads(self.kerbside.ask("POST", f"/api/v1/sources/{name}/refresh")[1])

    def check(self) -> dict:
        return json.loads(self.kerbside.ask("POST", "/api/v1/sources/cloud/check")[1])

    def consoles(self, name="cloud") -> dict:
        return {row["uuid"]: row for row in self.kerbside.items("/api/v1/consoles", source=name)}

    def open(self, machine, **more) -> Session:
        return Session(self.kerbside, self.server, machine.uuid, source_name="cloud", **more)

    def refused(self, machine, why: str, words=""):
        mark = self.kerbside.mark()
        client = Client(self.kerbside.address, self.kerbside.client_tls())
        grant = self.kerbside.grant(machine.uuid, "cloud")
        assert client.link(grant.token, Link(MAIN, 0, 0)) != OK
        row = self.kerbside.wait_audit("channel.refused", mark, client_address=client.source)
        client.close()
        assert row["reason"] == why and words in (row["detail"] or ""), row

    def exchange(self, token, path="/nova-console.vv", method="GET", **headers):
        """What somebody's browser gets for Nova's link, with what Horizon adds to it."""
        return self.kerbside.call(method, f"{path}?token={token}&title=web(1)", headers=headers)

    def patience(self, trouble: str):
        """One that never answers is waited for a little, all others as long as it takes."""
        quick = trouble in ("hang", "slow")
        return self.settings(timeout="2s") if quick else contextlib.nullcontext()

    def stop(self):
        self.nova.release()
        self.keystone.release()
        self.kerbside.stop()
        self.nova.stop()
        self.keystone.stop()
        self.server.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    held = Site(tmp_path_factory.mktemp("openstack"))
    yield held
    held.stop()


@pytest.fixture(autouse=True)
def calm(site):
    yield
    nova = site.nova
    nova.reset()
    site.keystone.reset()
    nova.empty()
    nova.max_limit, nova.expire_at_page, nova.maximum = 1000, 0, (2, 104)
    nova.wrong_host_links, nova.spice_enabled = False, True
    nova.down_cells.clear()
    nova.not_ready.clear()
    site.keystone.roles[(site.gateway, site.project)] = ["admin"]
    assert site.refresh()["error"] is None


def file_of(text: bytes) -> dict:
    return dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)


def code_of(text: bytes) -> str:
    return json.loads(text)["error"]["code"]


# ---- listing and opening ----

def test_listed_and_opened(site):
    machine = site.machine("büro")
    assert site.refresh()["consoles"] == 1
    row = site.consoles()[machine.uuid]
    assert (row["name"], row["project"], row["owner"], row["state"], row["hypervisor"]) == (
        "büro", site.theirs, f"keystone-id:{site.alice}", "ACTIVE", "hv1.example")
    with site.open(machine) as session:
        session.channel().exchange()
        assert site.nova.count("/remote-consoles") == 1, "asked once a session"


def test_application_credential(site):
    credential = site.keystone.application_credential(site.gateway, site.project, "kb", "s3cret")
    machine = site.machine()
    with site.settings(username=None, password=None, project_name=None,
                       application_credential_id=credential,
                       application_credential_secret="s3cret"):
        assert site.refresh()["error"] is None
        with site.open(machine):
            pass


def test_pages(site):
    """Of a next link only the query counts; a last page that is full has one more, which is empty."""
    site.nova.fill(25)
    site.nova.max_limit, site.nova.wrong_host_links = 5, True
    assert site.refresh()["consoles"] == 25


def test_token_expires_between_pages(site):
    site.nova.fill(25)
    site.nova.max_limit = 10
    site.nova.count_pages_anew()
    site.nova.expire_at_page = 1
    assert site.refresh()["consoles"] == 25, "logged in again, once, and went on"


def test_logged_in_once(site):
    site.machine()
    site.refresh()
    before = site.keystone.count("/auth/tokens")
    site.refresh()
    assert site.keystone.count("/auth/tokens") == before
    site.keystone.expire_tokens()
    assert site.refresh()["error"] is None
    assert site.keystone.count("/auth/tokens") == before + 1


def test_a_cell_is_down(site):
    """Its servers come with hardly a field: they are not gone."""
    machine = site.machine()
    site.refresh()
    site.nova.down_cells.add(machine.uuid)
    assert site.refresh()["consoles"] == 1
    assert site.consoles()[machine.uuid]["state"] == "UNKNOWN"


def test_without_the_right_to_see_all(site):
    """The account's own project is what it may see then."""
    site.machine()
    mine = site.nova.owned("mine", site.project, site.gateway, port=site.server.port)
    site.keystone.roles[(site.gateway, site.project)] = ["member"]
    assert site.refresh()["error"] is None
    assert set(site.consoles()) == {mine.uuid}
    site.refused(mine, "source_failed", "lacks a role")


def test_not_listed(site):
    with site.settings(list=False):
        site.machine()
        assert site.refresh()["error"] is None


@pytest.mark.parametrize("service", ["nova", "keystone"])
@pytest.mark.parametrize("trouble", ["500", "503", "429", "nonsense", "empty", "cut", "drop", "hang",
                                     "slow", "elsewhere", "list"])
def test_a_failure_keeps_the_last_good_list(site, service, trouble):
    with site.patience(trouble):
        machine = site.machine()
        wait_until(lambda: site.refresh()["state"] == "ok", "a list")
        site.keystone.expire_tokens()
        getattr(site, service).trouble = trouble
        state = site.refresh()
        assert state["state"] == "stale" and state["error"]
        assert set(site.consoles()) == {machine.uuid}
        site.refused(machine, "source_failed")


@pytest.mark.parametrize("alter", [
    nulls("OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname", "name", "tenant_id"),
    without("user_id", "status", "name"), as_odd([], "name", "tenant_id", "status", "user_id"),
    as_odd("a/../b", "user_id"),
])
def test_odd_types(site, alter):
    machine = site.machine()
    site.nova.alter = alter
    assert site.refresh()["error"] is None
    assert set(site.consoles()) == {machine.uuid}


@pytest.mark.parametrize("alter, why", [
    (nulls("host", where="auth-tokens"), "source_failed"),
    (without("instance_uuid", where="auth-tokens"), "source_failed"),
    (as_odd("another", "instance_uuid", where="auth-tokens"), "source_failed"),
    (as_odd("../x", "instance_uuid", where="auth-tokens"), "source_failed"),
    (nulls("port", where="auth-tokens"), "server_no_address"),
    (as_odd(-1, "port", "tls_port", where="auth-tokens"), "server_no_address"),
    (nulls("url", where="remote-consoles"), "source_failed"),
])
def test_answers_that_lead_nowhere(site, alter, why):
    machine = site.machine()
    site.refresh()
    site.nova.alter = alter
    site.refused(machine, why)


def test_ports_as_text(site):
    machine = site.machine()
    site.refresh()
    site.nova.alter = as_text("port", where="auth-tokens")
    with site.open(machine):
        pass


def test_hostile_names(site):
    machines = [site.machine(name) for name in HOSTILE_NAMES]
    assert site.refresh()["consoles"] == len(machines)


def test_gone_between_list_and_open(site):
    machine = site.machine()
    site.refresh()
    grant = site.kerbside.grant(machine.uuid, "cloud")
    site.nova.vanish(machine)
    client = Client(site.kerbside.address, site.kerbside.client_tls())
    assert client.link(grant.token, Link(MAIN, 0, 0)) != OK
    assert site.kerbside.why_refused([client]) == {client.source: "console_gone"}
    client.close()


def test_migrated(site):
    machine = site.machine(address="192.0.2.1", port=1)
    site.refresh()
    site.nova.migrate(machine, "hv2", address="127.0.0.1", port=site.server.port)
    with site.open(machine):
        pass


@pytest.mark.parametrize("how, words", [
    (lambda s, m: s.nova.not_ready.add(m.uuid), "not yet ready"),
    (lambda s, m: setattr(s.nova, "spice_enabled", False), "Unavailable console type"),
    (lambda s, m: setattr(s.nova, "maximum", (2, 96)), "2025.1"),
])
def test_nova_says_no(site, how, words):
    machine = site.machine()
    site.refresh()
    how(site, machine)
    site.refused(machine, "source_failed", words)


def test_ten_thousand(site):
    site.nova.fill(10000)
    assert site.refresh()["consoles"] == 10000


# ---- check ----

def test_checked(site):
    site.machine()
    result = site.check()
    assert result["ok"], result
    assert [s["step"] for s in result["steps"]] == [
        "configuration", "resolve", "connect", "tls", "login", "role", "list"]
    assert site.nova.count("/remote-consoles") == 0, "a check makes no console"


@pytest.mark.parametrize("change, step, advice", [
    ({"password": "wrong"}, "login", "password"),
    ({"project_name": "theirs"}, "login", "role"),
    ({"region": "Mars"}, "login", "region"),
    ({"ca_cert": Authority("O=Other,CN=Other CA").pem}, "tls", "ca_cert"),
    ({"username": None}, "login", ""),
])
def test_check_says_what_is_wrong(site, change, step, advice):
    with site.settings(**change):
        last = site.check()["steps"][-1]
        assert (last["step"], last["result"]) == (step, "failed") and advice in last["advice"], last


def test_check_finds_a_missing_role(site):
    site.keystone.roles[(site.gateway, site.project)] = ["member"]
    last = site.check()["steps"][-1]
    assert last["step"] == "role" and "admin" in last["advice"]


def test_check_finds_an_old_nova(site):
    site.nova.maximum = (2, 96)
    last = site.check()["steps"][-1]
    assert last["step"] == "role" and "2025.1" in last["detail"] + last["advice"]


# ---- Nova's tokens ----

@pytest.mark.parametrize("path", ["/nova-console.vv", "/nova/cloud/console.vv"])
def test_a_token_opens_its_console_once(site, path):
    machine = site.machine()
    site.refresh()
    token = site.nova.console_token(machine)
    mark = site.kerbside.mark()
    status, headers, text = site.exchange(token, path)
    assert (status, headers.get_content_type()) == (200, VV), text
    made = site.kerbside.wait_audit("grant.created", mark)
    assert (made["console"], made["user"]) == (machine.uuid, f"keystone-id:{site.alice}")
    with site.open(machine, token=file_of(text)["password"]):
        pass
    status, _, text = site.exchange(token, path)
    assert (status, code_of(text)) == (404, "token_used")
    assert token not in site.kerbside.process.log()


def test_used_for_good(site):
    """Also after a restart: Nova itself would redeem it again for ten minutes."""
    machine = site.machine()
    site.refresh()
    token = site.nova.console_token(machine)
    assert site.exchange(token)[0] == 200
    site.kerbside.drain()
    site.kerbside.start()
    assert site.exchange(token)[0] == 404
    assert site.refresh()["error"] is None


def test_many_at_once(site):
    """One token, twelve browsers: one file."""
    machine = site.machine()
    site.refresh()
    token = site.nova.console_token(machine)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(site.exchange(token)[0]))
               for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(200) == 1, answers


def test_who_only_looks(site):
    machine = site.machine()
    site.refresh()
    token = site.nova.console_token(machine)
    assert site.exchange(token, method="HEAD")[0] == 200
    assert site.exchange(token, **{"Sec-Purpose": "prefetch"})[::2] == (200, b"")
    assert site.exchange(token)[0] == 200


def test_a_server_that_was_not_listed_yet(site):
    site.refresh()
    machine = site.machine("new")
    status, _, text = site.exchange(site.nova.console_token(machine))
    assert status == 200, text
    with site.open(machine, token=file_of(text)["password"]):
        pass
    assert machine.uuid in site.consoles()


def test_without_a_list(site):
    with site.settings(list=False):
        site.refresh()
        machine = site.machine()
        status, _, text = site.exchange(site.nova.console_token(machine))
        assert status == 200, text
        site.refresh()
        with site.open(machine, token=file_of(text)["password"]):
            pass


@pytest.mark.parametrize("token", ["x", "00000000-0000-0000-0000-000000000000", "..%2f..%2fservers"])
def test_unknown_tokens(site, token):
    status, _, text = site.exchange(token)
    assert (status, code_of(text)) == (404, "token_unknown")


def test_an_expired_token(site):
    token = site.nova.console_token(site.machine(), life=-1)
    assert code_of(site.exchange(token)[2]) == "token_unknown"


def test_no_token(site):
    assert site.kerbside.call("GET", "/nova-console.vv")[0] == 401


@pytest.mark.parametrize("word, own, shared", [("off", 404, 404), ("own", 200, 404),
                                               ("shared", 200, 200)])
def test_which_sources_take_tokens(site, word, own, shared):
    machine = site.machine()
    with site.settings(exchange=word):
        site.refresh()
        for path, status in (("/nova/cloud/console.vv", own), ("/nova-console.vv", shared)):
            assert site.exchange(site.nova.console_token(machine), path)[0] == status
        assert site.exchange("x", "/nova/none/console.vv")[0] == 404


def test_two_clouds(site):
    """The shared path asks one after the other; one that fails is no reason not to ask the next."""
    machine = site.machine()
    other = site.source(source="another", url="https://localhost:1")
    with site.kerbside.settings(sources=[other, site.source()]):
        site.refresh()
        assert site.exchange(site.nova.console_token(machine))[0] == 200
        status, _, text = site.exchange("x")
        assert (status, code_of(text)) == (503, "source_failed")


def test_nova_cannot_say(site):
    machine = site.machine()
    site.refresh()
    token = site.nova.console_token(machine)
    site.nova.trouble = "500"
    status, _, text = site.exchange(token)
    assert (status, code_of(text)) == (503, "source_failed")
    site.nova.reset()
    assert site.exchange(token)[0] == 200, "a failure does not use it up"
