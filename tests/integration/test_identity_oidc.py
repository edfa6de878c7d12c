"""Logins with OpenID Connect, against a provider that can do everything wrong."""

import base64
import json
import time
import urllib.parse

import pytest
from clouds.oidc import Key, Provider, b64, compact
from common.pki import Authority
from common.process import wait_until
from daemon import Kerbside
from spice import own_address
from web import Web, why_failed

ROLES = [
    {"role": "user", "groups": "staff", "sources": ["lab"]},
    {"role": "admin", "users": "oidc-sub:sub-root"},
]
CONSOLES = [{"uuid": "u1", "name": "desk", "hypervisor_ip": "127.0.0.1", "insecure_port": 1}]
START, BACK = "/api/v1/login/oidc", "/api/v1/login/oidc/callback"


class Site:
    def __init__(self, folder):
        self.authority = Authority("O=Login,CN=Login CA")
        self.provider = p = Provider(self.authority.server_context(folder / "tls", "CN=localhost"))
        p.user("sub-alice", preferred_username="alice", groups=["staff", "others"])
        p.user("sub-root", preferred_username="root")
        p.user("sub-carol", preferred_username="carol", groups=["others"])
        p.user("sub-nameless", groups=["staff"])
        p.user("sub-evil", preferred_username="keystone:alice", groups=["staff"])
        p.user("sub-nested", preferred_username="nested", realm={"roles": ["staff"]})
        self.secret = folder / "secret"
        self.secret.write_text(p.client_secret + "\n")
        self.kerbside = Kerbside(folder / "kerbside", [
            {"source": "lab", "type": "static", "tls": "plain", "consoles": CONSOLES},
        ], identity=self.identity(), env={"NO_PROXY": "localhost"})

    def identity(self, **more):
        oidc = {"issuer": self.provider.issuer, "client_id": self.provider.client_id,
                "client_secret": {"file": str(self.secret)}, "ca": self.authority.pem, **more}
        return {"oidc": {k: v for k, v in oidc.items() if v is not None}, "roles": ROLES}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("oidc"))
    yield site
    site.kerbside.stop()
    site.provider.stop()


@pytest.fixture(autouse=True)
def calm(site):
    site.provider.calm()
    yield
    site.provider.calm()
    site.provider.reset()


@pytest.fixture
def fresh(site):
    """A daemon that remembers nothing of the provider's documents."""
    site.kerbside.reload()


def browser(site) -> Web:
    return Web(site.kerbside, own_address())


def start(web, path=START) -> str:
    reply = web.ask("GET", path)
    assert reply.status == 302, reply.body
    return reply.headers["Location"]


def log_in(site, sub="sub-alice", web=None):
    """The whole way; the browser and the callback's reply."""
    web = web or browser(site)
    return web, web.ask("GET", site.provider.consent(start(web), sub))


def refused(site, sub="sub-alice", status=401) -> str:
    """The way ends in no login; why, as the audit has it."""
    web, reply = log_in(site, sub)
    assert reply.status == status, (reply.status, reply.body)
    assert "__Host-kerbside-login" not in web.cookies
    assert web.ask("GET", "/api/v1/me").status == 401
    return site.kerbside.wait_audit("login.failed", client_address=web.source)["detail"]


def test_login(site):
    web, reply = log_in(site)
    assert (reply.status, reply.headers["Location"]) == (303, "/")
    assert set(web.cookies) == {"__Host-kerbside-login"}  # the flow's own is gone
    cookie = [c for c in reply.headers.get_all("Set-Cookie") if "kerbside-login=" in c][0]
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    me = web.ask("GET", "/api/v1/me").json
    assert (me["name"], me["provider"], me["role"]) == ("oidc:alice", "oidc", "user")
    assert me["groups"] == ["staff", "others"]
    assert web.ask("GET", "/api/v1/consoles").json["items"][0]["name"] == "desk"
    # What changes state needs the token against forgery, as with any cookie.
    path = "/api/v1/consoles/lab/u1/grants"
    assert web.ask("POST", path, {}).code == "csrf_failed"
    assert web.ask("POST", path, {}, headers={"X-CSRF-Token": me["csrf_token"]}).status == 201
    site.kerbside.wait_audit("login.ok", user="oidc:alice", client_address=web.source)
    # Logging out ends it, wherever the cookie still is.
    kept = dict(web.cookies)
    assert web.ask("DELETE", "/api/v1/login",
                   headers={"X-CSRF-Token": me["csrf_token"]}).status == 204
    assert web.cookies == {}
    web.cookies = kept
    assert web.ask("GET", "/api/v1/me").status == 401
    log = site.kerbside.process.log()
    assert site.provider.client_secret not in log and "eyJ" not in log


