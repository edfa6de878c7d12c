"""Logins with Keystone, against a stand-in that speaks the Identity API v3 over TLS."""

import datetime
import threading

import pytest
from clouds.keystone import Keystone
from common.pki import Authority
from common.process import wait_until
from daemon import Kerbside
from spice import own_address
from web import Web, why_failed

CONSOLES = [{"uuid": f"u{i}", "name": name, "hypervisor_ip": "127.0.0.1", "insecure_port": 1,
             **more}
            for i, (name, more) in enumerate([("build-01", {}), ("test-01", {}), ("home", {})])]
ROLES = [
    {"role": "user", "groups": "staff", "sources": ["lab"], "consoles": ["build-*", "owner"]},
    {"role": "operator", "users": ["keystone:olga"]},
    {"role": "auditor", "users": "keystone:other/alice"},
]


class Site:
    def __init__(self, folder):
        self.authority = Authority("O=Cloud,CN=Cloud CA")
        self.keystone = k = Keystone(self.authority.server_context(folder / "tls", "CN=localhost"))
        self.alice = k.user("alice", "wonder land", ["staff", "desktops"])
        k.user("olga", "olga's", ["desktops"])
        k.user("root", "root's", ["admins"])
        k.user("bob", "bob's", ["staff"])  # not in the access group
        k.user("carol", "carol's", ["desktops"])  # no role
        k.user("alice", "other alice's", ["desktops"], "other")
        # Names of the default domain's groups, made by somebody who rules another domain.
        k.user("mallory", "mallory's", [("admins", "other"), ("desktops", "other")], "other")
        k.user("evil:name", "evil's", ["desktops", "staff"])
        CONSOLES[2]["owner"] = f"keystone-id:{self.alice}"
        self.kerbside = Kerbside(folder / "kerbside", [
            {"source": "lab", "type": "static", "tls": "plain", "consoles": CONSOLES},
        ], identity=self.identity(k.url), env={"NO_PROXY": "localhost"})
        self.web = Web(self.kerbside)

    def identity(self, url, roles=ROLES, **more):
        return {"keystone": {"url": url, "access_group": "desktops", "admin_group": "admins",
                             "ca": self.authority.pem, **more}, "roles": roles}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("keystone"))
    yield site
    site.kerbside.stop()
    site.keystone.stop()


@pytest.fixture(autouse=True)
def calm(site):
    site.keystone.reset()
    # Each test from an address of its own: failures are counted by address.
    site.web = Web(site.kerbside, own_address())
    yield


def enter(site, name, password, **more) -> str:
    reply = site.web.login(username=name, password=password, **more)
    assert reply.status == 200, reply.body
    return reply.json["access_token"]


def me(site, token):
    return site.web.ask("GET", "/api/v1/me", token=token).json


def consoles(site, token):
    reply = site.web.ask("GET", "/api/v1/consoles", token=token)
    assert reply.status == 200, reply.body
    return [row["name"] for row in reply.json["items"]]


def test_password(site):
    token = enter(site, "alice", "wonder land")
    found = me(site, token)
    assert found["name"] == "keystone:alice"
    assert found["provider"] == "keystone"
    assert sorted(found["groups"]) == ["desktops", "staff"]
    assert found["role"] == "user"
    # Her group's, and what the source says is hers.
    assert consoles(site, token) == ["build-01", "home"]
    assert site.web.ask("GET", "/api/v1/consoles/lab/u1", token=token).status == 404
    grant = site.web.ask("POST", "/api/v1/consoles/lab/u2/grants", {}, token)
    assert grant.status == 201
    assert site.web.ask("POST", "/api/v1/consoles/lab/u1/grants", {}, token).status == 404
    event = site.kerbside.wait_audit("login.ok", user="keystone:alice")
    assert event["client_address"] == site.web.source
    assert event["detail"] == "keystone"
    # The request was as the API wants it, and the password went nowhere else.
    sent = site.keystone.requests[0]
    assert (sent.method, sent.path) == ("POST", "/v3/auth/tokens")
    assert sent.json()["auth"]["identity"]["password"]["user"]["domain"] == {"id": "default"}
    log = site.kerbside.process.log()
    assert "wonder land" not in log and "gAAAAAB" not in log


def test_roles(site):
    assert me(site, enter(site, "olga", "olga's"))["role"] == "operator"
    assert me(site, enter(site, "root", "root's"))["role"] == "admin"
    token = enter(site, "root", "root's")
    assert site.web.ask("GET", "/api/v1/users", token=token).status == 200


