"""The API's description against the running daemon, both ways: what it answers is described, and what
is described can be had. That every route is described is the unit test http/openapi."""

import http.client
import json
import os
import queue
import random
import re
import string
import threading
import urllib.parse
from pathlib import Path

import jsonschema
import pytest
from api import METHODS, Api, Document
from clouds.keystone import Keystone
from clouds.nova import Nova
from clouds.oidc import Provider
from clouds.shakenfist import ShakenFist
from common.pki import Authority
from conftest import World
from session import Session
from spice import DISPLAY, keep, own_address

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("admin", "operator", "auditor", "broker", "user", "agent")
FILE = {"Accept": "application/x-virt-viewer"}
BODY_MAX = 64 << 10
TARGET_MAX = 15 << 10  # with its headers, what is longer is refused as a head that is too large


class Apis:
    """The API for everybody who may ask."""

    def __init__(self, world):
        self.kerbside = world.kerbside
        self.nobody = Api(world.kerbside)
        self.document = Document(self.nobody.ask("GET", "/api/v1/openapi.json").json())
        self.roles = {}
        for role in ROLES:
            _, text = world.kerbside.ask("POST", "/api/v1/apikeys", {"name": role, "role": role})
            self.roles[role] = Api(world.kerbside, json.loads(text)["key"])
        self.admin = self.roles["admin"]
        world.kerbside.ask("POST", "/api/v1/users",
                           {"name": "alice", "role": "user", "password": "correct horse"})

    def operation(self, method: str, path: str):
        return next(o for o in self.document.operations if (o.method, o.path) == (method, path))

    def close(self):
        for api in (self.nobody, *self.roles.values()):
            api.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    socket = {"source": "local", "type": "static",
              "consoles": [{"uuid": "socket", "unix_socket": "/nowhere/spice.sock"}]}
    world = World(tmp_path_factory.mktemp("world"), [socket])
    yield world
    world.stop()


@pytest.fixture(scope="module")
def oidc(tmp_path_factory):
    """A provider of logins, and the configuration that leads to it."""
    folder = tmp_path_factory.mktemp("oidc")
    authority = Authority("O=Login,CN=Login CA")
    provider = Provider(authority.server_context(folder / "tls", "CN=localhost"))
    provider.user("sub-alice", preferred_username="alice")
    (folder / "secret").write_text(provider.client_secret)
    yield provider, {
        "oidc": {"issuer": provider.issuer, "client_id": provider.client_id,
                 "client_secret": {"file": str(folder / "secret")}, "ca": authority.pem},
        "roles": [{"role": "user", "users": "oidc:alice"}],
    }
    provider.stop()


@pytest.fixture(scope="module")
def fist():
    """A cloud whose links lead to kerbside, its source, and an instance of it."""
    cloud = ShakenFist(None)
    cloud.proxy_url = "https://127.0.0.1:8443"
    yield cloud, {"source": "sf", "type": "shakenfist", "url": cloud.url, "username": "system",
                  "password": "oisoSe7T"}, cloud.instance("web", port=1)
    cloud.stop()


@pytest.fixture(scope="module")
def opened(world):
    apis = Apis(world)
    yield apis
    apis.close()


@pytest.fixture
def apis(opened):
    """No connection stays open, so that what a test leaves behind can be counted."""
    yield opened
    opened.close()