def test_methods(site):
    reply = browser(site).ask("GET", "/api/v1/login/methods")
    assert reply.json == {"local": True, "keystone": False, "oidc": True}


def test_subject_has_a_role(site):
    web, _ = log_in(site, "sub-root")
    assert web.ask("GET", "/api/v1/me").json["role"] == "admin"


def test_return(site):
    for path in ("/", "/desktops", "/#sessions?x=1", "/a%20b"):
        web = browser(site)
        location = start(web, START + "?" + urllib.parse.urlencode({"return": path}))
        assert web.ask("GET", site.provider.consent(location, "sub-alice")).headers[
            "Location"] == path
    for path in ("//evil.example", "https://evil.example", "/\\evil", "evil", "/a b", "/" + "a" * 200,
                 "/\"x"):
        reply = browser(site).ask("GET", START + "?" + urllib.parse.urlencode({"return": path}))
        assert reply.status == 422, path


@pytest.mark.parametrize("sub, why", [
    ("sub-carol", "no role"), ("sub-nameless", "no claim preferred_username"),
    ("sub-evil", "name has : or /")])
def test_not_allowed(site, sub, why):
    assert why in refused(site, sub, 403)


def test_groups_inside(site):
    with site.kerbside.settings(identity=site.identity(groups_claim="realm.roles",
                                                       name_claim="sub")):
        web, _ = log_in(site, "sub-nested")
        assert web.ask("GET", "/api/v1/me").json["name"] == "oidc:sub-nested"


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256"])
def test_algorithms(site, fresh, alg):
    site.provider.rotate(alg)
    assert log_in(site)[1].status == 303
    site.provider.rotate()
    site.kerbside.reload()


NOW = int(time.time())
CLAIMS = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "issuer with a slash": {"iss": "SLASH"},
    "another audience": {"aud": "somebody"},
    "no audience": {"aud": None},
    "audience of nothing": {"aud": []},
    "several audiences without azp": {"aud": ["kerbside", "somebody"]},
    "another azp": {"aud": ["kerbside", "somebody"], "azp": "somebody"},
    "azp alone wrong": {"azp": "somebody"},
    "expired": {"exp": NOW - 3600},
    "expired, skew over": {"exp": NOW - 61},
    "no expiry": {"exp": None},
    "expiry as text": {"exp": str(NOW + 300)},
    "expiry beyond numbers": {"exp": 1e300},
    "not yet": {"nbf": NOW + 3600},
    "nbf as text": {"nbf": "soon"},
    "of the future": {"iat": NOW + 3600},
    "no iat": {"iat": None},
    "no nonce": {"nonce": None},
    "another nonce": {"nonce": "x" * 43},
    "no subject": {"sub": None},
    "subject a number": {"sub": 7},
}


@pytest.mark.parametrize("what", CLAIMS)
def test_wrong_claims(site, what):
    site.provider.claims = {k: site.provider.issuer + "/" if v == "SLASH" else v
                            for k, v in CLAIMS[what].items()}
    refused(site)


@pytest.mark.parametrize("claims", [
    {"aud": ["kerbside"]}, {"aud": ["kerbside", "other"], "azp": "kerbside"}, {"azp": "kerbside"},
    {"groups": "staff"}, {"extra": {"deep": [1, None]}}], ids=str)
def test_right_claims(site, claims):
    site.provider.claims = claims
    assert log_in(site)[1].status == 303


@pytest.mark.parametrize("claims", [lambda n: {"exp": n - 20}, lambda n: {"nbf": n + 40},
                                    lambda n: {"iat": n + 40}])
def test_skew(site, claims):
    site.provider.claims = claims(int(time.time()))
    assert log_in(site)[1].status == 303


def test_wrong_signatures(site):
    provider = site.provider

    def flip(part, at):
        def spoil(token):
            parts = token.split(".")
            raw = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
            raw[at] ^= 1
            parts[part] = b64(bytes(raw))
            return ".".join(parts)
        return spoil

    def promote(token):
        head, body, signature = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        return ".".join((head, compact({**claims, "sub": "sub-root"}), signature))

    spoilers = {
        "signature": flip(2, 10), "empty signature": lambda t: t.rsplit(".", 1)[0] + ".",
        "other subject": promote, "no signature part": lambda t: t.rsplit(".", 1)[0],
        "five parts": lambda t: t + ".x.y", "garbage": lambda t: "garbage", "empty": lambda t: "",
        "padding": lambda t: t + "==", "newline": lambda t: t + "\n", "spaces": lambda t: " " + t,
        "a list": lambda t: f"{t.split('.')[0]}.{compact([1])}.{t.split('.')[2]}",
        "huge": lambda t: t + "A" * 70000,
    }
    for what, spoil in spoilers.items():
        provider.spoil = spoil
        web, reply = log_in(site)
        assert reply.status in (401, 503), what
        assert web.cookies == {}, what


