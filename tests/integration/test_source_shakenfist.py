"""Consoles of Shaken Fist: the list, the way to an instance that is opened, and the tokens of its
links. The cluster is a stand-in; behind its instances is a scripted SPICE server."""

import json
import threading
import time
import urllib.parse

import pytest
from clouds import server as faults
from clouds.shakenfist import Key, ShakenFist
from common.pki import Authority
from common.process import wait_until
from session import Session
from source_site import SourceSite
from spice import MAIN, OK, Client, Link, Server

SUBJECT = "O=Lab,CN=sf-1"


class Site(SourceSite):
    name = "sf"

    def __init__(self, folder):
        super().__init__(folder)
        self.listed("web.system")

    def make_server(self):
        return Server(ticket="", tls=self.authority.server_context(
            self.folder / "hv", SUBJECT, names=("sf-1",), addresses=()))

    def make_cloud(self):
        self.cloud = ShakenFist(self.tls)
        self.cloud.proxy_url = "https://127.0.0.1:8443"
        self.cloud.cacert = self.authority.pem
        self.web = self.instance("web")
        return self.cloud

    def config(self, **more) -> dict:
        return {"source": "sf", "type": "shakenfist", "url": self.cloud.url, "username": "system",
                "password": "oisoSe7T", "ca_cert": self.authority.pem, "refresh": "0", **more}

    def instance(self, name, **more):
        return self.cloud.instance(name, **{"node": "sf-1", "tls_port": self.behind.port,
                                            "subject": SUBJECT, **more})

    def console(self, name) -> dict:
        return next(c for c in self.kerbside.items("/api/v1/consoles") if c["name"] == name)

    def link(self, token, method="GET"):
        """Status, and the file's values or the error."""
        path = "/sf-console.vv?title=x&token=" + urllib.parse.quote(token)
        status, headers, text = self.kerbside.call(method, path)
        if headers.get_content_type() == "application/json":
            return status, json.loads(text)["error"]
        return status, dict(line.split("=", 1) for line in text.decode().splitlines()
                            if "=" in line)

    def refused(self, token) -> tuple[int, str]:
        status, error = self.link(token)
        return status, error["code"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("sf"))
    yield site
    site.stop()


@pytest.fixture
def site(shared):
    """As new: one instance, listed."""
    cloud = shared.cloud
    cloud.reset()
    cloud.nodes_hidden = cloud.is_old = False
    cloud.expire_at_list = 0
    cloud.proxy_url = "https://127.0.0.1:8443"
    cloud.machines = {shared.web.uuid: shared.web}
    shared.web.node, shared.web.running, shared.web.address = "sf-1", True, "127.0.0.1"
    shared.web.tls_port, shared.web.subject = shared.behind.port, SUBJECT
    assert shared.refresh()["error"] is None
    shared.listed("web.system")
    return shared


# ---- the list ----


def test_what_is_listed(site):
    site.instance("other", namespace="team")
    site.instance("vnc", vdi="vnc")
    site.instance("off", running=False)
    site.instance("deleted", state="deleted")
    site.instance("many", vdi="spiceconcurrent")
    site.refresh()
    site.listed("web.system", "other.team", "many.system")
    assert site.console("other.team")["project"] == "team"
    site.cloud.empty()
    assert site.refresh()["consoles"] == 0


def test_tokens_that_expire_are_renewed(site):
    site.cloud.requests.clear()
    site.cloud.expire_tokens()
    site.instance("new")
    assert site.refresh()["error"] is None
    site.listed("web.system", "new.system")
    assert site.cloud.count("/auth") == 1
    # Between the list of instances and that of nodes: both are there, and a second login did it.
    site.cloud.requests.clear()
    site.cloud.expire_at_list = site.cloud._lists + 1
    assert site.refresh()["error"] is None
    assert site.cloud.count("/auth") == 1
    with site.open() as session:
        session.main.exchange()


def test_wrong_key(site):
    with site.kerbside.settings(sources=[site.config(password="wrong")]):
        site.refresh()
        status = site.state()
        assert "unauthorized" in status["error"] and "logging in" in status["error"]
        assert "wrong" not in status["error"]
        assert site.names() == {"web.system"}  # what it had stays
        assert status["stale_since"]


