"""A stand-in for a Proxmox VE cluster, written from its API viewer and its documentation: login
tickets and API tokens, the cluster's resources, SPICE configurations minted for a machine, and the
spiceproxy that tunnels to it with HTTP CONNECT. Time in it is a clock that tests can turn."""

import contextlib
import hashlib
import re
import secrets
import socket
import threading
import time
import urllib.parse
import uuid

from . import tunnel
from .machine import Machine, Machines
from .server import Answer, Request, Service

BASE = "/api2/json"
PSEUDO_HOST = re.compile(r"pvespiceproxy:([0-9a-f]{8}):(\d+):([a-z0-9-]+):(\d+)::([0-9a-f]{40})")
SPICE_PORTS = range(61000, 62000)
TICKET_LIFE = 7200
PASSWORD_LIFE = 30  # what the machine is told; the tunnel's ticket is good a little longer
TUNNEL_LIFE = (-20, 40)


class Proxmox(Machines, Service):
    """`clock` is added to the time of the cluster (seconds). Switches: `rights` of an account (a set
    of VM.Audit, VM.Console; all accounts), `needs_tfa`, `proxy_name` (what spiceproxy answers say
    the proxy's host is; None: the one where it listens), `no_subject` (answers without a
    host-subject), `old_pseudo_host` (without a port in it), `node_down` (names of nodes that the
    others cannot reach), `ca` (PEM). `minted` are the machines that got a password, in order."""

    def __init__(self, tls, ca="", user="gw@pve", password="secret"):
        self.machines_init()
        self.users = {user: password}
        self.api_tokens: dict[str, str] = {}  # user@realm!name: secret
        self.tickets: dict[str, tuple[str, str, float]] = {}  # ticket: (user, csrf, made)
        self.clock = 0.0
        self.ca = ca
        self.rights = {"VM.Audit", "VM.Console"}
        self.needs_tfa = self.no_subject = self.old_pseudo_host = False
        self.proxy_name: str | None = None
        self.node_down: set[str] = set()
        self.minted: list[Machine] = []
        self._secret = secrets.token_hex(16)
        self._next_id, self._next_port = 100, SPICE_PORTS[0]
        self.proxy = SpiceProxy(self)
        super().__init__(tls)

    def stop(self):
        super().stop()
        self.proxy.stop()

    def now(self) -> float:
        return time.time() + self.clock

    def fault(self, status: int, message: str, **more) -> Answer:
        return Answer(status, {"data": None, "message": f"{message}\n", **more}, reason=message)

    # ---- accounts ----

    def api_token(self, user="gw@pve", name="kerbside") -> str:
        """The value of a new API token, for `PVEAPIToken=user!name=value`."""
        value = str(uuid.uuid4())
        self.api_tokens[f"{user}!{name}"] = value
        return value

    def expire_tickets(self):
        self.tickets = {t: (user, csrf, made - TICKET_LIFE - 1)
                        for t, (user, csrf, made) in self.tickets.items()}

    def _user_by_ticket(self, ticket: str) -> str | None:
        user, _, made = self.tickets.get(ticket, (None, None, 0))
        return user if user and self.now() - made < TICKET_LIFE else None

    def _who(self, request: Request) -> str | Answer:
        given = request.headers.get("authorization", "")
        if given.startswith("PVEAPIToken="):
            name, _, value = given.removeprefix("PVEAPIToken=").partition("=")
            if value and self.api_tokens.get(name) == value:
                return name
            return self.fault(401, "no such token" if name not in self.api_tokens
                              else "invalid token value!")
        cookies = dict(c.strip().partition("=")[::2]
                       for c in request.headers.get("cookie", "").split(";"))
        ticket = urllib.parse.unquote(cookies.get("PVEAuthCookie", ""))
        if not ticket:
            return self.fault(401, "No ticket")
        user = self._user_by_ticket(ticket)
        if not user:
            return self.fault(401, "invalid PVE ticket")
        if request.method != "GET":
            if request.headers.get("csrfpreventiontoken") != self.tickets[ticket][1]:
                return self.fault(401, "Permission denied - invalid csrf token")
        return user

    def _log_in(self, request: Request) -> Answer:
        form = request.form()
        user, password = form.get("username", ""), form.get("password")
        if "username" not in form or "password" not in form:
            missing = {k: "property is missing and it is not optional"
                       for k in ("username", "password") if k not in form}
            return self.fault(400, "Parameter verification failed.", errors=missing)
        if "realm" in form:
            user = f"{user}@{form['realm']}"
        if self.users.get(user) != password and self._user_by_ticket(password) != user:
            return self.fault(401, "authentication failure")
        csrf = f"{int(self.now()):08X}:{secrets.token_urlsafe(32)}"
        ticket = f"PVE:{user}:{int(self.now()):08X}::{secrets.token_urlsafe(200)}+/=="
        data = {"username": user, "ticket": ticket, "CSRFPreventionToken": csrf,
                "clustername": "lab", "cap": {"vms": {"VM.Audit": 1, "VM.Console": 1}}}
        if self.needs_tfa:
            data.update({"ticket": "PVE:!tfa!" + ticket, "NeedTFA": 1})
            del data["cap"]
        else:
            self.tickets[ticket] = user, csrf, self.now()
        return Answer(200, {"data": data})

    # ---- machines ----

    def qemu(self, name: str, **more) -> Machine:
        """A machine with an id of the cluster's own. more may have vga, pool, tags, template."""
        machine = self.add(name, more={"vmid": self._next_id, "spice_port": self._next_port,
                                       **more.pop("more", {})}, **more)
        self._next_id += 1
        # Ports are one host's own, and a cluster of very many machines has more than one.
        self._next_port = SPICE_PORTS[(self._next_port + 1 - SPICE_PORTS[0]) % len(SPICE_PORTS)]
        return machine

    def fill(self, count: int, name="vm", **more):
        for i in range(count):
            self.qemu(f"{name}-{i:05d}", **more)

    def handle(self, request: Request) -> Answer:
        if not request.path.startswith(BASE):
            return self.fault(501, f"no such file '{request.path}'")
        path = request.path.removeprefix(BASE)
        if path == "/access/ticket" and request.method == "POST":
            return self._log_in(request)
        user = self._who(request)
        if isinstance(user, Answer):
            return user
        match (request.method, path.strip("/").split("/")):
            case ("GET", ["version"]):
                return Answer(200, {"data": {"version": "8.2.4", "release": "8.2",
                                             "repoid": "faa83925c9641325"}})
            case ("GET", ["cluster", "resources"]):
                return self._resources(request.query.get("type"))
            case ("GET", ["cluster", "status"]):
                return self._status()
            case ("GET", ["nodes"]):
                return Answer(200, {"data": [{"node": n, "status": "online", "type": "node",
                                              "id": f"node/{n}"} for n in self._nodes()]})
            case ("GET", ["nodes", node, "qemu", vmid, "status", "current"]):
                return self._on(node, vmid, "VM.Audit", self._current)
            case ("GET", ["nodes", node, "qemu", vmid, "config"]):
                return self._on(node, vmid, "VM.Audit", self._config)
            case ("POST", ["nodes", node, "qemu", vmid, "spiceproxy"]):
                return self._on(node, vmid, "VM.Console",
                                lambda m: self._spiceproxy(m, request.form()))
        return self.fault(501, f"Method '{request.method} {path}' not implemented")

    def _nodes(self) -> list[str]:
        return sorted({m.node for m in list(self.machines.values())}) or ["pve1"]

    def _status(self) -> Answer:
        nodes = [{"type": "node", "id": f"node/{n}", "name": n, "nodeid": i + 1, "online": 1,
                  "local": int(i == 0), "ip": "127.0.0.1", "level": ""}
                 for i, n in enumerate(self._nodes())]
        return Answer(200, {"data": [{"type": "cluster", "id": "cluster", "name": "lab",
                                      "quorate": 1, "version": 3, "nodes": len(nodes)}, *nodes]})

    def _resources(self, kind: str | None) -> Answer:
        if kind not in (None, "vm", "storage", "node", "sdn"):
            return self.fault(400, "Parameter verification failed.",
                              errors={"type": "value does not have a value in the enumeration"})
        if "VM.Audit" not in self.rights or kind in ("storage", "node", "sdn"):
            return Answer(200, {"data": []})
        found = []
        for machine in list(self.machines.values()):
            vmid, running = machine.more["vmid"], machine.running
            lxc = machine.more.get("type") == "lxc"
            row = {"id": f"{'lxc' if lxc else 'qemu'}/{vmid}", "vmid": vmid, "name": machine.name,
                   "type": "lxc" if lxc else "qemu", "node": machine.node, "cpu": 0,
                   "status": "running" if running else "stopped", "maxcpu": 1, "mem": 0,
                   "template": machine.more.get("template", 0), "maxmem": 1 << 30, "disk": 0,
                   "maxdisk": 0, "uptime": 77 if running else 0, "netin": 0, "netout": 0,
                   "diskread": 0, "diskwrite": 0}
            row.update({k: machine.more[k] for k in ("pool", "tags", "lock") if k in machine.more})
            if machine.node in self.node_down:
                row["status"] = "unknown"
            found.append(row)
        return Answer(200, {"data": found})

    def _on(self, node: str, vmid: str, right: str, answer) -> Answer:
        machine = next((m for m in list(self.machines.values())
                        if str(m.more["vmid"]) == vmid), None)
        if right not in self.rights:
            return self.fault(403, f"Permission check failed (/vms/{vmid}, {right})")
        if node in self.node_down:
            return self.fault(595, "Connection timed out")
        if node not in self._nodes():
            return self.fault(500, f"hostname lookup '{node}' failed - failed to get address info "
                                   f"for: {node}: Name or service not known")
        if not machine or machine.node != node:
            return self.fault(500, f"Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' "
                                   "does not exist")
        return answer(machine)

    def _has_spice(self, machine: Machine) -> bool:
        return machine.spice and machine.more.get("vga", "qxl").startswith("qxl")

    def _current(self, machine: Machine) -> Answer:
        data = {"vmid": machine.more["vmid"], "name": machine.name, "cpus": 1, "uptime": 77,
                "status": "running" if machine.running else "stopped", "ha": {"managed": 0},
                "qmpstatus": "running" if machine.running else "stopped"}
        if self._has_spice(machine):
            data["spice"] = 1
        return Answer(200, {"data": data})

    def _config(self, machine: Machine) -> Answer:
        return Answer(200, {"data": {"name": machine.name, "vga": machine.more.get("vga", "qxl"),
                                     "memory": "1024", "boot": "order=scsi0",
                                     "digest": hashlib.sha1(machine.uuid.encode()).hexdigest(),
                                     "smbios1": f"uuid={machine.uuid}"}})

    # ---- SPICE ----

    def _sign(self, plain: str) -> str:
        return hashlib.sha1((plain + self._secret).encode()).hexdigest()

    def pseudo_host(self, machine: Machine) -> str:
        plain = (f"pvespiceproxy:{int(self.now()):08x}:{machine.more['vmid']}:"
                 f"{machine.node.lower()}")
        if not self.old_pseudo_host:
            plain += f":{machine.more['spice_port']}"
        return f"{plain}::{self._sign(plain)}"

    def behind(self, pseudo_host: str) -> Machine | None:
        """The machine that a pseudo host with a good signature of the right age stands for."""
        found = PSEUDO_HOST.fullmatch(pseudo_host)
        if not found or self._sign(pseudo_host.partition("::")[0]) != found[5]:
            return None
        age = self.now() - int(found[1], 16)
        if not TUNNEL_LIFE[0] < age < TUNNEL_LIFE[1]:
            return None
        return next((m for m in list(self.machines.values())
                     if str(m.more["vmid"]) == found[2] and m.node.lower() == found[3]
                     and str(m.more["spice_port"]) == found[4]), None)

    def _spiceproxy(self, machine: Machine, form: dict) -> Answer:
        vmid = machine.more["vmid"]
        if set(form) - {"proxy"}:
            return self.fault(400, "Parameter verification failed.", errors={
                k: "property is not defined in schema" for k in set(form) - {"proxy"}})
        if not machine.running:
            return self.fault(500, f"VM {vmid} not running")
        if not self._has_spice(machine):
            return self.fault(500, "no spice port")
        password = secrets.token_hex(20)
        machine.mint(password, PASSWORD_LIFE)
        self.minted.append(machine)
        name = form.get("proxy") or self.proxy_name or "127.0.0.1"
        name = f"[{name}]" if ":" in name else name
        data = {
            "type": "spice", "title": f"VM {vmid} - {machine.name}",
            "host": self.pseudo_host(machine), "proxy": f"http://{name}:{self.proxy.port}",
            "tls-port": machine.more["spice_port"], "password": password,
            "host-subject": machine.subject, "ca": (machine.ca or self.ca).replace("\n", "\\n"),
            "delete-this-file": 1, "secure-attention": "Ctrl+Alt+Ins",
            "toggle-fullscreen": "Shift+F11", "release-cursor": "Ctrl+Alt+R",
        }
        if self.no_subject:
            del data["host-subject"]
        return Answer(200, {"data": data})