def test_wrong_password(site):
    reply = site.web.login(username="alice", password="wrong")
    assert (reply.status, reply.code) == (401, "login_failed")
    event = site.kerbside.wait_audit("login.failed", client_address=site.web.source)
    assert event["user"] == "alice"


@pytest.mark.parametrize("name, password", [("bob", "bob's"), ("carol", "carol's"),
                                            ("evil:name", "evil's")])
def test_not_allowed(site, name, password):
    reply = site.web.login(username=name, password=password)
    assert (reply.status, reply.code) == (403, "not_allowed")
    site.kerbside.wait_audit("login.failed", client_address=site.web.source)


def test_other_domain(site):
    """The same name in another domain is another user; the same group another group."""
    found = me(site, enter(site, "alice", "other alice's", domain="other"))
    assert (found["name"], found["role"]) == ("keystone:other/alice", "auditor")
    assert site.web.login(username="alice", password="other alice's").status == 401
    reply = site.web.login(username="mallory", password="mallory's", domain="other")
    assert (reply.status, reply.code) == (403, "not_allowed")


def test_token(site):
    token = site.keystone.token(site.alice, datetime.timedelta(minutes=5))
    reply = site.web.login(keystone_token=token)
    assert reply.status == 200, reply.body
    # The login lasts no longer than the token that it came from.
    assert 200 < reply.json["expires_in"] <= 300
    assert me(site, reply.json["access_token"])["name"] == "keystone:alice"
    assert site.web.ask("GET", "/api/v1/me", token=token[:200]).status == 401  # it is no login


def test_wrong_tokens(site):
    old = site.keystone.token(site.alice, datetime.timedelta(seconds=-1))
    for token in ("gAAAAABnonsense", old, "with space", "ä", "a\r\nX-Admin: 1"):
        reply = site.web.login(keystone_token=token)
        assert (reply.status, reply.code) == (401, "login_failed"), token
    assert not any("x-admin" in r.headers for r in site.keystone.requests)


def test_fields(site):
    for body in ({"keystone_token": "x", "username": "a"}, {"username": "a"}, {"password": "a"}, {},
                 {"username": "a", "password": "b", "method": "ldap"},
                 {"username": "admin", "password": "b", "domain": "d", "method": "local"}):
        reply = site.web.ask("POST", "/api/v1/login", body)
        assert (reply.status, reply.code) == (422, "invalid_field"), body


def test_local_and_keystone(site):
    """A local user comes first; a method makes it clear."""
    password = (site.kerbside.state_dir / "initial-admin-password").read_text().strip()
    site.keystone.user("admin", "keystone's", ["desktops", "staff"])
    assert me(site, enter(site, "admin", password))["name"] == "admin"
    assert site.keystone.requests == []
    found = me(site, enter(site, "admin", "keystone's", method="keystone"))
    assert (found["name"], found["role"]) == ("keystone:admin", "user")
    assert site.web.login(username="admin", password="keystone's").status == 401
    assert site.web.login(username="alice", password="wonder land", method="local").status == 401


TROUBLES = ["500", "503", "nonsense", "list", "empty", "cut", "huge", "drop", "elsewhere"]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("where", ["auth/tokens", "groups"])
def test_trouble(site, trouble, where):
    site.keystone.trouble, site.keystone.where = trouble, where
    reply = site.web.login(username="alice", password="wonder land")
    assert (reply.status, reply.code) == (503, "provider_failed")
    assert why_failed(site.kerbside, reply).startswith("Keystone, ")
    assert "wonder land" not in site.kerbside.process.log()
    site.keystone.reset()
    enter(site, "alice", "wonder land")  # it recovers by itself


def test_failures_of_keystone_are_not_the_users(site):
    site.keystone.trouble = "500"
    for _ in range(15):
        assert site.web.login(username="alice", password="wonder land").status == 503
    site.keystone.reset()
    enter(site, "alice", "wonder land")


