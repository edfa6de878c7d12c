"""As test_clouds.py, for the clouds whose consoles come through a connection of their own: a tunnel
by HTTP CONNECT, or a WebSocket."""

import json
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
from cloud_site import FORM, Asker, form, site  # noqa: F401  (site: a fixture)
from clouds import tunnel
from clouds.incus import Incus
from clouds.kubevirt import KubeVirt
from clouds.proxmox import Proxmox
from common.process import PATIENCE
from spice import Client, Server

# ---- Proxmox VE ----


@pytest.fixture
def pve(site):
    return site.keep(Proxmox(site.context, ca=site.authority.pem))


def test_proxmox_accounts(site, pve):
    ask = site.ask(pve, Content_Type=FORM)
    path = "/api2/json/access/ticket"
    reply = ask("POST", path, form(username="gw@pve", password="secret"))
    data = reply.json["data"]
    assert {"username", "ticket", "CSRFPreventionToken", "cap", "clustername"} <= set(data)
    assert data["ticket"].startswith("PVE:gw@pve:")
    refused = ask("POST", path, form(username="gw@pve", password="wrong"))
    assert (refused.status, refused.reason) == (401, "authentication failure")
    assert refused.json["data"] is None
    assert "password" in ask("POST", path, form(username="gw@pve")).json["errors"]
    renewed = ask("POST", path, form(username="gw@pve", password=data["ticket"]))
    assert renewed.status == 200

    assert ask("GET", "/api2/json/version").status == 401
    cookie = "PVEAuthCookie=" + urllib.parse.quote(data["ticket"], safe="")
    assert ask("GET", "/api2/json/version", Cookie=cookie).json["data"]["release"] == "8.2"
    machine = pve.qemu("web", node="pve1")
    mint = f"/api2/json/nodes/pve1/qemu/{machine.more['vmid']}/spiceproxy"
    assert ask("POST", mint, b"", Cookie=cookie).status == 401  # no CSRF token
    assert ask("POST", mint, b"", Cookie=cookie,
               CSRFPreventionToken=data["CSRFPreventionToken"]).status == 200
    token = f"PVEAPIToken=gw@pve!kerbside={pve.api_token()}"
    assert ask("POST", mint, b"", Authorization=token).status == 200
    assert ask("GET", "/api2/json/version", Authorization=token + "x").status == 401
    pve.clock += 7201
    assert ask("GET", "/api2/json/version", Cookie=cookie).reason == "invalid PVE ticket"


def test_proxmox_resources(site, pve):
    ask = site.ask(pve, Authorization=f"PVEAPIToken=gw@pve!kerbside={pve.api_token()}")
    path = "/api2/json/cluster/resources?type=vm"
    assert ask("GET", path).json == {"data": []}
    machine = pve.qemu("web", more={"tags": "a;b", "pool": "desks"})
    pve.qemu("box", more={"type": "lxc"})
    pve.qemu("std", more={"vga": "std"}, running=False)
    rows = {row["name"]: row for row in ask("GET", path).json["data"]}
    assert {"id", "type", "vmid", "name", "node", "status", "template"} <= set(rows["web"])
    assert (rows["web"]["id"], rows["web"]["tags"]) == ("qemu/100", "a;b")
    assert (rows["box"]["type"], rows["std"]["status"]) == ("lxc", "stopped")
    node = f"/api2/json/nodes/{machine.node}/qemu"
    assert ask("GET", f"{node}/100/status/current").json["data"]["spice"] == 1
    assert "spice" not in ask("GET", f"{node}/102/status/current").json["data"]
    assert machine.uuid in ask("GET", f"{node}/100/config").json["data"]["smbios1"]
    assert ask("GET", f"{node}/999/config").status == 500
    assert any(row["type"] == "node" for row in ask("GET", "/api2/json/cluster/status").json["data"])
    pve.node_down.add(machine.node)
    assert ask("GET", f"{node}/100/config").status == 595
    pve.rights.clear()
    assert ask("GET", path).json == {"data": []}
    assert ask("GET", f"{node}/100/config").status == 403


