"""Local users, API keys and roles, as they come through the web door and the command line."""

import json
import subprocess
import urllib.parse

import pytest
from daemon import Kerbside, binary
from spice import own_address
from web import Web

PASSWORD = "correct horse"
COUNT = 260
ROLES = [
    {"role": "user", "users": ["builder"], "sources": "lab", "consoles": "build-*"},
    {"role": "user", "users": ["owner"], "consoles": ["owner", "build-000?"]},
    {"role": "operator", "users": ["mixed"], "sources": ["far"]},
    {"role": "user", "users": ["mixed"], "sources": ["lab"], "consoles": "*7"},
    {"role": "broker", "keys": ["ruled"], "consoles": "test-000?"},
]


def consoles():
    for i in range(COUNT):
        yield {"uuid": f"u{i:04}", "name": f"{'test' if i % 3 else 'build'}-{i:04}",
               "hypervisor_ip": "127.0.0.1", "insecure_port": 1,
               **({"owner": "owner"} if i % 50 == 1 else {})}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    far = [{"uuid": "f1", "name": "far-7", "hypervisor_ip": "127.0.0.1", "insecure_port": 1}]
    kerbside = Kerbside(tmp_path_factory.mktemp("identity"), [
        {"source": "lab", "type": "static", "tls": "plain", "consoles": list(consoles())},
        {"source": "far", "type": "static", "tls": "plain", "consoles": far},
    ], identity={"roles": ROLES})
    for name in ("builder", "owner", "mixed"):
        kerbside.ask("POST", "/api/v1/users", {"name": name, "role": "none", "password": PASSWORD})
    kerbside.ask("POST", "/api/v1/users", {"name": "plain", "role": "user", "password": PASSWORD})
    yield kerbside
    kerbside.stop()


def log_in(site, name):
    web = Web(site, own_address())
    reply = web.login(username=name, password=PASSWORD)
    assert reply.status == 200, reply.body
    return web, reply.json["access_token"]


def names(web, token, limit, **query):
    """All pages of the list of consoles."""
    found, pages = [], 0
    while True:
        reply = web.ask("GET", "/api/v1/consoles?" + urllib.parse.urlencode(
            {"limit": limit, **query}), token=token)
        assert reply.status == 200, reply.body
        page = reply.json
        assert len(page["items"]) <= limit
        found += [row["name"] for row in page["items"]]
        pages += 1
        if not page["next"]:
            return found, pages
        query["cursor"] = page["next"]