@pytest.mark.parametrize("trouble", ["500", "503", "429", "nonsense", "empty", "cut",
                                     "drop", "elsewhere"])
@pytest.mark.parametrize("where", ["/instances", "/nodes"])
def test_trouble_keeps_the_list(site, trouble, where):
    site.cloud.trouble, site.cloud.where = trouble, where
    view = site.refresh()
    assert view["error"] and view["stale_since"] and view["consoles"] == 1
    site.cloud.reset()
    assert site.refresh()["error"] is None


@pytest.mark.parametrize("trouble", ["chunked", "gzip"])
def test_encodings(site, trouble):
    site.cloud.trouble = trouble
    assert site.refresh()["error"] is None
    site.listed("web.system")


def test_a_cloud_that_hangs(site):
    with site.kerbside.settings(sources=[site.config(timeout="1s")]):
        site.cloud.trouble, site.cloud.where = "hang", "/instances"
        view = site.refresh()
        assert view["error"] and view["consoles"] == 1
        site.cloud.reset()


@pytest.mark.parametrize("odd", [
    faults.nulls("name", where="/instances"),
    faults.without("name", "namespace", "power_state", where="/instances"),
    faults.as_text("vdi_port", "vdi_tls_port"), faults.as_odd([], "metadata", "namespace"),
])
def test_odd_types(site, odd):
    site.cloud.alter = odd
    assert site.refresh()["error"] is None
    assert len(site.names()) == 1
    with site.open() as session:
        session.main.exchange()


@pytest.mark.parametrize("odd", [
    faults.nulls("uuid", where="/instances"), faults.nulls("video"), faults.nulls("node"),
    faults.as_odd({}, "vdi_tls_port"), faults.as_odd(-1, "vdi_tls_port"),
    faults.as_odd(70000, "vdi_tls_port"),
])
def test_unusable_instances_are_left_out(site, odd):
    site.cloud.alter = odd
    assert site.refresh()["error"] is None
    assert site.names() == set()


@pytest.mark.parametrize("name", faults.HOSTILE_NAMES)
def test_hostile_names(site, name):
    machine = site.instance(name)
    assert site.refresh()["error"] is None
    token = site.cloud.console_token(machine.uuid)
    status, file = site.link(token)
    assert status == 200
    assert set(file) >= {"type", "host", "tls-port", "password"} and file["host"] == "127.0.0.1"
    assert "alert" not in file  # no line of its own


def test_ten_thousand(site):
    site.cloud.fill(10000, tls_port=1, node="sf-1")
    view = site.refresh()
    assert (view["error"], view["consoles"]) == (None, 10001)


# ---- opening ----


def test_a_desktop_opens(site):
    with site.open() as session:
        session.main.exchange()
        session.channel().exchange()
        assert session.main.server.password == ""


def test_the_certificate_is_held_to_the_nodes_subject(site):
    site.web.subject = "O=Lab,CN=sf-2"
    assert site.denied()["reason"] == "server_subject"


def test_an_instance_that_went(site):
    site.cloud.vanish(site.web)
    assert site.denied()["reason"] == "console_gone"


def test_an_instance_that_stopped(site):
    site.web.running = False
    assert site.denied()["reason"] == "console_gone"


def test_an_instance_that_moved(site):
    """Its old port is another's by now: nobody may be led there."""
    other = Server(ticket="", tls=site.behind.tls)
    place = {"tls_port": other.port}
    site.cloud.migrate(site.web, "sf-1", **place)
    with Session(site.kerbside, other, site.web.uuid, source_name="sf") as session:
        session.main.exchange()
    assert site.behind.legs.empty()
    other.stop()


def test_a_cloud_that_does_not_answer(site):
    site.cloud.trouble = "503"
    assert site.denied()["reason"] == "source_failed"


def test_nodes_that_the_account_may_not_see(site):
    """Then the node's name must resolve, which an address map sees to."""
    site.cloud.nodes_hidden = True
    maps = [site.config(address_map={"sf-1": "127.0.0.1"})]
    with site.kerbside.settings(sources=maps):
        site.listed("web.system")
        with site.open() as session:
            session.main.exchange()


def test_a_subject_that_nobody_publishes(site):
    site.web.subject = None
    with site.kerbside.settings(sources=[site.config(synthesize_host_subject=True)]):
        wait_until(lambda: site.console("web.system")["host_subject"] == "CN=sf-1",
                   "the subject is made of the node's name")
        assert site.denied()["reason"] == "server_subject"  # which is O=Lab,CN=sf-1