@pytest.mark.parametrize("alg", ["none", "HS256", "RS512"])
def test_forbidden_algorithms(site, alg):
    site.provider.alg = alg
    assert ("no signed JWT" if alg == "none" else "algorithm") in refused(site)
    site.provider.spoil = lambda token: token + ("AAAA" if token.endswith(".") else "")
    assert "algorithm" in refused(site)


@pytest.mark.parametrize("header", [
    {"alg": "None"}, {"alg": "nOnE"}, {"alg": ""}, {"alg": None}, {"alg": "ES256"}, {"alg": "PS256"},
    {"alg": "rs256"}, {"alg": ["RS256"]}, {"crit": ["x"], "x": 1}, {"b64": False}, {"kid": 7},
    {"kid": ["a"]}], ids=str)
def test_wrong_headers(site, header):
    site.provider.alg = "RS256"
    site.provider.header = header
    refused(site)


def test_header_key_is_not_believed(site):
    """A key that the token brings along is nobody's."""
    key = Key()
    site.provider.sign_with = key
    site.provider.header = {"jwk": key.jwk(), "kid": site.provider.keys[0].kid,
                            "jku": site.provider.url + "/evil"}
    refused(site)
    assert site.provider.count("/evil") == 0


def test_rotation(site, fresh):
    provider = site.provider
    assert log_in(site)[1].status == 303
    assert provider.count("/jwks") == 1
    provider.rotate()
    assert log_in(site)[1].status == 303  # one look for the new key
    assert provider.count("/jwks") == 2
    assert log_in(site)[1].status == 303
    assert provider.count("/jwks") == 2
    # Keys that nobody publishes do not make us ask again and again.
    provider.sign_with = Key()
    for _ in range(3):
        refused(site)
    assert provider.count("/jwks") == 2
    provider.sign_with = None
    assert log_in(site)[1].status == 303


def test_kid_may_be_absent_with_one_key(site, fresh):
    provider = site.provider
    provider.header = {"kid": None}
    assert log_in(site)[1].status == 303
    provider.keys.append(Key())
    site.kerbside.reload()
    assert "several" in refused(site)
    provider.rotate()
    site.kerbside.reload()


def test_useless_keys(site, fresh):
    """Keys that must not verify do not, whatever is signed with them."""
    provider, small = site.provider, Key(bits=1024)
    good = provider.keys[0].jwk()
    oct_key = {"kty": "oct", "kid": provider.keys[0].kid, "k": b64(provider.keys[0].public_pem())}
    for jwks, key, alg in (
            ([small.jwk()], small, None),
            ([{**good, "use": "enc"}], None, None),
            ([{**good, "key_ops": ["encrypt"]}], None, None),
            ([{**good, "alg": "PS256"}], None, None),
            ([oct_key], None, "HS256"),
            ([{**good, "n": "AQAB"}], None, None),
            ([{"kty": "RSA", "kid": good["kid"]}], None, None),
            ([7, None, "x", {}, []], None, None)):
        provider.jwks, provider.sign_with, provider.alg = {"keys": jwks}, key, alg
        site.kerbside.reload()
        web, reply = log_in(site)
        assert reply.status == 401, jwks
    provider.calm()
    site.kerbside.reload()
    assert log_in(site)[1].status == 303


@pytest.mark.parametrize("trouble", ["500", "503", "nonsense", "list", "empty", "cut", "huge", "drop",
                                     "elsewhere"])
@pytest.mark.parametrize("where", ["well-known", "token", "jwks"])
def test_trouble(site, fresh, trouble, where):
    site.provider.trouble, site.provider.where = trouble, where
    web = browser(site)
    reply = web.ask("GET", START)
    if where == "well-known":
        assert (reply.status, reply.code) == (503, "provider_failed")
    else:
        reply = web.ask("GET", site.provider.consent(reply.headers["Location"], "sub-alice"))
        assert (reply.status, reply.code) == (503, "provider_failed")
        assert "__Host-kerbside-login" not in web.cookies
    assert why_failed(site.kerbside, reply).startswith("OIDC")
    site.provider.reset()
    site.kerbside.reload()
    assert log_in(site)[1].status == 303


def test_recovers_without_reload(site, fresh):
    site.provider.trouble = "500"
    assert browser(site).ask("GET", START).status == 503
    site.provider.reset()
    wait_until(lambda: browser(site).ask("GET", START).status == 302, "the provider is asked again")


@pytest.mark.parametrize("discovery", [
    {"issuer": "https://evil.example"}, {"issuer": None},
    {"authorization_endpoint": "http://localhost/a"}, {"token_endpoint": "file:///etc/passwd"},
    {"jwks_uri": None}, {"jwks_uri": 7}], ids=str)