def test_the_document_is_openapi(apis):
    raw = apis.document.raw
    assert raw["openapi"].startswith("3.1.")
    for schema in raw["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [o.raw["operationId"] for o in apis.document.operations]
    assert len(names) == len(set(names))
    used = set(re.findall(r'"#/components/([^"]+)"', json.dumps(raw)))
    there = {f"{kind}/{name}" for kind in ("schemas", "responses", "parameters")
             for name in raw["components"][kind]}
    assert used == there


def test_methods(apis):
    for path, operations in apis.document.raw["paths"].items():
        there = set(operations) | ({"head"} if "get" in operations else set())
        target = apis.operation(next(iter(operations)).upper(), path).target()
        if path == "/metrics":  # at another door
            assert apis.nobody.send("GET", target).status == 404
            continue
        for method in METHODS:
            if method in there:
                continue
            answer = apis.admin.send(method.upper(), target)
            assert answer.status == 405, f"{method} {path}: {answer}"
            assert {m.lower() for m in answer.headers["Allow"].split(", ")} == there
            if method != "head":
                apis.document.validate(answer.json(), {"$ref": "#/components/schemas/Error"}, path)


# ---- every status that is described ----

# What needs a store that fails, or a daemon that is not ready.
OUT_OF_REACH = {503}


def refusals(apis, operation):
    """What every operation of its kind refuses in the same way."""
    admin, method, target = apis.admin, operation.method, operation.target()
    yield admin.send(method, target + "?%zz")
    if not operation.open:
        yield apis.nobody.send(method, target)
        for api in apis.roles.values():
            answer = api.ask(method, target, {} if operation.wish else None)
            if answer.status == 403:
                yield answer
    if any(p["in"] == "path" for p in operation.parameters):
        yield admin.ask(method, target, sample(operation))
    if operation.wish:
        yield admin.send(method, target, b"x" * (BODY_MAX + 1),
                         {"Content-Type": "application/json"})
        yield admin.send(method, target, b"{}", {"Content-Type": "text/plain"})
        yield admin.ask(method, target, {"nonsense": 1})
    elif any(p["name"] == "limit" for p in operation.parameters):
        yield admin.ask(method, target + "?limit=0")


def sample(operation) -> dict | None:
    """A body of which every required field is good."""
    good = {"username": "nobody", "password": "something", "name": "somebody", "role": "user"}
    if not operation.wish:
        return None
    schema = operation.document.resolve(operation.wish)
    return {name: good[name] for name in schema["required"]}


def login(apis, **more):
    wish = {"username": "alice", "password": "correct horse", **more}
    return apis.nobody.ask("POST", "/api/v1/login", wish)


def busy_diagnoses(apis, world):
    """Many ask of a server that says nothing until one of them was turned away."""
    operation = apis.operation("GET", "/api/v1/consoles/{source}/{uuid}/diagnosis")
    target = operation.target(source="lab", uuid="desk")
    go_on, answers = threading.Event(), queue.Queue()

    def ask():
        api = Api(world.kerbside, apis.admin.token)
        answers.put(api.ask("GET", target))
        api.close()

    world.server.behave = lambda leg: go_on.wait() and keep(leg)
    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    yield operation, answers.get()
    for verb in ("refresh", "check"):  # they share the threads
        busy = apis.operation("POST", "/api/v1/sources/{source}/" + verb)
        yield busy, apis.admin.ask("POST", busy.target(source="lab"))
    go_on.set()
    for thread in threads:
        thread.join()
    while not answers.empty():
        yield operation, answers.get()
    world.server.behave = keep
    while not world.server.legs.empty():
        world.server.legs.get().close()


def nova_tokens(apis, world):
    """One that a cloud knows, at both doors."""
    shared, own = "/nova-console.vv", "/nova/{source}/console.vv"
    keystone = Keystone(None)
    project, user = keystone.project("service"), keystone.user("gateway", "secret")
    keystone.assign(user, "admin", project)
    nova = Nova(None, keystone)
    server = nova.owned("web", project, user, port=1)
    cloud = {"source": "cloud", "type": "openstack", "url": keystone.url, "username": "gateway",
             "password": "secret", "project_name": "service", "exchange": "shared"}
    sources = world.kerbside.configuration["sources"]
    try:
        with world.kerbside.settings(sources=[*sources, cloud]):
            world.kerbside.ask("POST", "/api/v1/sources/cloud/refresh")
            for path, names in ((shared, {}), (own, {"source": "cloud"})):
                operation = apis.operation("GET", path)
                for query in (f"?token={nova.console_token(server)}", "", "?token=x"):
                    target = operation.target(**names) + query
                    yield operation, apis.nobody.ask("GET", target)
    finally:
        nova.stop()
        keystone.stop()


def oidc_logins(apis, world, oidc):
    """The ways that a login with OIDC ends, too many failed logins of any kind last."""
    provider, identity = oidc
    begin, back = (apis.operation("GET", path) for path in
                   ("/api/v1/login/oidc", "/api/v1/login/oidc/callback"))

    def come_back(cookie, **query):
        return back, apis.nobody.ask("GET", f"{back.path}?{urllib.parse.urlencode(query)}",
                                     headers={"Cookie": cookie})

    def go_there():
        """A flow of its own: each is good for one try."""
        answer = apis.nobody.ask("GET", begin.path)
        target = provider.consent(answer.headers["Location"], "sub-alice")
        return answer, answer.headers["Set-Cookie"].split(";")[0], target, provider.asked["state"]

    for operation in (begin, back):
        yield operation, apis.nobody.ask("GET", operation.path)
    with world.kerbside.settings(identity=identity):
        yield begin, apis.nobody.ask("GET", begin.path + "?return=//elsewhere")
        answer, cookie, target, state = go_there()
        yield begin, answer
        yield back, apis.nobody.ask("GET", target)
        yield back, apis.nobody.ask("GET", target, headers={"Accept": "text/html"})
        yield back, apis.nobody.ask("GET", target, headers={"Cookie": cookie})
        yield come_back(cookie, state=state, code="again")
        _, cookie, _, state = go_there()
        yield come_back(cookie, state=state, error="access_denied")
        _, cookie, _, state = go_there()
        yield come_back(cookie, state=state, code="nothing")
        _, cookie, _, state = go_there()
        login = apis.operation("POST", "/api/v1/login")
        for _ in range(12):
            yield login, apis.nobody.ask("POST", login.path,
                                         {"username": "mallory", "password": "x"})
        yield come_back(cookie, state=state, code="nothing")


def cloud_links(apis, world, fist):
    """(operation, answer) for the link of a cloud."""
    operation = apis.operation("GET", "/sf-console.vv")
    cloud, source, instance = fist
    with world.kerbside.settings(sources=[*world.kerbside.configuration["sources"], source]):
        world.kerbside.wait_audit("source.ok", source="sf")
        for token in ("", "x", cloud.console_token(instance.uuid)):
            yield operation, apis.nobody.ask("GET", f"{operation.path}?token={token}")


def machines(apis, world):
    """(operation, answer) for a machine that comes and goes, and one that somebody else has."""
    put, delete = (apis.operation(method, "/api/v1/sources/{source}/machines/{name}")
                   for method in ("PUT", "DELETE"))
    admin, agent = apis.admin, apis.roles["agent"]
    wish = {"insecure_port": 5900, "ticket": "sesame", "lease": "60s", "agent": "one"}
    names = {"source": "desks", "name": "box"}
    desks = {"source": "desks", "type": "registered"}
    with world.kerbside.settings(sources=[*world.kerbside.configuration["sources"], desks]):
        for _ in range(2):
            yield put, agent.ask("PUT", put.target(**names), wish)
        yield put, admin.ask("PUT", put.target(**names), wish)
        yield put, agent.ask("PUT", put.target(**names), {})
        yield put, admin.ask("PUT", put.target(source="lab", name="box"), wish)
        yield delete, agent.ask("DELETE", delete.target(**names) + "?agent=two")
        yield delete, agent.ask("DELETE", delete.target(**names) + "?agent=one")
        yield delete, agent.ask("DELETE", delete.target(**names))


def scenes(apis, world, oidc, fist):
    """(operation, answer) for what must be set up first."""
    admin, nobody = apis.admin, apis.nobody

    def ask(method, path, wish=None, api=admin, headers=None, query="", **values):
        operation = apis.operation(method, path)
        answer = api.ask(method, operation.target(**values) + query, wish, headers)
        return operation, answer

    for name in ("index.html", "app.js", "style.css", "icon.svg"):
        operation, answer = ask("GET", "/web/{file}", api=nobody, file=name)
        yield operation, answer
        fresh = {"If-None-Match": answer.headers["ETag"]}
        yield ask("GET", "/web/{file}", api=nobody, headers=fresh, file=name)
        if name == "index.html":
            yield ask("GET", "/", api=nobody, headers=fresh)
    for path in ("/", "/healthz", "/readyz", "/api/v1/openapi.json"):
        yield ask("GET", path, api=nobody)
    for path in ("me", "status", "sources", "consoles", "policies", "grants", "sessions", "audit",
                 "users", "apikeys"):
        yield ask("GET", f"/api/v1/{path}")
    status, headers, body = world.kerbside.call("GET", "/metrics")
    assert (status, headers.get_content_type()) == (200, "text/plain")
    yield apis.operation("GET", "/metrics"), 200
    yield ask("GET", "/metrics", api=nobody)

    # logins
    yield apis.operation("POST", "/api/v1/login"), login(apis)
    answer = login(apis, as_cookie=True)
    yield apis.operation("POST", "/api/v1/login"), answer
    cookie = answer.headers["Set-Cookie"].split(";")[0]
    csrf = answer.json()["csrf_token"]
    yield ask("GET", "/api/v1/me", api=nobody, headers={"Cookie": cookie})
    yield ask("DELETE", "/api/v1/login", api=nobody, headers={"Cookie": cookie})
    yield ask("DELETE", "/api/v1/login", api=nobody,
              headers={"Cookie": cookie, "X-CSRF-Token": csrf})
    yield ask("DELETE", "/api/v1/login")
    yield ask("GET", "/api/v1/login/methods", api=nobody)
    yield apis.operation("POST", "/api/v1/login"), login(apis)
    yield ask("GET", "/api/v1/logins")
    found = admin.ask("GET", "/api/v1/logins?user=alice").json()["items"]
    yield ask("DELETE", "/api/v1/logins/{id}", id=found[0]["id"])
    yield ask("DELETE", "/api/v1/logins")
    yield ask("DELETE", "/api/v1/logins", query="?user=alice")
    yield from oidc_logins(apis, world, oidc)
    with world.kerbside.settings(identity={"local": {"enabled": False}}):
        yield apis.operation("POST", "/api/v1/login"), login(apis)

    # sources and consoles
    desk = {"source": "lab", "uuid": "desk"}
    console = "/api/v1/consoles/{source}/{uuid}"
    yield ask("GET", "/api/v1/sources/{source}", source="lab")
    yield ask("POST", "/api/v1/sources/{source}/refresh", source="lab")
    yield ask("POST", "/api/v1/sources/{source}/check", source="lab")
    yield ask("GET", console, **desk)
    yield ask("GET", console, api=apis.roles["user"], **desk)
    yield ask("GET", f"{console}/policy", query="?user=bob&groups=a,b", **desk)
    yield ask("GET", f"{console}/policy", query="?policy=none", **desk)
    yield ask("GET", f"{console}/diagnosis", **desk)
    yield from busy_diagnoses(apis, world)
    yield from machines(apis, world)

    # what upstream has
    yield from nova_tokens(apis, world)
    for path in ("/nova-console.vv", "/sf-console.vv"):
        yield ask("GET", path, api=nobody)
        yield ask("GET", path, api=nobody, query="?token=x&title=y")
    yield from cloud_links(apis, world, fist)
    yield ask("GET", "/console/proxy/{source}/{uuid}/console.vv", query="?title=a&language=b",
              **desk)
    yield ask("GET", "/console/direct/{source}/{uuid}/console.vv", query="?title=a", **desk)
    yield ask("GET", "/console/direct/{source}/{uuid}/console.vv", source="local", uuid="socket")

    # grants
    yield ask("POST", f"{console}/grants", {}, headers=FILE, **desk)
    for method in ("GET", "POST"):
        operation, answer = ask("POST", f"{console}/grants", {"user": "bob"}, **desk)
        yield operation, answer
        token = answer.json()["vv_url"].rsplit("/", 1)[1].removesuffix(".vv")
        page = {"Accept": "text/html"}
        yield ask("GET", "/vv/{token}.vv", api=nobody, headers=page, token=token)
        yield ask(method, "/vv/{token}.vv", api=nobody, token=token)
        yield ask(method, "/vv/{token}.vv", api=nobody, token=token)
        yield ask(method, "/vv/{token}.vv", api=nobody, headers=page, token=token)
        operation, answer = ask("POST", f"{console}/grants", {"client_address": "192.0.2.1"},
                                **desk)
        token = answer.json()["vv_url"].rsplit("/", 1)[1].removesuffix(".vv")
        yield ask(method, "/vv/{token}.vv", api=nobody, token=token)
        yield ask("DELETE", "/api/v1/grants/{id}", id=answer.json()["grant_id"])

    # sessions
    with Session(world.kerbside, world.server) as session:
        session.channel(DISPLAY).exchange()
        yield ask("GET", "/api/v1/sessions")
        yield ask("GET", "/api/v1/sessions/{id}", id=session.id)
        yield ask("POST", "/api/v1/sessions/{id}/terminate", {"reason": "lunch"}, id=session.id)
        session.wait_end()
    yield ask("POST", f"{console}/terminate", {}, **desk)
    yield ask("POST", "/api/v1/sessions/terminate", {"user": "nobody"})
    for how in ("", "?format=jsonl", "?format=csv"):
        yield ask("GET", "/api/v1/audit", query=how)

    # users and keys
    new = {"name": "carol", "role": "operator", "password": "correct horse"}
    for _ in range(2):
        yield ask("POST", "/api/v1/users", new)
    yield ask("POST", "/api/v1/users/{name}/password", {"password": "battery staple"}, name="carol")
    yield ask("PATCH", "/api/v1/users/{name}", {"role": "auditor"}, name="carol")
    yield ask("PATCH", "/api/v1/users/{name}", {"role": "auditor"}, name="admin")
    yield ask("DELETE", "/api/v1/users/{name}", name="admin")
    yield ask("DELETE", "/api/v1/users/{name}", name="carol")
    operation, answer = ask("POST", "/api/v1/apikeys", {
        "name": "nova", "role": "broker", "expires_in": "1h", "cidrs": ["192.0.2.0/24"],
        "sources": "lab", "consoles": ["desk", "test-*"]})
    yield operation, answer
    yield ask("GET", "/api/v1/apikeys")
    yield ask("DELETE", "/api/v1/apikeys/{id}", id=answer.json()["id"])


def too_much(apis, world):
    """Every operation that says so refuses who has asked too much."""
    greedy = Api(world.kerbside, source=own_address())
    with world.kerbside.settings(limits={"http_requests": 1}):
        for operation in apis.document.operations:
            for _ in range(100 if 429 in operation.statuses else 0):
                answer = greedy.send(operation.method, operation.target())
                if answer.status == 429:  # one a second is served
                    assert answer.json()["error"]["code"] == "too_many_requests"
                    yield operation, answer
                    break
    greedy.close()


def test_every_status(world, apis, oidc, fist):
    """What is described can be had, and what is had is as described."""
    seen = {o: set() for o in apis.document.operations}

    def note(operation, answer):
        if answer == 200:
            seen[operation].add(answer)
            return
        operation.check(answer)
        seen[operation].add(answer.status)

    for operation in apis.document.operations:
        if operation.path == "/metrics":
            seen[operation].add(400)  # like all others; but only at another door
            continue
        for answer in refusals(apis, operation):
            note(operation, answer)
    for operation, answer in scenes(apis, world, oidc, fist):
        note(operation, answer)
    for operation, answer in too_much(apis, world):
        note(operation, answer)
    missing = {str(o): sorted(o.statuses - got - OUT_OF_REACH) for o, got in seen.items()}
    assert {o: m for o, m in missing.items() if m} == {}


# ---- fields and parameters ----

def test_fields(apis):
    """The daemon names the fields that it knows when it meets one that it does not."""
    for operation in apis.document.operations:
        if not operation.wish:
            continue
        answer = apis.admin.ask(operation.method, operation.target(), {"nonsense": 1})
        message = answer.json()["error"]["message"]
        _, _, names = message.partition("there are ")
        assert set(filter(None, names.split(", "))) == set(operation.fields()), \
            f"{operation}: {message}"
        required = set(operation.document.resolve(operation.wish)["required"])
        if required:
            answer = apis.admin.ask(operation.method, operation.target(), {})
            assert answer.status == 422 and "is missing" in answer.json()["error"]["message"]
        for left_out in required:
            wish = {k: v for k, v in sample(operation).items() if k != left_out}
            answer = apis.admin.ask(operation.method, operation.target(), wish)
            assert answer.json()["error"]["message"] == f'"{left_out}" is missing'


def parameters_in_sources() -> set[str]:
    """Query parameters cannot be asked for, since unknown ones are ignored."""
    found = set()
    for path in (ROOT / "src/http").glob("*.c"):
        found.update(re.findall(
            r'(?:kb_http_target_query\(&r->target|filter\(r|kb_request_(?:time|flag)\(r), "(\w+)"',
            path.read_text()))
    return found


def test_query_parameters(world, apis):
    described = {p["name"] for o in apis.document.operations for p in o.query()}
    assert described == parameters_in_sources()
    world.kerbside.grant("desk")
    for operation in apis.document.operations:
        for p in operation.query():
            if p["name"] == "token":
                continue
            value = "0" if p["name"] == "limit" else "no-such-thing"
            answer = apis.admin.ask(operation.method, f"{operation.target()}?{p['name']}={value}")
            operation.check(answer)
            if p["name"] in ("limit", "cursor", "sort", "since", "until", "format", "in_use"):
                assert answer.status == 422, f"{operation} {p['name']}: {answer}"
            elif (operation.method == "DELETE" or operation.path.startswith("/api/v1/login/")
                  or operation.path.endswith("/policy")):
                assert answer.status in (200, 403, 404), f"{operation} {p['name']}: {answer}"
            elif (operation.path, p["name"]) != ("/api/v1/grants", "q"):
                assert answer.json()["items"] == [], f"{operation} {p['name']}: {answer}"


# ---- anything else ----

class Fuzzer:
    """Requests that begin as the description says and then go wrong somewhere."""

    def __init__(self, apis, seed):
        self.chance = random.Random(seed)
        self.apis = apis

    def text(self) -> str:
        c = self.chance
        return c.choice([
            lambda: "", lambda: c.choice(["desk", "lab", "alice", "bob", "default", "60s", "0"]),
            lambda: "".join(c.choices(string.printable, k=c.randrange(1, 40))),
            lambda: "".join(chr(c.choice([0x200e, 0x202e, 0x2028, 0xfeff, 0xe9, 0x1f600, 0x41,
                                          0x10ffff, 0xfdd0])) for _ in range(c.randrange(1, 20))),
            lambda: c.choice("aé漢") * c.choice([63, 64, 127, 128, 200, 201, 1024, 5000]),
            lambda: c.choice(["%s%n%s", "../../etc/passwd", "' OR 1=1 --", "\r\nX: y", "]\n[x]",
                              "99999999999999999999h", "-1s", "1970-01-01T00:00:00Z", "\x7f",
                              "9999-12-31T23:59:60+99:99", "<script>", "::1", "300.1.1.1"]),
        ])()

    def value(self, depth=0):
        c = self.chance
        kinds = [self.text, lambda: c.choice([True, False, None]),
                 lambda: c.choice([0, -1, 1, 2 ** 31, 2 ** 53, 2 ** 63 - 1, -2 ** 63, 1.5, 1e308])]
        if depth < 3:
            kinds += [lambda: [self.value(depth + 1) for _ in range(c.randrange(4))],
                      lambda: {self.text(): self.value(depth + 1) for _ in range(c.randrange(4))}]
        return c.choice(kinds)()

    def good(self, name: str):
        return {"role": "user", "password": "correct horse", "reusable": False, "as_cookie": True,
                "client_address": "127.0.0.1", "policy": "default", "start_within": "5s",
                "max_session": "1h", "expires_in": "1h", "expires_at": None,
                "method": "local", "domain": None, "keystone_token": None, "cidrs": "127.0.0.0/8",
                "sources": ["lab"], "consoles": "desk*",
                }.get(name, f"fuzz-{self.chance.randrange(1000)}")

    def body(self, operation) -> bytes:
        c = self.chance
        wish = {name: self.good(name) for name in operation.fields() if c.random() < 0.8}
        for _ in range(c.choice([0, 1, 1, 2])):
            names = [*operation.fields(), self.text()]
            wish[c.choice(names)] = self.value()
        data = json.dumps(c.choice([wish, wish, wish, wish, self.value()])).encode()
        way = c.randrange(12)
        if way == 0 and data:  # bytes that are no UTF-8, or half a text
            at = c.randrange(len(data))
            data = data[:at] + c.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\0", b""]) + \
                data[at + 1:]
        elif way == 1:
            data = data[:c.randrange(len(data) + 1)]
        elif way == 2:
            data = c.choice([b"[" * 5000, b'{"a":' * 3000, b"1e999999", b"9" * 400, b'"\\ud800"',
                             b'{"reason":"\\u0000"}', b'{"reason":1,"reason":2}', b"\xef\xbb\xbf{}",
                             c.randbytes(100), b"{}" * 2, b" " * BODY_MAX])
        elif way == 3:
            data = json.dumps({"reason": "x" * c.choice([60000, 65536, 100000])}).encode()
        return data

    def quote(self, data: bytes) -> str:
        keep = string.ascii_letters.encode() + string.digits.encode() + b"-._~"
        return "".join(chr(b) if b in keep and self.chance.random() < 0.95 else f"%{b:02X}"
                       for b in data)

    def piece(self) -> str:
        c = self.chance
        data = self.text().encode()
        if c.random() < 0.1:
            data += c.choice([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\0", b"%"])
        return self.quote(data)

    def target(self, operation) -> bytes:
        c = self.chance
        path = operation.path
        for p in operation.parameters:
            if p["in"] == "path":
                known = {"source": "lab", "uuid": "desk", "name": "alice"}.get(p["name"], "x")
                path = path.replace("{%s}" % p["name"],
                                    known if c.random() < 0.5 else self.piece())
        query = []
        names = [p["name"] for p in operation.query()]
        for _ in range(c.choice([0, 0, 1, 2, 3, 40])):
            name = c.choice(names) if names and c.random() < 0.8 else self.piece()
            value = c.choice(["1", "1000", "", "2026-11-20T18:00:00Z"]) if c.random() < 0.4 \
                else self.piece()
            query.append(f"{name}={value}" if c.random() < 0.95 else name)
        text = (path + ("?" + "&".join(query) if query else "")).encode()
        if c.random() < 0.02:
            text += c.choice([b"%", b"%f", b"?", b"#x", b"/", b"//", b"/..", b"\xff", b"&&&=="])
        return text[:TARGET_MAX]

    def request(self):
        c = self.chance
        operation = c.choice(self.apis.document.operations)
        method = operation.method
        if c.random() < 0.1:
            method = c.choice([m.upper() for m in METHODS] + ["BREW", "get", "A" * 100])
        body = None
        headers = {}
        if method != "HEAD" and (operation.wish or c.random() < 0.1):
            body = self.body(operation)
            headers["Content-Type"] = c.choice(["application/json"] * 8 + [
                "application/json; charset=latin-1", "text/plain", "application/jsonx", "\xff"])
        if c.random() < 0.2:
            headers["Accept"] = c.choice(["application/x-virt-viewer", "text/html", "*/*", ",;q=",
                                          "text/csv", "x" * 2000])
        if c.random() < 0.05:
            headers["Authorization"] = c.choice(["Bearer", "Bearer x y", "Basic YTpi", "\xff",
                                                 "Bearer " + "k" * 5000])
        if c.random() < 0.05:
            headers["Cookie"] = "__Host-kerbside-login=" + self.quote(self.text().encode())[:4000]
        return operation, method, self.target(operation), body, headers


SEEDS = [os.environ["KERBSIDE_FUZZ_SEED"]] if "KERBSIDE_FUZZ_SEED" in os.environ else \
    [f"a-{n}" for n in range(4)]


@pytest.mark.parametrize("seed", SEEDS)
def test_nonsense(world, apis, seed):
    """Whatever comes is answered, never by a 5xx, and with an error of the one form."""
    fuzzer = Fuzzer(apis, seed)
    who = [*apis.roles.values(), apis.admin, apis.admin, apis.nobody]
    for n in range(500):
        operation, method, target, body, headers = fuzzer.request()
        what = f"request {n} of seed {seed}: {method} {target[:300]} {headers} {body and body[:300]}"
        try:
            answer = fuzzer.chance.choice(who).send(method, target, body, headers)
        except (OSError, http.client.HTTPException) as e:
            raise AssertionError(f"{what}: no answer: {e!r}") from None
        assert answer.status < 500, f"{what}: {answer}"
        if "X-Request-Id" not in answer.headers:  # refused before it was a request
            assert answer.status == 400 and b"\xff" in target, f"{what}: {answer}"
            continue
        if answer.status < 400 or method == "HEAD" or answer.type == "text/html":
            continue
        assert answer.type == "application/json", f"{what}: {answer}"
        apis.document.validate(answer.json(), {"$ref": "#/components/schemas/Error"}, what)
        assert answer.json()["error"]["request_id"] == answer.headers["X-Request-Id"]