# ---- the tokens of links ----


def test_a_link_opens_a_desktop_once(site):
    mark = site.kerbside.mark()
    token = site.cloud.console_token(site.web.uuid)
    assert site.link(token, "HEAD") == (200, {})
    status, file = site.link(token)
    assert status == 200 and file["title"] == "web.system - shakenfist:sf"
    client = Client(site.kerbside.address, site.kerbside.client_tls())
    assert client.link(file["password"], Link(MAIN)) == OK
    client.close()
    site.behind.take().close()
    made = site.kerbside.wait_audit("grant.created", mark)
    assert (made["user"], made["actor"]) == ("shakenfist:sf", "shakenfist:sf")
    assert site.refused(token) == (401, "token_used")
    assert token not in site.kerbside.process.log()


def test_a_token_is_known_by_its_jti(site):
    """Signed again it has other bytes, and is the same token."""
    first = site.cloud.console_token(site.web.uuid, jti="5f0c")
    again = site.cloud.console_token(site.web.uuid, jti="5f0c", iat=int(time.time()) - 1)
    assert first != again
    assert site.link(again, "HEAD") == (200, {})
    assert site.link(first)[0] == 200
    assert site.refused(again) == (401, "token_used")
    assert site.link(site.cloud.console_token(site.web.uuid, jti="5f0d"))[0] == 200


def test_a_token_stays_used_over_a_restart(site):
    token = site.cloud.console_token(site.web.uuid)
    assert site.link(token)[0] == 200
    assert site.kerbside.drain() == 0
    site.kerbside.start()
    site.listed("web.system")
    assert site.refused(token) == (401, "token_used")


@pytest.mark.parametrize("more, why", [
    ({"exp": None}, "expiry"),
    ({"exp": "tomorrow"}, "expiry"),
    ({"iat": int(time.time()) + 3600}, "future"),
    ({"aud": "https://127.0.0.1:8443/"}, "gateway"),
    ({"aud": None}, "gateway"),
    ({"aud": ["https://127.0.0.1:8443"]}, "gateway"),
    ({"sub": None}, "instance"),
    ({"sub": "x" * 300}, "instance"),
    ({"jti": None}, "jti"),
    ({"jti": 7}, "jti"),
    ({"header": {"alg": "none"}}, "algorithm"),
    ({"header": {"alg": "HS256"}}, "algorithm"),
    ({"header": {"kid": None}}, "no token of Shaken Fist"),
    ({"header": {"kid": "../../etc"}}, "does not publish"),
])
def test_tokens_that_are_no_good(site, more, why):
    status, error = site.link(site.cloud.console_token(site.web.uuid, **more))
    assert (status, error["code"]) == (401, "token_unknown")
    assert why in error["message"]


def test_tokens_that_are_too_old(site):
    old = site.cloud.console_token(site.web.uuid, exp=int(time.time()) - 3600)
    assert site.refused(old) == (401, "token_expired")


def test_clocks_may_differ_a_little(site):
    now = int(time.time())
    assert site.link(site.cloud.console_token(site.web.uuid, exp=now - 20))[0] == 200
    assert site.link(site.cloud.console_token(site.web.uuid, iat=now + 20))[0] == 200


def test_tokens_that_somebody_changed(site):
    token = site.cloud.console_token(site.web.uuid)
    head, claims, signature = token.split(".")
    other = site.cloud.console_token(site.instance("other").uuid)
    forged = site.cloud.console_token(site.web.uuid, key=Key(),
                                      header={"kid": site.cloud.keys[0].kid})
    for bad in (f"{head}.{other.split('.')[1]}.{signature}", token[:-4], token + "AAAA",
                f"{head}.{claims}.", f"{head}.{claims}", token + ".x", "x", forged,
                f"{head}.{claims}.{signature}=", " " + token, "a" * 9000):
        assert site.refused(bad) == (401, "token_unknown"), bad
    assert site.link(token)[0] == 200