def test_wrong_discovery(site, discovery):
    site.provider.discovery = discovery
    site.kerbside.reload()
    reply = browser(site).ask("GET", START)
    assert (reply.status, reply.code) == (503, "provider_failed")
    site.provider.calm()
    site.kerbside.reload()


def test_certificate(site):
    with site.kerbside.settings(identity=site.identity(ca=Authority("O=Evil,CN=Evil").pem)):
        reply = browser(site).ask("GET", START)
        assert reply.status == 503
        assert "ertificate" in why_failed(site.kerbside, reply)


def test_state(site):
    """Only the browser that began a login can end it, once."""
    web, other = browser(site), browser(site)
    back = site.provider.consent(start(web), "sub-alice")
    start(other)
    assert other.ask("GET", back).code == "no_such_login"
    assert Web(site.kerbside).ask("GET", back).code == "no_such_login"
    changed = back.replace("state=", "state=x")
    assert web.ask("GET", changed).code == "no_such_login"
    assert web.ask("GET", BACK).code == "no_such_login"
    assert web.ask("HEAD", back).status == 200  # a look is no use
    cookies = dict(web.cookies)
    assert web.ask("GET", back).status == 303
    web.cookies = cookies
    assert web.ask("GET", back).code == "no_such_login"  # nor with what it has kept


def test_once(site):
    """A callback that was followed is of no use to whoever got hold of address and cookie."""
    web = browser(site)
    address = site.provider.consent(start(web), "sub-alice")
    thief = browser(site)
    thief.cookies = dict(web.cookies)
    assert web.ask("GET", address).status == 303
    reply = thief.ask("GET", address)
    assert (reply.status, reply.code) == (400, "no_such_login")
    assert thief.cookies == {}
    event = site.kerbside.wait_audit("login.failed", client_address=thief.source)
    assert event["detail"] == "oidc: this login was tried before"


def test_code_of_another_flow(site):
    """A code that was stolen from another login: PKCE and nonce do not fit."""
    victim, thief = browser(site), browser(site)
    code = dict(urllib.parse.parse_qsl(site.provider.consent(start(victim), "sub-root")))
    stolen = [v for k, v in code.items() if k.endswith("code")][0]
    mine = urllib.parse.parse_qs(urllib.parse.urlsplit(
        site.provider.consent(start(thief), "sub-carol")).query)
    query = urllib.parse.urlencode({"code": stolen, "state": mine["state"][0]})
    assert thief.ask("GET", f"{BACK}?{query}").status == 401


@pytest.mark.parametrize("query", [
    {"error": "access_denied"}, {"error": "server_error", "error_description": "<script>"}, {},
    {"code": ""}, {"code": "x", "iss": "https://evil.example"}], ids=str)
def test_other_answers(site, query):
    web = browser(site)
    site.provider.consent(start(web), "sub-alice")
    query = {**query, "state": site.provider.asked["state"]}
    reply = web.ask("GET", f"{BACK}?{urllib.parse.urlencode(query)}")
    assert (reply.status, reply.code) == (403, "login_failed")
    assert b"<script>" not in reply.body
    assert web.cookies == {}


def test_page_for_people(site):
    reply = browser(site).ask("GET", f"{BACK}?code=1&state=2", headers={"Accept": "text/html"})
    assert reply.status == 400 and b"log in again" in reply.body
    assert reply.headers["Content-Type"].startswith("text/html")


def test_limit(site):
    web = browser(site)
    site.provider.claims = {"nonce": "wrong"}
    assert [log_in(site, web=web)[1].status for _ in range(11)] == [401] * 10 + [429]


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_basic"],
                                     ["private_key_jwt", "client_secret_post"]], ids=str)
def test_client_secret(site, methods):
    site.provider.auth_methods, before = methods, site.provider.auth_methods
    try:
        site.kerbside.reload()
        assert log_in(site)[1].status == 303
    finally:
        site.provider.auth_methods = before
        site.kerbside.reload()


def test_public_client(site):
    secret, site.provider.client_secret = site.provider.client_secret, None
    try:
        with site.kerbside.settings(identity=site.identity(client_secret=None)):
            assert log_in(site)[1].status == 303
    finally:
        site.provider.client_secret = secret


def test_wrong_client_secret(site):
    with site.kerbside.settings(identity=site.identity(client_secret="wrong")):
        web, reply = log_in(site)
        assert reply.status == 503
        assert "invalid_client" in why_failed(site.kerbside, reply)


def test_off(site):
    with site.kerbside.settings(identity={"roles": ROLES}):
        assert browser(site).ask("GET", START).code == "oidc_disabled"
        assert browser(site).ask("GET", BACK).code == "oidc_disabled"
