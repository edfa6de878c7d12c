"""The stand-ins of clouds themselves, asked with nothing but Python's own HTTP client and held to the
samples of the clouds' API documentation: paths, headers, names of fields, shapes of errors. What
drivers are tested against is right only if these are."""
import datetime
import itertools
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
import xmlrpc.client

import pytest
from cloud_site import FORM, Asker, Reply, form, site  # noqa: F401  (site: a fixture)
from clouds import server, tunnel
from clouds.directory import Directory
from clouds.incus import Incus
from clouds.keystone import Keystone
from clouds.kubevirt import KubeVirt
from clouds.nova import Nova
from clouds.opennebula import OpenNebula
from clouds.ovirt import SPICE, Ovirt
from clouds.proxmox import Proxmox
from clouds.shakenfist import ShakenFist
from common.pki import Authority
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

# ---- what all of them can do ----


@pytest.fixture
def directory(site):
    return site.keep(Directory(site.context))


def test_service_troubles(site, directory):
    ask = site.ask(directory, Authorization=f"Bearer {directory.token}")
    directory.fill(3)
    good = ask("GET", "/consoles")
    assert good.status == 200 and len(good.json["consoles"]) == 3

    directory.trouble, directory.times = "503", 1
    busy = ask("GET", "/consoles")
    assert busy.status == 503 and busy.headers["Retry-After"] == "1"
    assert ask("GET", "/consoles").status == 200  # once only

    directory.trouble, directory.retry_after = "429", 7
    busy = ask("GET", "/consoles")
    assert (busy.status, busy.headers["Retry-After"]) == (429, "7")
    directory.trouble = "401"
    assert ask("GET", "/consoles").status == 401
    directory.trouble = "chunked"
    chunked = ask("GET", "/consoles")
    assert chunked.headers["Transfer-Encoding"] == "chunked" and chunked.body == good.body
    directory.trouble = "gzip"
    assert ask("GET", "/consoles").body == good.body
    packed = ask("GET", "/consoles", Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip" and packed.body != good.body
    directory.trouble = "slow"
    threading.Timer(0.2, directory.release).start()
    assert ask("GET", "/consoles").body == good.body
    directory.reset()
    directory.trouble = "cut"
    with pytest.raises(Exception, match="IncompleteRead"):
        ask("GET", "/consoles")


def test_service_alters_what_it_says(site, directory):
    ask = site.ask(directory, Authorization=f"Bearer {directory.token}")
    directory.add("a", port=5900)

    def record():
        return ask("GET", "/consoles").json["consoles"][0]

    assert record()["insecure_port"] == 5900
    directory.alter = server.nulls("insecure_port")
    assert record()["insecure_port"] is None
    directory.alter = server.as_text("insecure_port")
    assert record()["insecure_port"] == "5900"
    directory.alter = server.without("insecure_port")
    assert "insecure_port" not in record()
    directory.alter = server.as_odd({"deep": []}, "name")
    assert record()["name"] == {"deep": []}
    directory.alter = server.nulls("name", where="/elsewhere")
    assert record()["name"] == "a"


@pytest.mark.parametrize("fault", ["name", "expired", "authority"])
def test_tls_faults(site, directory, fault):
    ask = site.ask(directory, Authorization=f"Bearer {directory.token}")
    folder = site.folder / fault
    assert ask("GET", "/consoles").status == 200
    match fault:
        case "name":
            directory.tls = site.authority.server_context(folder, "CN=other", names=("other",),
                                                          addresses=())
        case "expired":
            directory.tls = site.authority.server_context(folder, "CN=localhost", expired=True)
        case "authority":
            directory.tls = Authority("CN=Another CA").server_context(folder, "CN=localhost")
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        ask("GET", "/consoles")


@pytest.mark.parametrize("name", server.HOSTILE_NAMES)
def test_names_arrive_as_they_are(site, directory, name):
    ask = site.ask(directory, Authorization=f"Bearer {directory.token}")
    directory.add(name)
    assert ask("GET", "/consoles").json["consoles"][0]["name"] == name


def test_directory(site, directory):
    ask = site.ask(directory, Authorization=f"Bearer {directory.token}")
    assert site.ask(directory)("GET", "/consoles").status == 401
    assert ask("GET", "/consoles").json == {"consoles": []}
    directory.fill(5)
    directory.page_size, directory.wrong_host_links = 2, True
    names, path = [], "/consoles"
    while path:
        page = ask("GET", path).json
        names += [c["name"] for c in page["consoles"]]
        path = page.get("next", "").removeprefix("https://internal.invalid")
    assert names == [f"vm-{i:05d}" for i in range(5)]
    etag = ask("GET", "/consoles").headers["ETag"]
    assert ask("GET", "/consoles", If_None_Match=etag).status == 304
    directory.add("new")
    assert ask("GET", "/consoles", If_None_Match=etag).status == 200
    directory.expire_at_page = directory._pages + 1
    assert [ask("GET", "/consoles").status for _ in range(2)] == [200, 401]


# ---- OpenStack ----


class OpenStack:
    def __init__(self, site):
        self.site = site
        self.keystone = k = site.keep(Keystone(site.context))
        self.nova = site.keep(Nova(site.context, k))
        self.service = k.project("service")
        self.demo = k.project("demo")
        self.gw = k.user("gw", "gw's")
        self.alice = k.user("alice", "alice's")
        k.assign(self.gw, "admin", self.service)
        k.assign(self.alice, "member", self.demo)

    def log_in(self, scope=None, **identity) -> Reply:
        body = {"auth": {"identity": identity, **({"scope": scope} if scope else {})}}
        return self.site.ask(self.keystone)("POST", "/v3/auth/tokens", body)

    def password(self, name: str, project: str | None, password=None) -> Reply:
        user = {"name": name, "password": password or f"{name}'s", "domain": {"id": "default"}}
        scope = {"project": {"name": project, "domain": {"id": "default"}}} if project else None
        return self.log_in(scope, methods=["password"], password={"user": user})

    def asker(self, name="gw", project="service", version="2.99") -> Asker:
        token = self.password(name, project).headers["X-Subject-Token"]
        return self.site.ask(self.nova, X_Auth_Token=token,
                             OpenStack_API_Version=f"compute {version}")


@pytest.fixture
def openstack(site):
    return OpenStack(site)


def test_keystone_scopes_and_catalog(openstack):
    reply = openstack.password("gw", "service")
    assert reply.status == 201 and reply.headers["X-Subject-Token"]
    token = reply.json["token"]
    assert {"methods", "user", "audit_ids", "expires_at", "issued_at", "project", "is_domain",
            "roles", "catalog"} <= set(token)
    datetime.datetime.strptime(token["expires_at"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert token["project"]["name"] == "service" and token["roles"][0]["name"] == "admin"
    compute = [s for s in token["catalog"] if s["type"] == "compute"]
    assert len(compute) == 1
    public = [e for e in compute[0]["endpoints"] if e["interface"] == "public"]
    assert set(public[0]) == {"id", "interface", "region", "region_id", "url"}
    assert public[0]["url"] == openstack.nova.url + "/v2.1"

    assert "catalog" not in openstack.password("gw", None).json["token"]
    refused = openstack.password("alice", "service")  # has no role there
    assert refused.status == 401 and refused.json["error"]["title"] == "Unauthorized"
    assert openstack.password("gw", "service", "wrong").status == 401
    assert openstack.password("gw", "no such project").status == 401
    ask = openstack.site.ask(openstack.keystone)
    assert ask("GET", "/v3").json["version"]["id"].startswith("v3.")
    assert ask("GET", "/").status == 300


def test_keystone_application_credentials(openstack):
    k = openstack.keystone
    credential = k.application_credential(openstack.gw, openstack.service, "kerbside", "hush")
    methods = ["application_credential"]
    by_id = openstack.log_in(methods=methods,
                             application_credential={"id": credential, "secret": "hush"})
    assert by_id.status == 201
    assert by_id.json["token"]["project"]["id"] == openstack.service
    by_name = openstack.log_in(methods=methods, application_credential={
        "name": "kerbside", "secret": "hush", "user": {"name": "gw", "domain": {"id": "default"}}})
    assert by_name.status == 201
    wrong = openstack.log_in(methods=methods,
                             application_credential={"id": credential, "secret": "shout"})
    assert wrong.status == 401
    scoped = openstack.log_in({"system": {"all": True}}, methods=methods,
                              application_credential={"id": credential, "secret": "hush"})
    assert scoped.status == 401


def test_nova_versions(openstack):
    ask = openstack.asker()
    plain = openstack.site.ask(openstack.nova)  # versions need no token
    assert {v["id"] for v in plain("GET", "/").json["versions"]} == {"v2.0", "v2.1"}
    version = plain("GET", "/v2.1/").json["version"]
    assert (version["min_version"], version["status"]) == ("2.1", "CURRENT")

    reply = ask("GET", "/v2.1/servers/detail")
    assert reply.headers["OpenStack-API-Version"] == "compute 2.99"
    assert reply.headers["X-OpenStack-Nova-API-Version"] == "2.99"
    assert "OpenStack-API-Version" in reply.headers["Vary"]
    for asked, status, fault in (("compute 2.999", 406, "computeFault"),
                                 ("compute two", 400, "badRequest")):
        refused = ask("GET", "/v2.1/servers/detail", OpenStack_API_Version=asked)
        assert refused.status == status and refused.json[fault]["code"] == status
    openstack.nova.maximum = (2, 93)  # Debian's
    assert ask("GET", "/v2.1/servers/detail").status == 406
    unknown = plain("GET", "/v2.1/servers/detail", X_Auth_Token="x")
    assert unknown.status == 401 and unknown.json["error"]["code"] == 401


def test_nova_lists_servers(openstack):
    nova, ask = openstack.nova, openstack.asker()
    machine = nova.owned("web", openstack.demo, openstack.alice, node="hv7")
    nova.owned("off", openstack.demo, openstack.alice, running=False)
    servers = ask("GET", "/v2.1/servers/detail?all_tenants=1&status=ACTIVE").json["servers"]
    assert [s["name"] for s in servers] == ["web"]
    assert (servers[0]["id"], servers[0]["tenant_id"]) == (machine.uuid, openstack.demo)
    assert servers[0]["OS-EXT-SRV-ATTR:host"] == "hv7"
    one = ask("GET", f"/v2.1/servers/{machine.uuid}").json["server"]
    assert (one["user_id"], one["OS-EXT-STS:vm_state"]) == (openstack.alice, "active")

    alice = openstack.asker("alice", "demo")
    mine = alice("GET", "/v2.1/servers/detail").json["servers"]
    assert len(mine) == 2 and "OS-EXT-SRV-ATTR:host" not in mine[0]
    refused = alice("GET", "/v2.1/servers/detail?all_tenants=1")
    assert refused.status == 403 and "get_all_tenants" in refused.json["forbidden"]["message"]
    gone = ask("GET", "/v2.1/servers/no-such-server")
    assert gone.status == 404 and gone.json["itemNotFound"]["code"] == 404
    assert ask("GET", "/v2.1/servers/detail?colour=red").status == 400
    assert ask("GET", "/v2.1/servers/detail?marker=none").status == 400
    nova.down_cells.add(machine.uuid)
    assert set(ask("GET", f"/v2.1/servers/{machine.uuid}").json["server"]) == {
        "id", "status", "tenant_id", "created", "links"}


def test_nova_pages(openstack):
    nova, ask = openstack.nova, openstack.asker()
    nova.fill(5)
    nova.max_limit, nova.wrong_host_links = 2, True
    names, query = [], "all_tenants=1&limit=1000"
    while query:
        page = ask("GET", f"/v2.1/servers/detail?{query}").json
        names += [s["name"] for s in page["servers"]]
        links = page.get("servers_links", [])
        assert all(link["rel"] == "next" for link in links)
        assert all("internal.invalid" in link["href"] for link in links)
        query = urllib.parse.urlsplit(links[0]["href"]).query if links else None
    assert names == [f"vm-{i:05d}" for i in range(5)]
    nova.count_pages_anew()
    nova.expire_at_page = 1
    assert [ask("GET", "/v2.1/servers/detail?all_tenants=1").status for _ in range(2)] == [200, 401]


def test_nova_consoles(openstack):
    nova, ask = openstack.nova, openstack.asker()
    machine = nova.owned("web", openstack.demo, openstack.alice, port=5900, tls_port=5901)
    path = f"/v2.1/servers/{machine.uuid}/remote-consoles"
    wish = {"remote_console": {"protocol": "spice", "type": "spice-direct"}}
    made = openstack.asker("alice", "demo")("POST", path, wish)
    assert made.status == 200 and set(made.json["remote_console"]) == {"protocol", "type", "url"}
    url = urllib.parse.urlsplit(made.json["remote_console"]["url"])
    token = urllib.parse.parse_qs(url.query)["token"][0]
    redeem = f"/v2.1/os-console-auth-tokens/{token}"
    expected = {"instance_uuid": machine.uuid, "host": "127.0.0.1", "port": 5900,
                "internal_access_path": None, "tls_port": 5901}
    for _ in range(2):  # a read does not use it up
        assert ask("GET", redeem).json == {"console": expected}
    old = ask("GET", redeem, OpenStack_API_Version="compute 2.98")
    assert "tls_port" not in old.json["console"]
    assert ask("GET", redeem, OpenStack_API_Version="compute 2.30").status == 400
    assert ask("GET", f"{redeem}?title=x").status == 400
    assert openstack.asker("alice", "demo")("GET", redeem).status == 403
    unknown = ask("GET", f"/v2.1/os-console-auth-tokens/{'0' * 36}")
    assert unknown.status == 404
    assert unknown.json["itemNotFound"] == {"code": 404, "message": "Token not found"}
    late = nova.console_token(machine, life=0)
    assert ask("GET", f"/v2.1/os-console-auth-tokens/{late}").status == 404

    assert ask("POST", path, wish, OpenStack_API_Version="compute 2.98").status == 400
    nova.not_ready.add(machine.uuid)
    assert ask("POST", path, wish).status == 409
    nova.not_ready.clear()
    nova.spice_enabled = False
    assert ask("POST", path, wish).json["badRequest"]["code"] == 400
    nova.vanish(machine)
    assert ask("POST", path, wish).status == 404
    assert ask("GET", redeem).status == 404


# ---- oVirt ----


@pytest.fixture
def engine(site):
    return site.keep(Ovirt(site.context, site.authority.pem))


def ovirt_log_in(site, engine, scope="ovirt-app-api", **more) -> Reply:
    fields = {"grant_type": "password", "username": "admin@ovirt@internalsso",
              "password": "secret", "scope": scope, **more}
    return site.ask(engine, Accept="application/json", Content_Type=FORM)(
        "POST", "/ovirt-engine/sso/oauth/token", form(**fields))


def ovirt_asker(site, engine) -> Asker:
    token = ovirt_log_in(site, engine).json["access_token"]
    return site.ask(engine, Accept="application/json", Authorization=f"Bearer {token}",
                    Version="4")


def test_ovirt_sso(site, engine):
    reply = ovirt_log_in(site, engine)
    assert reply.status == 200
    assert set(reply.json) == {"access_token", "scope", "exp", "token_type"}
    assert isinstance(reply.json["exp"], str) and reply.json["token_type"] == "bearer"
    refused = ovirt_log_in(site, engine, password="wrong")
    assert refused.status == 400 and refused.json["error_code"] == "access_denied"
    other = ovirt_log_in(site, engine, scope="openid", password="wrong")
    assert set(other.json) == {"error", "error_description"}
    on_behalf = "ovirt-app-api ovirt-ext=token:login-on-behalf"
    assert ovirt_log_in(site, engine, scope=on_behalf, username="bob").status == 400
    assert ovirt_log_in(site, engine, scope=on_behalf, username="bob", client_id="kerbside",
                        client_secret="client secret").status == 200
    ask = ovirt_asker(site, engine)
    assert ask("GET", "/ovirt-engine/api").json["product_info"]["version"]["major"] == "4"
    engine.expire_sessions()
    assert ask("GET", "/ovirt-engine/api").status == 401


def test_ovirt_certificates(site, engine):
    path = "/ovirt-engine/services/pki-resource?format=X509-PEM-CA&resource="
    assert site.ask(engine)("GET", path + "ca-certificate").body.decode() == site.authority.pem
    assert site.ask(engine)("GET", path + "nothing").status == 400


def test_ovirt_machines_and_hosts(site, engine):
    ask = ovirt_asker(site, engine)
    api = "/ovirt-engine/api"
    assert ask("GET", f"{api}/vms").json == {}  # no member "vm"
    machine = engine.add("web", node="hv1", port=5900, tls_port=5901,
                         subject="O=Lab,CN=hv1.example")
    engine.add("off", running=False, node="hv2")
    search = urllib.parse.quote("status=up sortby name page 1")
    found = ask("GET", f"{api}/vms?search={search}&max=100").json["vm"]
    assert [vm["name"] for vm in found] == ["web"]
    assert (found[0]["status"], found[0]["display"]["secure_port"]) == ("up", "5901")
    host = ask("GET", f"{api}/hosts/{found[0]['host']['id']}").json
    assert host["certificate"]["subject"] == "O=Lab,CN=hv1.example"
    assert len(ask("GET", f"{api}/hosts").json["host"]) == 2
    engine.hide_hosts = True
    assert ask("GET", f"{api}/hosts/{found[0]['host']['id']}").json["detail"]
    search = urllib.parse.quote("status=up sortby name page 2")
    assert ask("GET", f"{api}/vms?search={search}&max=100").json == {}
    engine.fill(5)
    names = []
    for page in itertools.count(1):
        search = urllib.parse.quote(f"status=up sortby name page {page}")
        got = ask("GET", f"{api}/vms?search={search}&max=2").json.get("vm", [])
        names += [vm["name"] for vm in got]
        if not got:
            break
    assert names == [f"vm-{i:05d}" for i in range(5)] + ["web"]
    assert ask("GET", f"{api}/vms/{machine.uuid}").json["id"] == machine.uuid
    assert ask("GET", f"{api}/vms/none").status == 404
    assert ask("GET", f"{api}/vms", Accept="application/xml").body.startswith(b"<?xml")


def test_ovirt_consoles_and_tickets(site, engine):
    ask = ovirt_asker(site, engine)
    minted = []
    machine = engine.add("web", port=5900, tls_port=5901,
                         set_ticket=lambda value, seconds: minted.append((value, seconds)))
    path = f"/ovirt-engine/api/vms/{machine.uuid}/graphicsconsoles"
    bare = ask("GET", path).json["graphics_console"][0]
    assert bare["id"] == SPICE and "address" not in bare
    for query in ("?current=true", ";current=true"):
        console = ask("GET", path + query).json["graphics_console"][0]
        assert (console["protocol"], console["port"], console["tls_port"]) == (
            "spice", "5900", "5901")
    assert {link["rel"] for link in console["actions"]["link"]} == {
        "ticket", "proxyticket", "remoteviewerconnectionfile"}

    ticket = ask("POST", f"{path}/{SPICE}/ticket", {"ticket": {"expiry": "60"}}).json
    assert ticket["status"] == "complete" and ticket["ticket"]["expiry"] == "60"
    second = ask("POST", f"{path}/{SPICE}/ticket", {}).json["ticket"]
    assert second["expiry"] == "7200" and len(second["value"]) == 8
    assert minted == [(ticket["ticket"]["value"], 60), (second["value"], 7200)]
    assert machine.ticket == second["value"]  # the first is void

    engine.in_use_by_other.add(machine.uuid)
    refused = ask("POST", f"{path}/{SPICE}/ticket", {})
    assert refused.status == 409 and set(refused.json) == {"reason", "detail"}
    engine.fault_in_action = True
    assert ask("POST", f"{path}/{SPICE}/ticket", {}).json["fault"]["detail"]
    engine.vnc_only.add(machine.uuid)
    assert [c["protocol"] for c in ask("GET", path).json["graphics_console"]] == ["vnc"]
    engine.vanish(machine)
    assert ask("POST", f"{path}/{SPICE}/ticket", {}).status == 404


# ---- Shaken Fist ----


@pytest.fixture
def fist(site):
    return site.keep(ShakenFist(site.context))


def fist_asker(site, fist, namespace="system", key="oisoSe7T") -> Asker:
    reply = site.ask(fist)("POST", "/auth", {"namespace": namespace, "key": key})
    assert reply.status == 200 and reply.json["token_type"] == "Bearer"
    return site.ask(fist, Authorization=f"Bearer {reply.json['access_token']}")


def test_shakenfist_auth(site, fist):
    ask = site.ask(fist)
    for body, status in (({}, 400), ({"namespace": "none", "key": "x"}, 404),
                         ({"namespace": "system"}, 400), ({"namespace": "system", "key": 1}, 400),
                         ({"namespace": "system", "key": "x"}, 401)):
        refused = ask("POST", "/auth", body)
        assert refused.status == status
        assert refused.json["status"] == status and refused.json["error"]
    assert ask("GET", "/instances").status == 401
    assert b"spice-vdi-console" in ask("GET", "/").body
    ask = fist_asker(site, fist)
    assert ask("GET", "/instances").json == []
    fist.expire_tokens()
    assert ask("GET", "/instances").status == 401


def test_shakenfist_instances_and_nodes(site, fist):
    fist.namespaces["other"] = {"other's"}
    fist.cacert = site.authority.pem
    machine = fist.instance("web", "other", node="sf-1", port=30000, tls_port=30001,
                            address="192.0.2.7", subject="CN=sf-1")
    fist.instance("gone", state="deleted")
    fist.instance("unplaced", running=False)
    ask = fist_asker(site, fist)
    found = {i["name"]: i for i in ask("GET", "/instances").json}
    assert set(found) == {"web", "unplaced"}
    web = found["web"]
    assert (web["vdi_port"], web["vdi_tls_port"], web["video"]["vdi"], web["state"]) == (
        30000, 30001, "spice", "created")
    assert found["unplaced"]["vdi_port"] is None
    everything = ask("GET", "/instances", {"all": True})  # a body with a GET, as there
    assert "gone" in {i["name"] for i in everything.json}
    assert ask("GET", f"/instances/{machine.uuid}").json["namespace"] == "other"
    assert ask("GET", "/instances/none").status == 404
    nodes = {n["name"]: n for n in ask("GET", "/nodes").json}
    assert nodes["sf-1"]["ip"] == "192.0.2.7"
    assert nodes["sf-1"]["spice_server_cert_subject"] == "CN=sf-1"
    assert ask("GET", "/admin/cacert").body.decode() == site.authority.pem
    other = fist_asker(site, fist, "other", "other's")
    assert [i["name"] for i in other("GET", "/instances").json] == ["web"]
    assert other("GET", "/nodes").status == 401


def test_shakenfist_console_tokens(site, fist):
    ask = fist_asker(site, fist)
    machine = fist.instance("web")
    link = ask("GET", f"/instances/{machine.uuid}/vdiconsoleproxy").json
    assert link["url"].startswith(f"{fist.proxy_url}/sf-console.vv?token=")
    token = link["url"].partition("token=")[2]
    head, claims, signature = (tunnel.base64.urlsafe_b64decode(part + "==")
                               for part in token.split("."))
    head, claims = json.loads(head), json.loads(claims)
    assert head["alg"] == "EdDSA"
    assert (claims["sub"], claims["aud"]) == (machine.uuid, fist.proxy_url)
    assert claims["exp"] - claims["iat"] == 300 and claims["jti"]
    published = ask("GET", "/admin/vditokenpubkey").json
    assert published["active_kid"] == head["kid"] == published["keys"][0]["kid"]
    public = serialization.load_pem_public_key(published["keys"][0]["public_pem"].encode())
    text = token.rpartition(".")[0].encode()
    public.verify(signature, text)
    with pytest.raises(InvalidSignature):
        public.verify(signature, text + b"x")
    kids = [fist.rotate().kid for _ in range(2)]
    assert [k["kid"] for k in ask("GET", "/admin/vditokenpubkey").json["keys"]] == kids[::-1]
    fist.keys = []
    assert ask("GET", "/admin/vditokenpubkey").status == 404
    assert ask("GET", f"/instances/{machine.uuid}/vdiconsoleproxy").status == 500
    fist.proxy_url = None
    assert ask("GET", f"/instances/{machine.uuid}/vdiconsoleproxy").status == 404


# ---- OpenNebula ----


@pytest.fixture
def one(site):
    return site.keep(OpenNebula(site.context))


def test_opennebula(site, one):
    proxy = xmlrpc.client.ServerProxy(one.url + "/RPC2", context=site.tls)
    session = "oneadmin:opennebula"
    good, version, _ = proxy.one.system.version(session)
    assert good and version.startswith("6.")
    refused = proxy.one.system.version("oneadmin:wrong")
    assert refused[0] is False and refused[2] == 0x0100 and "authenticated" in refused[1]
    with pytest.raises(xmlrpc.client.Fault):
        proxy.one.nothing(session)

    def pool(start=-1, end=-1, state=-1, whose=-2):
        import xml.etree.ElementTree as tree
        good, text, *_ = proxy.one.vmpool.info(session, whose, start, end, state)
        assert good
        return tree.fromstring(text).findall("VM")

    assert pool() == []
    one.instance("web", address="192.0.2.3", port=6526, ticket="hush]]>&")
    one.instance("off", running=False)
    one.instance("text", spice=False)
    web, off, text = pool()
    assert (web.findtext("NAME"), web.findtext("STATE"), web.findtext("LCM_STATE")) == (
        "web", "3", "3")
    graphics = web.find("TEMPLATE/GRAPHICS")
    assert {child.tag: child.text for child in graphics} == {
        "TYPE": "SPICE", "LISTEN": "0.0.0.0", "PORT": "6526", "PASSWD": "hush]]>&"}
    assert web.findtext("HISTORY_RECORDS/HISTORY/HOSTNAME") == "192.0.2.3"
    assert (off.findtext("STATE"), text.find("TEMPLATE/GRAPHICS")) == ("8", None)
    one.entities = True
    assert pool()[0].findtext("TEMPLATE/GRAPHICS/PASSWD") == "hush]]>&"
    assert [vm.findtext("ID") for vm in pool(state=3)] == ["0", "2"]
    assert [vm.findtext("ID") for vm in pool(1, 2)] == ["1", "2"]  # ids
    assert [vm.findtext("ID") for vm in pool(2, -2)] == ["2"]  # an offset and a size
    assert proxy.one.vm.info(session, 9)[2] == 0x0400
    one.fault_code = 5
    with pytest.raises(xmlrpc.client.Fault):
        proxy.one.system.version(session)


# ---- very many ----

ONE_LIST = """<?xml version="1.0"?><methodCall><methodName>one.vmpool.info</methodName><params>
<param><value>oneadmin:opennebula</value></param>""" + "".join(
    f"<param><value><int>{n}</int></value></param>" for n in (-2, -1, -1, -1)
) + "</params></methodCall>"


@pytest.mark.parametrize("kind", [Directory, ShakenFist, Proxmox, OpenNebula, KubeVirt, Incus])
def test_ten_thousand(site, kind):
    cloud = site.keep(kind(site.context))
    cloud.fill(10000)
    ask = site.ask(cloud)
    match cloud:
        case Directory():
            found = ask("GET", "/consoles", Authorization=f"Bearer {cloud.token}").json["consoles"]
        case ShakenFist():
            found = fist_asker(site, cloud)("GET", "/instances").json
        case Proxmox():
            token = f"PVEAPIToken=gw@pve!kerbside={cloud.api_token()}"
            found = ask("GET", "/api2/json/cluster/resources", Authorization=token).json["data"]
        case OpenNebula():
            body = ask("POST", "/RPC2", ONE_LIST.encode(), Content_Type="text/xml").body
            found = ["vm"] * body.count(b"&lt;VM&gt;")
        case KubeVirt():
            cloud.page_size = 1 << 20
            found = ask("GET", "/apis/kubevirt.io/v1/virtualmachineinstances",
                        Authorization=f"Bearer {cloud.account()}").json["items"]
        case Incus():
            found = ask("GET", "/1.0/instances?recursion=1",
                        Authorization=f"Bearer {cloud.token()}").json["metadata"]
    assert len(found) == 10000
    cloud.empty()
    assert not cloud.machines