def test_keys_are_changed(site):
    first = site.cloud.console_token(site.web.uuid)
    before = site.cloud.keys[0]
    site.cloud.rotate()
    wait_until(lambda: site.link(site.cloud.console_token(site.web.uuid))[0] == 200,
               "the new key is asked for")
    assert site.link(first)[0] == 200  # the one before is still published
    site.cloud.rotate()
    site.cloud.rotate()
    wait_until(lambda: site.link(site.cloud.console_token(site.web.uuid))[0] == 200,
               "the newest key is asked for")
    old = site.cloud.console_token(site.web.uuid, key=before)
    assert site.refused(old) == (401, "token_unknown")


def test_unknown_keys_do_not_make_us_ask_without_end(site):
    site.cloud.requests.clear()
    for _ in range(10):
        site.refused(site.cloud.console_token(site.web.uuid, key=Key()))
    assert site.cloud.count("vditokenpubkey") <= 2


def test_known_keys_outlive_trouble(site):
    site.cloud.trouble, site.cloud.where = "503", "vditokenpubkey"
    assert site.refresh()["error"] is None
    assert site.link(site.cloud.console_token(site.web.uuid))[0] == 200


def test_an_instance_younger_than_the_list(site):
    young = site.instance("young")
    assert site.link(site.cloud.console_token(young.uuid))[0] == 200
    site.listed("web.system", "young.system")


def test_an_instance_that_is_nowhere(site):
    token = site.cloud.console_token("00000000-0000-4000-8000-000000000000")
    for _ in range(2):  # not used up: it may still come
        assert site.refused(token) == (404, "console_gone")


def test_no_token(site):
    status, _, text = site.kerbside.call("GET", "/sf-console.vv?title=x")
    assert (status, json.loads(text)["error"]["code"]) == (401, "token_missing")


def test_two_clusters(site):
    """Each token belongs to the cluster whose key signed it."""
    other = ShakenFist(site.authority.server_context(site.folder / "second", "CN=localhost"))
    other.proxy_url = site.cloud.proxy_url
    twin = other.instance("twin", tls_port=site.behind.port, node="sf-1", subject=SUBJECT)
    second = {**site.config(url=other.url), "source": "second"}
    with site.kerbside.settings(sources=[site.config(), second]):
        site.listed("web.system", "twin.system")
        assert site.link(site.cloud.console_token(site.web.uuid))[0] == 200
        assert site.link(other.console_token(twin.uuid))[0] == 200
        crossed = other.console_token(site.web.uuid)
        assert site.refused(crossed) == (404, "console_gone")
        other.trouble = "503"  # its failure is nobody else's
        assert site.link(site.cloud.console_token(site.web.uuid))[0] == 200
    other.stop()


def test_a_token_comes_while_the_keys_are_asked_for(site):
    """After a reload, which forgets them: it waits for the answer in place of being refused."""
    site.cloud.trouble, site.cloud.where = "hang", "vditokenpubkey"
    site.cloud.requests.clear()
    answers = []
    with site.kerbside.settings(sources=[site.config(timeout="60s")]):
        wait_until(lambda: site.cloud.count("vditokenpubkey"), "the keys are asked for")
        token = site.cloud.console_token(site.web.uuid)
        thread = threading.Thread(target=lambda: answers.append(site.link(token)[0]))
        thread.start()
        thread.join(0.3)  # who does not wait has answered by then, or is let off
        site.cloud.trouble = None
        site.cloud.release()
        thread.join()
    assert answers == [200]


# ---- source check ----


def test_source_check(site):
    steps = site.check()
    assert all(step["result"] == "ok" for step in steps), steps
    assert [s["step"] for s in steps] == ["configuration", "resolve", "connect", "tls", "login",
                                          "ca", "nodes", "keys", "list"]
    site.cloud.cacert = Authority("CN=Another").pem
    failed = site.check()[-1]
    assert (failed["step"], failed["result"]) == ("ca", "failed")
    assert "ca_cert" in failed["advice"]
    site.cloud.cacert = site.authority.pem
    with site.kerbside.settings(sources=[site.config(password="wrong")]):
        failed = site.check()[-1]
        assert (failed["step"], failed["result"]) == ("login", "failed")


def test_the_page_of_the_source(site):
    """Its example is a configuration that loads."""
    example = {**site.page_example(), "password": "x"}
    with site.kerbside.settings(sources=[site.config(), {**example, "source": "example"}]):
        assert site.kerbside.log("config.reloaded")