def test_limit(site):
    site.keystone.user("dora", "dora's", ["desktops", "staff"])
    statuses = [site.web.login(username="dora", password="no").status for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    event = site.kerbside.wait_audit("login.limited", client_address=site.web.source)
    assert event["actor"] == event["user"] == "dora"
    asked = len(site.keystone.requests)
    assert site.web.login(username="dora", password="dora's").status == 429
    assert len(site.keystone.requests) == asked
    # It is the name that has had enough, from wherever.
    assert Web(site.kerbside, own_address()).login(username="dora", password="x").status == 429


def test_policy_hides_groups(site):
    site.keystone.policy_hides_groups = True
    try:
        reply = site.web.login(username="alice", password="wonder land")
        assert reply.status == 503
        assert "identity:list_groups_for_user" in why_failed(site.kerbside, reply)
    finally:
        site.keystone.policy_hides_groups = False


def test_slow_keystone_holds_up_nobody(site):
    """While logins wait, everything else is answered; what waits has its answer by its deadline."""
    site.keystone.trouble = "hang"
    replies = []
    waiting = [threading.Thread(target=lambda name=f"user{i}": replies.append(
        Web(site.kerbside, own_address()).login(username=name, password="x")))
        for i in range(12)]
    for thread in waiting:
        thread.start()
    wait_until(lambda: len(site.keystone.requests) >= 4, "logins wait for Keystone")
    for _ in range(5):
        assert Web(site.kerbside).ask("GET", "/healthz").status == 200
        assert site.kerbside.call("GET", "/api/v1/consoles")[0] == 200
    assert not replies
    site.keystone.release()
    for thread in waiting:
        thread.join()
    assert {reply.status for reply in replies} == {503}


def test_deadline(site):
    site.keystone.trouble = "hang"
    reply = site.web.login(username="alice", password="wonder land")
    assert (reply.status, reply.code) == (503, "provider_failed")
    assert "timed out" in why_failed(site.kerbside, reply)


def test_tls(site, tmp_path):
    """A certificate of somebody else's, of another name, or expired: the password is not sent."""
    other = Authority("O=Evil,CN=Evil CA")
    for context in (other.server_context(tmp_path / "a", "CN=localhost"),
                    site.authority.server_context(tmp_path / "b", "CN=x", names=("example.org",),
                                                   addresses=()),
                    site.authority.server_context(tmp_path / "c", "CN=localhost", expired=True)):
        keystone = Keystone(context)
        try:
            keystone.user("alice", "wonder land", ["desktops", "staff"])
            with site.kerbside.settings(identity=site.identity(keystone.url)):
                reply = site.web.login(username="alice", password="wonder land")
                assert reply.status == 503
                assert keystone.requests == []
                assert "ertificate" in why_failed(site.kerbside, reply)
            with site.kerbside.settings(
                    identity={"keystone": {"url": keystone.url, "verify": False}, "roles": ROLES}):
                enter(site, "alice", "wonder land")
        finally:
            keystone.stop()


def test_not_there(site):
    with site.kerbside.settings(identity=site.identity("https://localhost:1/v3")):
        assert site.web.login(username="alice", password="wonder land").status == 503


def test_as_upstream(site):
    """With groups and no roles: the access group sees everything, as with upstream Kerbside."""
    with site.kerbside.settings(identity=site.identity(site.keystone.url + "/v3/", roles=[])):
        token = enter(site, "carol", "carol's")
        assert len(consoles(site, token)) == 3
        assert me(site, enter(site, "root", "root's"))["role"] == "admin"
        assert site.web.login(username="bob", password="bob's").status == 403
        live = token
    # The roles of a login are those of today's configuration.
    assert site.web.ask("GET", "/api/v1/consoles", token=live).status == 403


def test_revoked(site):
    token = enter(site, "alice", "wonder land")
    rows = [r for r in site.kerbside.items("/api/v1/logins") if r["user"] == "keystone:alice"]
    assert rows and rows[0]["provider"] == "keystone"
    site.kerbside.ask("DELETE", "/api/v1/logins?user=keystone%3Aalice")
    assert site.web.ask("GET", "/api/v1/me", token=token).status == 401
    site.kerbside.wait_audit("login.ended", user="keystone:alice", actor="admin-socket")


def test_stop_while_waiting(site, tmp_path):
    """A daemon can stop while a login waits for a Keystone that does not answer."""
    kerbside = Kerbside(tmp_path, [], identity=site.identity(site.keystone.url),
                        env={"NO_PROXY": "localhost"}, started=False)
    kerbside.start(ready=False)
    wait_until(lambda: kerbside.log("daemon.started"), "it has started", explain=kerbside.process.log)
    try:
        site.keystone.trouble = "hang"
        failed = []

        def log_in():
            try:
                failed.append(Web(kerbside).login(username="alice", password="x").status)
            except OSError as e:
                failed.append(e)

        thread = threading.Thread(target=log_in)
        thread.start()
        wait_until(lambda: site.keystone.requests, "the login waits")
        assert kerbside.drain() == 0
        thread.join()
        assert failed[0] != 200
    finally:
        site.keystone.release()
        kerbside.stop()