ALL = [row["name"] for row in consoles()]
EXPECTED = {
    "builder": [n for n in ALL if n.startswith("build-")],
    "owner": [row["name"] for row in consoles()
              if row.get("owner") or (row["name"].startswith("build-000"))],
    "mixed": [n for n in ALL if n.endswith("7")] + ["far-7"],
    "plain": ALL + ["far-7"],
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages(site, name, limit):
    """Every console that is one's own, once, in order; and full pages while there is more."""
    web, token = log_in(site, name)
    found, pages = names(web, token, limit)
    assert found == sorted(EXPECTED[name])
    assert pages <= len(found) // limit + 1
    assert names(web, token, limit, q="0007")[0] == [n for n in sorted(EXPECTED[name])
                                                     if "0007" in n]


def test_what_is_not_ones_own(site):
    """404 for a user, as for what is not there; 403 for who may know."""
    path = "/api/v1/consoles/lab/u0001"  # test-0001
    for name, status in (("builder", 404), ("mixed", 403), ("plain", 200)):
        web, token = log_in(site, name)
        assert web.ask("GET", path, token=token).status == status, name
        reply = web.ask("POST", path + "/grants", {}, token)
        assert reply.status == {200: 201}.get(status, status), name
        assert web.ask("GET", "/api/v1/consoles/lab/none", token=token).status == 404


def test_two_roles(site):
    """Where one operates one does not open, and the other way round."""
    web, token = log_in(site, "mixed")
    me = web.ask("GET", "/api/v1/me", token=token).json
    assert me["role"] == "operator" and len(me["roles"]) == 2
    far, lab = "/api/v1/consoles/far/f1", "/api/v1/consoles/lab/u0007"
    assert "hypervisor_ip" in web.ask("GET", far, token=token).json
    assert "hypervisor_ip" not in web.ask("GET", lab, token=token).json
    assert web.ask("POST", far + "/grants", {}, token).status == 403
    assert web.ask("POST", lab + "/grants", {}, token).status == 201
    assert web.ask("POST", far + "/terminate", {}, token).status == 200
    assert web.ask("POST", lab + "/terminate", {}, token).status == 403
    assert [s["source"] for s in web.ask("GET", "/api/v1/sources", token=token).json["items"]] \
        == ["far"]
    grants = web.ask("GET", "/api/v1/grants", token=token).json["items"]
    assert all(g["source"] == "far" for g in grants)
    events = web.ask("GET", "/api/v1/audit?limit=1000", token=token).json["items"]
    assert events and all(e["source"] == "far" for e in events)


def test_rules_change_with_a_reload(site):
    web, token = log_in(site, "builder")
    assert len(names(web, token, 1000)[0]) == len(EXPECTED["builder"])
    with site.settings(identity={"roles": [{"role": "user", "users": "builder",
                                            "sources": ["far"]}]}):
        assert names(web, token, 1000)[0] == ["far-7"]
    with site.settings(identity={}):
        assert web.ask("GET", "/api/v1/consoles", token=token).status == 403
    # A mistake refuses the whole, and what was stays.
    site.reload("config.rejected", identity={"roles": [{"role": "king", "users": "builder"}]})
    assert len(names(web, token, 1000)[0]) == len(EXPECTED["builder"])
    site.reload(identity={"roles": ROLES})


def test_cookie(site):
    web = Web(site, own_address())
    reply = web.login(username="plain", password=PASSWORD, as_cookie=True)
    assert reply.status == 200 and "access_token" not in reply.json
    csrf = {"X-CSRF-Token": reply.json["csrf_token"]}
    path = "/api/v1/consoles/lab/u0001/grants"
    assert web.ask("GET", "/api/v1/consoles").status == 200
    assert web.ask("POST", path, {}).code == "csrf_failed"
    assert web.ask("POST", path, {}, headers={"X-CSRF-Token": "x"}).code == "csrf_failed"
    assert web.ask("POST", path, {}, headers=csrf).status == 201
    # Another login's token does not fit this cookie.
    other = Web(site, own_address())
    theirs = other.login(username="plain", password=PASSWORD, as_cookie=True).json["csrf_token"]
    assert web.ask("POST", path, {}, headers={"X-CSRF-Token": theirs}).code == "csrf_failed"
    kept = dict(web.cookies)
    assert web.ask("DELETE", "/api/v1/login").code == "csrf_failed"
    assert web.ask("DELETE", "/api/v1/login", headers=csrf).status == 204
    web.cookies = kept
    assert web.ask("GET", "/api/v1/me").code == "unknown_login"
    assert other.ask("GET", "/api/v1/me").status == 200
    site.wait_audit("login.ended", user="plain", actor="plain")


def test_logins_are_revoked(site):
    web, token = log_in(site, "plain")
    other, second = log_in(site, "plain")
    rows = web.ask("GET", "/api/v1/logins", token=token).json["items"]
    assert {row["user"] for row in rows} == {"plain"}
    mine = [row for row in rows if row["current"]]
    assert len(mine) == 1 and mine[0]["client_address"] == web.source
    theirs = [row for row in rows if row["client_address"] == other.source]
    assert web.ask("DELETE", f"/api/v1/logins/{theirs[0]['id']}", token=token).status == 200
    assert other.ask("GET", "/api/v1/me", token=second).status == 401
    admin = [row for row in site.items("/api/v1/logins") if row["user"] == "builder"]
    if admin:  # another user's login cannot be ended
        assert web.ask("DELETE", f"/api/v1/logins/{admin[0]['id']}", token=token).status == 404
    assert web.ask("DELETE", "/api/v1/logins?user=builder", token=token).status == 403
    site.ask("DELETE", "/api/v1/logins?user=plain")
    assert web.ask("GET", "/api/v1/me", token=token).status == 401


def kerbside_cli(site, *args, stdin=""):
    return subprocess.run([binary(), *args, "-c", str(site.config_path)], input=stdin,
                          capture_output=True, text=True, timeout=60)


def test_user_by_command(site):
    done = kerbside_cli(site, "user", "add", "cli", "--role", "user", "--password-stdin",
                        stdin=PASSWORD)
    assert done.returncode == 0, done.stderr
    web, token = log_in(site, "cli")
    assert kerbside_cli(site, "user", "passwd", "cli", "--password-stdin",
                        stdin="battery staple").returncode == 0
    assert web.ask("GET", "/api/v1/me", token=token).status == 401
    reply = web.login(username="cli", password="battery staple")
    token = reply.json["access_token"]
    assert kerbside_cli(site, "user", "remove", "cli").returncode == 0
    assert web.ask("GET", "/api/v1/me", token=token).status == 401


def test_role_changes_at_once(site):
    site.ask("POST", "/api/v1/users", {"name": "riser", "role": "user", "password": PASSWORD})
    web, token = log_in(site, "riser")
    assert web.ask("GET", "/api/v1/sessions", token=token).status == 403
    done = kerbside_cli(site, "user", "role", "riser", "operator")
    assert done.returncode == 0, done.stderr
    assert web.ask("GET", "/api/v1/sessions", token=token).status == 200
    assert web.ask("GET", "/api/v1/me", token=token).json["role"] == "operator"
    event = site.wait_audit("user.changed", user="riser")
    assert event["actor"] == "admin-socket" and event["detail"] == "role operator, was user"
    done = kerbside_cli(site, "user", "role", "riser", "emperor")
    assert done.returncode == 1 and "admin, operator" in done.stderr
    assert kerbside_cli(site, "user", "role", "nobody", "user").returncode == 1
    assert kerbside_cli(site, "user", "role", "riser", "none").returncode == 0
    assert web.ask("GET", "/api/v1/me", token=token).status == 403
    assert kerbside_cli(site, "user", "remove", "riser").returncode == 0


def test_the_last_admin_stays(site):
    """Nobody is locked out from afar; who sits at the machine may do anything."""
    site.ask("POST", "/api/v1/users", {"name": "boss", "role": "admin", "password": PASSWORD})
    web, token = log_in(site, "boss")

    def change(name, role):
        return web.ask("PATCH", f"/api/v1/users/{name}", {"role": role}, token=token)

    assert change("admin", "user").status == 200
    reply = change("boss", "operator")
    assert reply.status == 409 and reply.code == "last_admin"
    reply = web.ask("DELETE", "/api/v1/users/boss", token=token)
    assert reply.status == 409 and reply.code == "last_admin"
    assert web.ask("GET", "/api/v1/users", token=token).status == 200
    assert change("boss", "admin").status == 200  # as it is
    assert change("admin", "admin").status == 200
    assert change("boss", "user").status == 200  # there is another again
    assert web.ask("GET", "/api/v1/users", token=token).status == 403
    assert kerbside_cli(site, "user", "role", "admin", "user").returncode == 0
    assert site.audit("user.changed", user="admin", detail="role user, was admin")
    assert kerbside_cli(site, "user", "role", "admin", "admin").returncode == 0
    assert kerbside_cli(site, "user", "remove", "boss").returncode == 0


def test_key_by_command(site):
    inside, outside = own_address(), own_address()
    done = kerbside_cli(site, "apikey", "create", "narrow", "--role", "broker", "--expires-in", "1h",
                        "--cidr", f"{inside}/32,2001:db8::/32", "--source", "lab", "--console",
                        "test-*,nothing")
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert key.startswith("kbk_")
    web = Web(site, inside)
    assert {n[:5] for n in names(web, key, 100)[0]} == {"test-"}
    grant = web.ask("POST", "/api/v1/consoles/lab/u0001/grants", {"user": "somebody"}, key)
    assert grant.status == 201
    assert web.ask("POST", "/api/v1/consoles/lab/u0000/grants", {}, key).status == 404
    assert web.ask("POST", "/api/v1/consoles/far/f1/grants", {}, key).status == 404
    for _ in range(3):
        assert Web(site, outside).ask("GET", "/api/v1/me", token=key).code == "apikey_address"
    event = site.wait_audit("apikey.refused", client_address=outside)
    assert event["actor"] == "apikey:narrow"
    assert len(site.audit("apikey.refused", client_address=outside)) == 1  # once a minute is enough
    shown = kerbside_cli(site, "apikey", "list", "--json").stdout
    assert key not in shown and "hash" not in shown
    row = [k for k in json.loads(shown) if k["name"] == "narrow"][0]
    assert row["cidrs"] == [f"{inside}/32", "2001:db8::/32"]
    assert row["sources"] == ["lab"] and row["consoles"] == ["test-*", "nothing"]
    assert kerbside_cli(site, "apikey", "create", "bad", "--role", "user", "--cidr",
                        "10.0.0.1/8").returncode == 1


def test_key_by_rule(site):
    key = json.loads(site.ask("POST", "/api/v1/apikeys", {"name": "ruled", "role": "none"})[1])
    web = Web(site, own_address())
    assert names(web, key["key"], 100)[0] == [n for n in sorted(ALL) if n.startswith("test-000")]
    with site.settings(identity={}):
        assert web.ask("GET", "/api/v1/consoles", token=key["key"]).status == 403


def test_no_secret_is_stored(site):
    """Neither a password, nor a login, nor a key is in the database or the log."""
    web, token = log_in(site, "plain")
    key = json.loads(site.ask("POST", "/api/v1/apikeys", {"name": "secret", "role": "user"})[1])
    for file in [*site.state_dir.glob("kerbside.db*"), site.process.log_path]:
        data = file.read_bytes()
        for secret in (PASSWORD, token, key["key"]):
            assert secret.encode() not in data, file