class SpiceProxy:
    """The cluster's proxy on a port of its own (3128 in a real one): HTTP CONNECT, then the bytes
    of the machine's TLS port. It reads the Host header only. `seen` are the requests' first lines;
    `trouble`: None, "hang" (accepts and says nothing), "drop", "500", "cut" (ends inside the
    answer), "chatty" (a long answer with many headers)."""

    def __init__(self, cluster: Proxmox):
        self.cluster = cluster
        self.seen: list[str] = []
        self.tunnels = 0
        self.trouble: str | None = None
        self._release = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError, ValueError), sock:
            sock.settimeout(60)
            head = b""
            while b"\r\n\r\n" not in head:
                more = sock.recv(1)  # what follows belongs to the tunnel
                if not more or len(head) > 16384:
                    return
                head += more
            self._answer(sock, head.decode("latin-1").split("\r\n"))

    def _answer(self, sock, lines: list[str]):
        self.seen.append(lines[0])
        method, _, protocol = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value
                   in (line.partition(":") for line in lines[1:] if line)}
        match self.trouble:
            case "hang":
                self._release.wait(60)
                return
            case "drop":
                return
            case "500":
                sock.sendall(f"{protocol} 500 no connection to node\r\n\r\n".encode())
                return
            case "cut":
                sock.sendall(f"{protocol} 200 O".encode())
                return
        if method != "CONNECT":
            sock.sendall(f"{protocol} 501 method '{method}' not available\r\n\r\n".encode())
            return
        host, _, port = headers.get("host", "").rpartition(":")
        machine = self.cluster.behind(host)
        if not machine or port != str(machine.more["spice_port"]):
            sock.sendall(f"{protocol} 401 invalid ticket\r\nContent-Length: 0\r\n\r\n".encode())
            return
        sock.settimeout(None)
        with socket.create_connection((machine.address, machine.tls_port)) as behind:
            more = ("".join(f"X-Padding-{i}: {'x' * 70}\r\n" for i in range(20))
                    if self.trouble == "chatty" else "")
            sock.sendall(f"{protocol} 200 OK\r\n{more}\r\n".encode())
            self.tunnels += 1
            tunnel.join(sock, behind)

    def release(self):
        self._release.set()
        self._release = threading.Event()

    def stop(self):
        self._release.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