def connect(pve, host: str, port: int, protocol="HTTP/1.0", named=None) -> tuple[socket.socket, str]:
    sock = socket.create_connection(("127.0.0.1", pve.proxy.port), timeout=PATIENCE)
    sock.sendall(f"CONNECT {host}:{port} {protocol}\r\nHost: {named or host}:{port}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        byte = sock.recv(1)
        if not byte:
            break
        head += byte
    return sock, head.decode().split("\r\n")[0]


def test_proxmox_spiceproxy_leads_to_a_real_tls_server(site, pve):
    subject = "OU=PVE Cluster Node,O=Proxmox Virtual Environment,CN=pve1.example"
    context = site.authority.server_context(site.folder / "hv", subject, names=("pve1.example",),
                                            addresses=())
    behind = site.keep(Server(tls=context))
    machine = pve.qemu("web", node="pve1", tls_port=behind.port, subject=subject,
                       set_ticket=lambda value, seconds: setattr(behind, "ticket", value))
    ask = site.ask(pve, Authorization=f"PVEAPIToken=gw@pve!kerbside={pve.api_token()}")
    mint = f"/api2/json/nodes/pve1/qemu/{machine.more['vmid']}/spiceproxy"
    data = ask("POST", mint, b"").json["data"]
    assert {"type", "title", "host", "proxy", "tls-port", "password", "host-subject", "ca",
            "delete-this-file"} <= set(data)
    assert data["ca"].replace("\\n", "\n") == site.authority.pem and "\n" not in data["ca"]
    assert data["proxy"] == f"http://127.0.0.1:{pve.proxy.port}"
    assert 61000 <= data["tls-port"] < 62000 and data["host-subject"] == subject

    for protocol in ("HTTP/1.0", "HTTP/1.1"):
        sock, status = connect(pve, data["host"], data["tls-port"], protocol)
        assert status == f"{protocol} 200 OK"
        tls = ssl.create_default_context(cadata=site.authority.pem)
        tls.check_hostname = False
        client = Client.__new__(Client)
        super(Client, client).__init__(tls.wrap_socket(sock))
        assert client.link(data["password"]) == 0
        client.close()
        behind.take().close()
    again = ask("POST", mint, form(proxy="gate.example")).json["data"]
    assert again["proxy"].startswith("http://gate.example:")
    assert again["password"] == behind.ticket != data["password"]  # the first is void

    # Only the Host header counts; and it must be whole, signed and fresh.
    sock, status = connect(pve, "anything", data["tls-port"], named=data["host"])
    assert status.endswith("200 OK")
    sock.close()
    tampered = data["host"].replace(f":{machine.more['vmid']}:", ":666:")
    for host, port in ((tampered, data["tls-port"]), ("pve1", 61000),
                       (data["host"], data["tls-port"] + 1)):
        sock, status = connect(pve, host, port)
        assert status == "HTTP/1.0 401 invalid ticket"
        sock.close()
    pve.clock += 41
    sock, status = connect(pve, data["host"], data["tls-port"])
    assert "401" in status
    sock.close()
    pve.no_subject = True
    assert "host-subject" not in ask("POST", mint, b"").json["data"]
    machine.running = False
    assert ask("POST", mint, b"").status == 500
    pve.rights = {"VM.Audit"}
    assert ask("POST", mint, b"").status == 403


# ---- KubeVirt ----


@pytest.fixture
def kube(site):
    return site.keep(KubeVirt(site.context))


LIST = "/apis/kubevirt.io/v1/virtualmachineinstances"


class Watch:
    """The events of a watch, one after the other."""

    def __init__(self, site, kube, token, query):
        import http.client
        self.connection = http.client.HTTPSConnection("localhost", kube.port, context=site.tls,
                                                      timeout=PATIENCE)
        self.connection.request("GET", f"{LIST}?watch=1&{query}",
                                headers={"Authorization": f"Bearer {token}"})
        self.answer = self.connection.getresponse()

    def next(self) -> dict | None:
        line = self.answer.readline()
        return json.loads(line) if line else None

    def close(self):
        self.connection.close()


def test_kubevirt_lists(site, kube):
    token = kube.account()
    ask = site.ask(kube, Authorization=f"Bearer {token}")
    refused = site.ask(kube)("GET", LIST)
    assert refused.status == 401
    assert {k: refused.json[k] for k in ("kind", "status", "reason", "code")} == {
        "kind": "Status", "status": "Failure", "reason": "Unauthorized", "code": 401}
    empty = ask("GET", LIST).json
    assert (empty["kind"], empty["items"]) == ("VirtualMachineInstanceList", [])
    for i in range(5):
        kube.vmi(f"vm-{i}", "a" if i < 3 else "b", labels={"app": "x"}, node="worker-1")
    names, query = [], "limit=2"
    while query:
        page = ask("GET", f"{LIST}?{query}").json
        names += [item["metadata"]["name"] for item in page["items"]]
        more = page["metadata"].get("continue")
        query = more and "limit=2&continue=" + urllib.parse.quote(more)
    assert names == [f"vm-{i}" for i in range(5)]
    item = page["items"][0]
    assert item["status"]["phase"] == "Running" and item["status"]["nodeName"] == "worker-1"
    assert {"uid", "name", "namespace", "labels", "resourceVersion"} <= set(item["metadata"])
    inside = ask("GET", "/apis/kubevirt.io/v1/namespaces/b/virtualmachineinstances").json
    assert len(inside["items"]) == 2
    path = "/apis/kubevirt.io/v1/namespaces/b/virtualmachineinstances/vm-4"
    assert ask("GET", path).json == inside["items"][1]
    assert ask("GET", path + "x").json["reason"] == "NotFound"
    assert len(ask("GET", LIST).json["items"]) == 5  # in pages only for who asks for them
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
              "spec": {"resourceAttributes": {
                  "namespace": "", "verb": "list", "group": "kubevirt.io",
                  "resource": "virtualmachineinstances", "subresource": ""}}}
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = ask("POST", reviews, review)
    assert (answer.status, answer.json["status"]) == (201, {"allowed": True})
    kube.expire_continue = True
    assert ask("GET", f"{LIST}?continue=e30=").json["reason"] == "Expired"
    kube.rights.remove("list")
    assert "cannot list" in ask("GET", LIST).json["message"]
    assert ask("POST", reviews, review).json["status"] == {"allowed": False}


