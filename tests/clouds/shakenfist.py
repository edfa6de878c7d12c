"""A stand-in for Shaken Fist's REST API, written from its API reference: tokens for a namespace and a
key, instances, nodes, the cluster's CA, and the tokens for consoles, signed with Ed25519 by keys that
are published and rotated."""

import base64
import html
import json
import time
import uuid

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from .machine import Machine, Machines
from .server import Answer, Request, Service

CAPABILITIES = {"admin": "cluster-cacert, cluster-resources, vdi-token-pubkey",
                "instances": "spice-vdi-console, vdi-console-helper, vdi-console-proxy"}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    def __init__(self):
        self.kid = uuid.uuid4().hex[:8]
        self.private = ed25519.Ed25519PrivateKey.generate()
        self.created = time.time()

    def view(self) -> dict:
        pem = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return {"kid": self.kid, "alg": "EdDSA", "public_pem": pem.decode(),
                "created": self.created}


class ShakenFist(Machines, Service):
    """Switches: `keys` (the newest first; two of them are published; empty: none were made yet),
    `proxy_url` (what links to consoles start with; None: the cluster has no gateway),
    `token_life` of API tokens in seconds, `nodes_hidden` (the account is no admin), `is_old` (a
    release without the signing keys), `expire_at_list` (tokens expire once so many lists of
    instances, counted from 1, were sent), `cacert`."""

    def __init__(self, tls, namespace="system", key="oisoSe7T"):
        self.machines_init()
        self.namespaces = {namespace: {key}}
        self.api_tokens: dict[str, tuple[str, float]] = {}  # token: (namespace, expires)
        self.keys = [Key()]
        self.proxy_url: str | None = "https://desktops.example:8443"
        self.zone = "shakenfist"
        self.token_life = 900
        self.nodes_hidden = self.is_old = False
        self.expire_at_list = 0
        self.cacert = ""
        self._lists = 0
        super().__init__(tls)

    def fault(self, status: int, message: str) -> Answer:
        return Answer(status, {"error": message, "status": status})

    def instance(self, name: str, namespace="system", vdi="spice", state="created",
                 **more) -> Machine:
        return self.add(name, more={"namespace": namespace, "vdi": vdi, "state": state}, **more)

    def fill(self, count: int, name="vm", **more):
        for i in range(count):
            self.instance(f"{name}-{i:05d}", **more)

    def expire_tokens(self):
        self.api_tokens = {token: (namespace, 0) for token, (namespace, _)
                           in self.api_tokens.items()}

    def rotate(self) -> Key:
        """A new key signs; the one before is still published, older ones no more."""
        self.keys.insert(0, Key())
        return self.keys[0]

    # ---- console tokens ----

    def console_token(self, instance_uuid: str, key: Key | None = None, header=None,
                      **claims) -> str:
        """What the link of a user carries; claims override, None takes one away."""
        key = key or self.keys[0]
        now = int(time.time())
        all_claims = {"iss": self.zone, "aud": self.proxy_url, "sub": instance_uuid,
                      "sf:namespace": "system", "iat": now, "exp": now + 300,
                      "jti": uuid.uuid4().hex, **claims}
        head = {"alg": "EdDSA", "kid": key.kid, "typ": "JWT", **(header or {})}
        text = ".".join(b64(json.dumps({k: v for k, v in part.items() if v is not None}).encode())
                        for part in (head, all_claims))
        return f"{text}.{b64(key.private.sign(text.encode()))}"

    # ---- the API ----

    def handle(self, request: Request) -> Answer:
        if request.path == "/" and request.method == "GET":
            items = "".join(f"<li>{html.escape(k)}: {v}</li>" for k, v in CAPABILITIES.items())
            return Answer(200, f"<html><body><ul>{items}</ul></body></html>".encode(),
                          {"Content-Type": "text/html"})
        if request.path == "/auth" and request.method == "POST":
            return self._auth(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        namespace, expires = self.api_tokens.get(token, (None, 0))
        if not namespace or expires <= time.time():
            return self.fault(401, "unauthorized")
        match (request.method, request.path.strip("/").split("/")):
            case ("GET", ["instances"]):
                return self._instances(request, namespace)
            case ("GET", ["instances", ref]):
                return self._one(ref, namespace, lambda m: Answer(200, self._view(m)))
            case ("GET", ["instances", ref, "vdiconsoleproxy"]):
                return self._one(ref, namespace, self._link)
            case ("GET", ["instances", ref, "vdiconsolehelper"]):
                return self._one(ref, namespace, self._helper)
            case ("GET", ["nodes"]):
                return self._nodes(namespace)
            case ("GET", ["admin", "cacert"]):
                return Answer(200, self.cacert.encode(), {"Content-Type": "text/plain"})
            case ("GET", ["admin", "vditokenpubkey"]):
                if self.is_old or not self.keys:
                    return self.fault(404, "no signing key exists")
                return Answer(200, {"active_kid": self.keys[0].kid,
                                    "keys": [key.view() for key in self.keys[:2]]})
        return self.fault(404, "not found")

    def _auth(self, request: Request) -> Answer:
        asked = request.json()
        if not asked.get("namespace"):
            return self.fault(400, "missing namespace in request")
        if asked["namespace"] not in self.namespaces:
            return self.fault(404, "namespace not found")
        if not asked.get("key"):
            return self.fault(400, "missing key in request")
        if not isinstance(asked["key"], str):
            return self.fault(400, "key is not a string")
        if asked["key"] not in self.namespaces[asked["namespace"]]:
            return self.fault(401, "unauthorized")
        token = f"{b64(b'{}')}.{uuid.uuid4().hex}.{uuid.uuid4().hex}"
        self.api_tokens[token] = asked["namespace"], time.time() + self.token_life
        return Answer(200, {"access_token": token, "token_type": "Bearer",
                            "expires_in": self.token_life})

    def _sees(self, machine: Machine, namespace: str) -> bool:
        return namespace in ("system", machine.more["namespace"])

    def _one(self, ref: str, namespace: str, answer) -> Answer:
        for machine in list(self.machines.values()):
            if ref in (machine.uuid, machine.name) and self._sees(machine, namespace):
                return answer(machine)
        return self.fault(404, "instance not found")

    def _view(self, machine: Machine) -> dict:
        placed = machine.running
        return {
            "agent_start_time": None, "agent_state": None, "agent_system_boot_time": None,
            "configdrive": "openstack-disk", "console_port": 47000 if placed else None, "cpus": 1,
            "disk_spec": [], "disks": [], "error_message": None, "interfaces": [],
            "machine_type": "pc", "memory": 1024, "metadata": {}, "name": machine.name,
            "namespace": machine.more["namespace"], "node": machine.node, "nvram_template": None,
            "power_state": "on" if placed else "off", "secure_boot": False,
            "side_channels": ["sf-agent"], "ssh_key": None, "state": machine.more["state"],
            "uefi": False, "user_data": None, "uuid": machine.uuid,
            "vdi_port": machine.port if placed else None,
            "vdi_tls_port": machine.tls_port if placed else None, "version": 12,
            "video": {"memory": 16384, "model": "qxl", "vdi": machine.more["vdi"]},
        }

    def _instances(self, request: Request, namespace: str) -> Answer:
        everything = request.json().get("all", False) if request.body else False
        found = [self._view(m) for m in list(self.machines.values())
                 if self._sees(m, namespace)
                 and (everything or m.more["state"] not in ("deleted", "error"))]
        self._lists += 1
        if self.expire_at_list == self._lists:
            self.expire_tokens()
        return Answer(200, found)

    def _nodes(self, namespace: str) -> Answer:
        if self.nodes_hidden or namespace != "system":
            return self.fault(401, "unauthorized")
        nodes = {}
        for machine in list(self.machines.values()):
            node = {"name": machine.node, "ip": machine.address, "is_cluster_maintainer": False,
                    "is_etcd_master": False, "is_eventlog_node": False, "is_hypervisor": True,
                    "is_network_node": False, "lastseen": time.time(), "release": "0.8.0",
                    "state": "created", "version": "3"}
            if not self.is_old and machine.subject:
                node["spice_server_cert_subject"] = machine.subject
            nodes[machine.node] = node
        return Answer(200, list(nodes.values()))

    def _link(self, machine: Machine) -> Answer:
        if self.is_old or not self.proxy_url:
            return self.fault(404, "this cluster has no console proxy")
        if not self.keys:
            return self.fault(500, "no signing key")
        token = self.console_token(machine.uuid, **{"sf:namespace": machine.more["namespace"]})
        return Answer(200, {"url": f"{self.proxy_url}/sf-console.vv?token={token}",
                            "expires_at": int(time.time()) + 300})

    def _helper(self, machine: Machine) -> Answer:
        ports = f"port={machine.port}\n" if machine.port else ""
        ports += f"tls-port={machine.tls_port}\n" if machine.tls_port else ""
        return Answer(200, f"[virt-viewer]\ntype=spice\nhost={machine.node}\n{ports}"
                           "delete-this-file=1\n".encode(),
                      {"Content-Type": "application/x-virt-viewer"})
