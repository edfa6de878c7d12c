"""A stand-in for an oVirt engine, written from its REST API guide (version 4): single sign-on, virtual
machines with their search and pages, hosts, graphics consoles, the ticket action, and the service
that hands out certificates. As there, numbers and booleans in JSON are strings, and an empty
collection is an empty object."""

import base64
import re
import secrets
import time
import uuid

from .machine import Machine, Machines
from .server import Answer, Request, Service

API = "/ovirt-engine/api"
SPICE, VNC = "spice".encode().hex(), "vnc".encode().hex()
DEFAULT_EXPIRY = 7200
TICKET_STATES = {"up", "paused", "powering_up", "powering_down", "reboot_in_progress"}
TIMELESS = "9223372036854775807"


def as_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def fault(status: int, detail: str | None, reason="Operation Failed") -> Answer:
    return Answer(status, {"detail": detail, "reason": reason})


class Ovirt(Machines, Service):
    """Switches: `page_size` (entries on a page where no `max` asks for fewer), `expire_at_page`
    (sessions end once this page of machines, counted from 1, was sent), `hide_hosts` (the account
    may not see hosts), `hide_consoles` (uuids whose consoles answer 404), `in_use_by_other` (uuids
    whose console another user has), `vnc_only` (uuids), `fault_in_action` (failed actions answer with
    the fault inside). `tickets` are those that were set: (uuid, value, expiry)."""

    def __init__(self, tls, ca: str, qemu_ca: str | None = None):
        self.machines_init()
        self.ca, self.qemu_ca = ca, qemu_ca or ca
        self.users = {"admin@ovirt@internalsso": "secret"}
        self.clients = {"kerbside": "client secret"}  # who may log in on behalf of others
        self.sessions: dict[str, str] = {}  # token: user
        self.states: dict[str, str] = {}  # uuid: another state than up and down
        self.page_size = 100
        self.expire_at_page = 0
        self.hide_hosts = False
        self.hide_consoles: set[str] = set()
        self.in_use_by_other: set[str] = set()
        self.vnc_only: set[str] = set()
        self.fault_in_action = False
        self.tickets: list[tuple[str, str, int]] = []
        self.ticket_users: list[str] = []  # who set them
        self._pages = 0
        super().__init__(tls)

    def fault(self, status: int, message: str) -> Answer:
        if status == 401:
            return Answer(401, b"<html><head><title>Error</title></head>"
                               b"<body>Unauthorized</body></html>",
                          {"Content-Type": "text/html", "WWW-Authenticate":
                           'Bearer realm="ovirt", error="invalid_token"'})
        return fault(status, f"[{message}]")

    def expire_sessions(self):
        self.sessions.clear()

    def handle(self, request: Request) -> Answer:
        if request.path in ("/ovirt-engine/sso/oauth/token", "/ovirt-engine/sso/oauth/revoke"):
            return self._sso(request)
        if request.path == "/ovirt-engine/services/pki-resource":
            return self._pki(request)
        if not request.path.startswith(API):
            return Answer(404, b"<html>404</html>", {"Content-Type": "text/html"})
        user = self.sessions.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if not user:
            return self.fault(401, "")
        if "application/json" not in request.headers.get("accept", ""):  # XML is what it prefers
            return Answer(200, b"<?xml version='1.0'?><api/>", {"Content-Type": "application/xml"})
        # matrix parameters count as query parameters
        path, _, matrix = request.path.removeprefix(API).partition(";")
        query = {**request.query, **dict(p.partition("=")[::2] for p in matrix.split(";") if p)}
        match (request.method, path.strip("/").split("/")):
            case ("GET", [""]):
                return Answer(200, {"product_info": {"name": "oVirt Engine", "vendor": "ovirt.org",
                                                     "version": {"major": "4", "minor": "5",
                                                                 "full_version": "4.5.4-1.el8"}}})
            case ("GET", ["vms"]):
                return self._vms(query)
            case ("GET", ["vms", vm]):
                return self._one(vm, lambda m: Answer(200, self._vm(m)))
            case ("GET", ["hosts"]):
                return self._hosts(None)
            case ("GET", ["hosts", host]):
                return self._hosts(host)
            case ("GET", ["vms", vm, "graphicsconsoles"]):
                return self._one(vm, lambda m: self._consoles(m, query))
            case ("GET", ["vms", vm, "graphicsconsoles", console]):
                return self._one(vm, lambda m: self._console_of(m, console, query))
            case ("POST", ["vms", vm, "graphicsconsoles", console, "ticket"]):
                return self._one(vm, lambda m: self._ticket(m, console, request, user))
        return Answer(404)

    # ---- single sign-on ----

    def _sso(self, request: Request) -> Answer:
        form = request.form()
        if request.path.endswith("revoke"):
            self.sessions.pop(form.get("token"), None)
            return Answer(200, {})
        scope = form.get("scope", "")

        def refuse(code: str, message: str) -> Answer:
            if "ovirt-app-api" in scope.split():
                return Answer(400, {"error_code": code, "error": message})
            return Answer(400, {"error": code, "error_description": message})

        if (request.method != "POST" or not request.headers.get("content-type", "").startswith(
                "application/x-www-form-urlencoded")):
            return refuse("invalid_request", "The request is missing a required parameter")
        if "application/json" not in request.headers.get("accept", ""):
            return refuse("invalid_request", "Missing accept header")
        if form.get("grant_type") != "password":
            return refuse("unsupported_grant_type", "The grant type is not supported")
        user = form.get("username", "")
        if "ovirt-ext=token:login-on-behalf" in scope.split():
            if not self._is_client(request, form):
                return refuse("unauthorized_client", "The client is not authorized")
        elif self.users.get(user) != form.get("password"):
            return refuse("access_denied", f"Cannot authenticate user '{user}': The user name or "
                                           "password is incorrect..")
        token = secrets.token_urlsafe(64)
        self.sessions[token] = user
        return Answer(200, {"access_token": token, "scope": scope, "exp": TIMELESS,
                            "token_type": "bearer"})

    def _is_client(self, request: Request, form: dict) -> bool:
        given = request.headers.get("authorization", "")
        if given.startswith("Basic "):
            name, _, secret = base64.b64decode(given[6:]).decode().partition(":")
        else:
            name, secret = form.get("client_id"), form.get("client_secret")
        return name in self.clients and self.clients[name] == secret

    # ---- certificates ----

    def _pki(self, request: Request) -> Answer:
        files = {"ca-certificate": self.ca, "qemu-ca-certificate": self.qemu_ca}
        resource, form = request.query.get("resource"), request.query.get("format")
        if resource not in files or form not in (None, "X509-PEM", "X509-PEM-CA",
                                                 "OPENSSH-PUBKEY"):
            return Answer(400, b"<html>Resource is invalid</html>", {"Content-Type": "text/html"})
        kind = "application/x-x509-ca-cert" if form == "X509-PEM-CA" else "application/x-x509-cert"
        return Answer(200, files[resource].encode(), {"Content-Type": kind})

    # ---- machines and hosts ----

    def state_of(self, machine: Machine) -> str:
        return self.states.get(machine.uuid, "up" if machine.running else "down")

    def _one(self, vm: str, answer) -> Answer:
        machine = self.machines.get(vm)
        return answer(machine) if machine else Answer(404)

    def _vm(self, machine: Machine) -> dict:
        view = {
            "id": machine.uuid, "name": machine.name, "href": f"{API}/vms/{machine.uuid}",
            "status": self.state_of(machine), "fqdn": "", "description": "", "stateless": "false",
            "type": "desktop", "memory": "1073741824", "origin": "ovirt",
            "cluster": {"id": as_uuid("cluster"), "href": f"{API}/clusters/{as_uuid('cluster')}"},
            "display": {"type": "spice", "monitors": "1", "allow_override": "true",
                        "copy_paste_enabled": "true", "file_transfer_enabled": "true",
                        "disconnect_action": "LOCK_SCREEN", "smartcard_enabled": "false"},
            "os": {"type": "other"},
        }
        if self.state_of(machine) != "down":
            host = as_uuid(machine.node)
            view["host"] = {"id": host, "href": f"{API}/hosts/{host}"}
            view["display"].update(self._place(machine, "secure_port"))
        return view

    def _place(self, machine: Machine, tls_name: str) -> dict:
        place = {"address": machine.address}
        if machine.port:
            place["port"] = str(machine.port)
        if machine.tls_port:
            place[tls_name] = str(machine.tls_port)
        return place

    def _vms(self, query: dict) -> Answer:
        search = query.get("search", "")
        states = set(re.findall(r"status\s*=\s*(\w+)", search))
        found = [m for m in list(self.machines.values())
                 if not states or self.state_of(m) in states]
        if re.search(r"sortby\s+name", search):
            found.sort(key=lambda m: m.name)
        page = re.search(r"page\s+(\d+)", search)
        size = int(query.get("max", -1))
        if page:
            size = size if size >= 0 else self.page_size
            start = (int(page[1]) - 1) * size
            found = found[start:start + size]
        elif size >= 0:
            found = found[:size]
        self._pages += 1
        if self.expire_at_page == self._pages:
            self.expire_sessions()
        return Answer(200, {"vm": [self._vm(m) for m in found]} if found else {})

    def count_pages_anew(self):
        self._pages = 0

    def _host(self, machine: Machine) -> dict:
        subject = machine.subject or f"O=Lab,CN={machine.node}"
        parts = dict(part.split("=", 1) for part in subject.split(","))
        host = as_uuid(machine.node)
        return {"id": host, "href": f"{API}/hosts/{host}", "name": machine.node, "status": "up",
                "address": parts.get("CN", machine.node), "type": "ovirt_node", "port": "54321",
                "certificate": {"subject": subject, "organization": parts.get("O", "")}}

    def _hosts(self, wanted: str | None) -> Answer:
        if self.hide_hosts:
            return fault(403, "query execution failed due to insufficient permissions.")
        hosts = {as_uuid(m.node): self._host(m) for m in list(self.machines.values())}
        if wanted is None:
            return Answer(200, {"host": list(hosts.values())} if hosts else {})
        return Answer(200, hosts[wanted]) if wanted in hosts else Answer(404)

    # ---- consoles ----

    def _console(self, machine: Machine, protocol: str, current: bool) -> dict:
        console = protocol.encode().hex()
        href = f"{API}/vms/{machine.uuid}/graphicsconsoles/{console}"
        links = [{"rel": rel, "href": f"{href}/{rel}"}
                 for rel in ("proxyticket", "remoteviewerconnectionfile", "ticket")]
        view = {"id": console, "href": href, "protocol": protocol, "actions": {"link": links},
                "vm": {"id": machine.uuid, "href": f"{API}/vms/{machine.uuid}"}}
        if current and self.state_of(machine) != "down":
            if protocol == "spice":
                view.update(self._place(machine, "tls_port"))
            else:
                view.update({"address": machine.address, "port": "5999"})
        return view

    def _protocols(self, machine: Machine) -> list[str]:
        if not machine.spice:
            return []
        return ["vnc"] if machine.uuid in self.vnc_only else ["spice", "vnc"]

    def _consoles(self, machine: Machine, query: dict) -> Answer:
        if machine.uuid in self.hide_consoles:
            return Answer(404)
        current = query.get("current", "false") in ("true", "")
        found = [self._console(machine, p, current) for p in self._protocols(machine)]
        return Answer(200, {"graphics_console": found} if found else {})

    def _console_of(self, machine: Machine, console: str, query: dict) -> Answer:
        protocol = bytes.fromhex(console).decode()
        if protocol not in self._protocols(machine):
            return Answer(404)
        return Answer(200, self._console(machine, protocol, query.get("current") == "true"))

    def _ticket(self, machine: Machine, console: str, request: Request, user: str) -> Answer:
        if not request.headers.get("content-type", "").startswith("application/json"):
            return Answer(415)
        if bytes.fromhex(console).decode() not in self._protocols(machine):
            return Answer(404)
        if self.state_of(machine) not in TICKET_STATES:
            return self._refuse(409, "[Cannot set VM Ticket. VM is not running.]")
        if machine.uuid in self.in_use_by_other:
            return self._refuse(409, "[Cannot set VM Ticket. VM is in use by another user.]")
        asked = request.json().get("ticket", {})
        value = asked.get("value") or base64.b64encode(secrets.token_bytes(6)).decode()
        expiry = int(asked.get("expiry", DEFAULT_EXPIRY))
        self.tickets.append((machine.uuid, value, expiry))
        self.ticket_users.append(user)
        machine.mint(value, expiry)
        machine.more["ticket_set"] = time.time()
        return Answer(200, {"status": "complete", "ticket": {"value": value,
                                                             "expiry": str(expiry)}})

    def _refuse(self, status: int, detail: str) -> Answer:
        if self.fault_in_action:
            return Answer(status, {"status": "failed", "ticket": {},
                                   "fault": {"detail": detail, "reason": "Operation Failed"}})
        return fault(status, detail)