def test_kubevirt_watches(site, kube):
    token = kube.account()
    ask = site.ask(kube, Authorization=f"Bearer {token}")
    machine = kube.vmi("one")
    version = ask("GET", LIST).json["metadata"]["resourceVersion"]
    watch = Watch(site, kube, token, f"resourceVersion={version}&allowWatchBookmarks=true")
    assert watch.next()["type"] == "BOOKMARK"
    kube.vmi("two")
    kube.migrate(machine, "worker-9")
    kube.vanish(machine)
    events = [watch.next() for _ in range(3)]
    assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[1]["object"]["status"]["nodeName"] == "worker-9"
    kube.end_watches()
    assert watch.next() is None
    watch.close()
    kube.compact()
    late = Watch(site, kube, token, f"resourceVersion={version}")
    assert late.answer.status == 410 and json.loads(late.answer.read())["code"] == 410
    late.close()
    kube.error_in_watch = True
    late = Watch(site, kube, token, f"resourceVersion={version}")
    event = late.next()
    assert late.answer.status == 200 and event["type"] == "ERROR" and event["object"]["code"] == 410
    late.close()


def upgrade(site, service, path: str, **headers) -> tuple[int, dict, tunnel.WebSocket | None]:
    """A WebSocket to a path, or the refusal's status."""
    sock = site.tls.wrap_socket(socket.create_connection(("localhost", service.port), PATIENCE),
                                server_hostname="localhost")
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket",
             "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
             *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1) or b"\r\n\r\n"
    first, *rest = head.decode().split("\r\n")
    got = {name.lower(): value.strip() for name, _, value in
           (line.partition(":") for line in rest if line)}
    status = int(first.split(" ")[1])
    if status != 101:
        sock.close()
        return status, got, None
    # RFC 6455, section 1.3: this key has this answer.
    assert got["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    return status, got, tunnel.WebSocket(sock, is_client=True)


@pytest.fixture
def echo():
    """A server that says hello and then what it is told."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.sendall(b"RFB 003.008\n")
                while data := sock.recv(65536):
                    sock.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_kubevirt_streams(site, kube, echo):
    token = kube.account()
    machine = kube.vmi("web", "desks", port=echo)
    base = "/apis/subresources.kubevirt.io/v1/namespaces/desks/virtualmachineinstances"
    bearer = {"Authorization": f"Bearer {token}"}
    assert upgrade(site, kube, f"{base}/web/vnc")[0] == 401
    status, _, ws = upgrade(site, kube, f"{base}/web/vnc", **bearer)
    assert ws.receive() == (tunnel.BINARY, b"RFB 003.008\n")
    for size in (1, 125, 126, 65535, 65536, 200000):
        data = bytes(size)
        ws.send(data)
        got = b""
        while len(got) < size:
            got += ws.receive()[1]
        assert got == data
    ws.close()
    with pytest.raises(EOFError):
        ws.receive()
    assert ws.close_code == 1000

    coded = tunnel.base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    protocols = f"base64url.bearer.authorization.k8s.io.{coded}, plain.kubevirt.io"
    _, got, ws = upgrade(site, kube, f"{base}/web/console", Sec_WebSocket_Protocol=protocols)
    assert got["sec-websocket-protocol"] == "plain.kubevirt.io"
    ws.end()
    assert upgrade(site, kube, f"{base}/none/vnc", **bearer)[0] == 404
    kube.change(machine, devices={"autoattachGraphicsDevice": False})
    assert upgrade(site, kube, f"{base}/web/vnc", **bearer)[0] == 400
    kube.change(machine, phase="Scheduling")
    assert upgrade(site, kube, f"{base}/web/console", **bearer)[0] == 400
    kube.rights.discard("console")
    assert upgrade(site, kube, f"{base}/web/console", **bearer)[0] == 403


# ---- Incus ----


@pytest.fixture
def incus(site):
    return site.keep(Incus(site.context))


def test_incus_instances(site, incus):
    plain = site.ask(incus)
    assert plain("GET", "/1.0").json["metadata"]["auth"] == "untrusted"
    refused = plain("GET", "/1.0/instances")
    assert refused.status == 403
    assert (refused.json["type"], refused.json["error_code"]) == ("error", 403)
    ask = site.ask(incus, Authorization=f"Bearer {incus.token()}")
    assert ask("GET", "/1.0").json["metadata"]["auth"] == "trusted"
    assert ask("GET", "/1.0/instances?recursion=1").json["metadata"] == []
    machine = incus.instance("web", project="desks")
    incus.instance("box", "container")
    assert ask("GET", "/1.0/instances").json["metadata"] == ["/1.0/instances/box"]
    everything = ask("GET", "/1.0/instances?recursion=1&all-projects=true").json
    assert (everything["type"], everything["status_code"]) == ("sync", 200)
    found = {i["name"]: i for i in everything["metadata"]}
    assert found["web"]["config"]["volatile.uuid"] == machine.uuid
    assert (found["web"]["status"], found["web"]["type"]) == ("Running", "virtual-machine")
    query = urllib.parse.urlencode({"filter": 'type eq virtual-machine and status eq Running',
                                    "all-projects": "true", "recursion": 1})
    assert [i["name"] for i in ask("GET", f"/1.0/instances?{query}").json["metadata"]] == ["web"]
    assert ask("GET", "/1.0/instances/web?project=desks").json["metadata"]["name"] == "web"
    assert ask("GET", "/1.0/instances/web").status == 404


def test_incus_knows_certificates(site, incus):
    context = site.authority.server_context(site.folder / "ask", "CN=localhost")
    context.load_verify_locations(cadata=site.authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    incus.tls = context
    tls = ssl.create_default_context(cadata=site.authority.pem)
    tls.load_cert_chain(*site.authority.issue(site.folder / "client", "CN=kerbside", client=True))
    assert Asker(tls, incus.url)("GET", "/1.0/instances").status == 403
    incus.certificates.add("kerbside")
    assert Asker(tls, incus.url)("GET", "/1.0/instances").status == 200


def test_incus_console_carries_spice(site, incus):
    behind = site.keep(Server(ticket=""))
    bearer = {"Authorization": f"Bearer {incus.token()}"}
    ask = site.ask(incus, **bearer)
    machine = incus.instance("web", port=behind.port)
    path = "/1.0/instances/web/console"
    made = ask("POST", path, {"type": "vga"})
    assert made.status == 202 and made.json["type"] == "async"
    operation = made.json["metadata"]
    assert made.headers["Location"] == made.json["operation"] == f"/1.0/operations/{operation['id']}"
    assert (operation["class"], operation["status_code"]) == ("websocket", 103)
    secrets = operation["metadata"]["fds"]
    assert set(secrets) == {"0", "control"}
    taken = ask("POST", path, {"type": "vga"})
    assert taken.status == 500 and "already connected" in taken.json["error"]

    at = f"/1.0/operations/{operation['id']}/websocket?secret="
    _, _, control = upgrade(site, incus, at + secrets["control"], **bearer)
    streams = []
    for _ in range(2):  # as many as there are channels
        _, _, ws = upgrade(site, incus, at + secrets["0"], **bearer)
        near, far = socket.socketpair()
        threading.Thread(target=tunnel.join_websocket, args=(ws, far), daemon=True).start()
        client = Client.__new__(Client)
        super(Client, client).__init__(near)
        assert client.link("") == 0
        streams.append((client, behind.take()))
    assert upgrade(site, incus, at + "0" * 64, **bearer)[0] == 403
    assert upgrade(site, incus, at + secrets["0"])[0] == 403  # somebody else
    control.close()
    for client, leg in streams:  # the end of the control connection ends all
        assert leg.rest() == b""
        client.close()
    assert ask("GET", f"/1.0/operations/{operation['id']}").json["metadata"]["status_code"] == 200

    first = ask("POST", path, {"type": "vga"}).json["metadata"]["id"]
    assert ask("POST", path, {"type": "vga", "force": True}).status == 202
    assert ask("GET", f"/1.0/operations/{first}").json["metadata"]["status"] == "Canceled"
    for operation in incus.running():
        assert ask("DELETE", f"/1.0/operations/{operation.id}").status == 200
    assert incus.running() == []
    machine.more["frozen"] = True
    assert ask("POST", path, {"type": "vga"}).json["error"] == "Instance is frozen"
    machine.running = False
    assert ask("POST", path, {"type": "vga"}).json["error"] == "Instance is not running"
    incus.vanish(machine)
    assert ask("POST", path, {"type": "vga"}).status == 404
