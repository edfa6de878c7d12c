"""A stand-in for OpenStack's Nova, written from the Compute API reference and its samples: versions,
microversions, the list of servers with its pages, remote consoles of type spice-direct (2.99) and
the redemption of their tokens. Who may do what comes from a Keystone stand-in."""

import re
import time
import urllib.parse
import uuid
from dataclasses import dataclass

from .keystone import Keystone, Token
from .machine import Machine, Machines
from .server import Answer, Request, Service

FAULTS = {400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound",
          405: "badMethod", 409: "conflictingRequest", 413: "overLimit", 429: "overLimit",
          415: "badMediaType", 501: "notImplemented", 503: "serviceUnavailable"}
CONSOLES = {("vnc", "novnc"): (2, 6), ("vnc", "xvpvnc"): (2, 6), ("serial", "serial"): (2, 6),
            ("spice", "spice-html5"): (2, 6), ("rdp", "rdp-html5"): (2, 6),
            ("mks", "webmks"): (2, 8), ("spice", "spice-direct"): (2, 99)}
LIST_QUERY = {"all_tenants", "status", "limit", "marker", "sort_key", "sort_dir", "host", "name",
              "project_id", "user_id", "changes-since", "deleted", "reservation_id"}
ADMIN = "admin"


@dataclass
class ConsoleToken:
    machine: Machine
    kind: str
    expires: float


class Nova(Machines, Service):
    """Switches: `max_limit` (servers on a page at most), `wrong_host_links` (next links name a host
    that does not exist, as behind a load balancer), `expire_at_page` (Keystone's tokens expire once
    this page, counted from 1, was sent), `down_cells` (uuids whose cell does not answer: records
    with hardly a field), `spice_enabled`, `not_ready` (uuids whose console answers 409),
    `token_life` of consoles in seconds, `maximum` microversion, `base_url` for console links.
    """

    def __init__(self, tls, keystone: Keystone, region="RegionOne"):
        self.machines_init()
        self.keystone = keystone
        self.maximum = (2, 104)
        self.max_limit = 1000
        self.wrong_host_links = False
        self.expire_at_page = 0
        self.down_cells: set[str] = set()
        self.not_ready: set[str] = set()
        self.spice_enabled = True
        self.token_life = 600.0
        self.base_url = "https://desktops.example:8443/nova-console.vv"
        self.console_tokens: dict[str, ConsoleToken] = {}
        self._pages = 0
        super().__init__(tls)
        keystone.service("compute_legacy", "nova-legacy", f"{self.url}/v2", region)
        keystone.service("compute", "nova", f"{self.url}/v2.1", region)

    # ---- tokens and microversions ----

    def fault(self, status: int, message: str) -> Answer:
        answer = Answer(status, {FAULTS.get(status, "computeFault"): {"code": status,
                                                                      "message": message}})
        if status == 401:  # keystonemiddleware's, which stands before Nova
            answer.body = {"error": {"code": 401, "title": "Unauthorized", "message":
                                     "The request you have made requires authentication."}}
            answer.headers["WWW-Authenticate"] = f"Keystone uri='{self.keystone.url}'"
        return answer

    def _version_of(self, request: Request) -> tuple[int, int] | Answer:
        asked = request.headers.get("openstack-api-version")
        if asked is not None:
            for part in asked.split(","):
                service, _, number = part.strip().partition(" ")
                if service.lower() == "compute":
                    asked = number.strip()
                    break
            else:
                asked = None
        asked = asked or request.headers.get("x-openstack-nova-api-version") or "2.1"
        if asked == "latest":
            return self.maximum
        if not re.fullmatch(r"[1-9]\d*\.(0|[1-9]\d*)", asked):
            return self.fault(400, f"API Version String {asked} is of invalid format. "
                                   "Must be of format MajorNum.MinorNum.")
        version = tuple(int(n) for n in asked.split("."))
        if not (2, 1) <= version <= self.maximum:
            return self.fault(406, f"Version {asked} is not supported by the API. Minimum is 2.1 "
                                   f"and maximum is {self.maximum[0]}.{self.maximum[1]}.")
        return version

    def handle(self, request: Request) -> Answer:
        if request.path in ("", "/", "/v2.1", "/v2.1/"):
            return self._versions(request)
        token = self.keystone.who(request.headers.get("x-auth-token"))
        if not token:
            return self.fault(401, "")
        version = self._version_of(request)
        answer = version if isinstance(version, Answer) else self._dispatch(request, token, version)
        if not isinstance(version, Answer):
            number = f"{version[0]}.{version[1]}"
            answer.headers.update({"OpenStack-API-Version": f"compute {number}",
                                   "X-OpenStack-Nova-API-Version": number})
        answer.headers["Vary"] = "OpenStack-API-Version, X-OpenStack-Nova-API-Version"
        answer.headers["x-openstack-request-id"] = f"req-{uuid.uuid4()}"
        return answer

    def _dispatch(self, request: Request, token: Token, version) -> Answer:
        if not token.scoped:
            return self.fault(403, "this needs a token with a scope")
        match (request.method, request.path.removeprefix("/v2.1").strip("/").split("/")):
            case ("GET", ["servers", "detail"]):
                return self._list(request, token, version)
            case ("GET", ["servers", server]):
                return self._show(server, token, version)
            case ("POST", ["servers", server, "remote-consoles"]):
                return self._console(request, server, token, version)
            case ("GET", ["os-console-auth-tokens", name]):
                return self._redeem(request, name, token, version)
        return self.fault(404, "The resource could not be found.")

    def _versions(self, request: Request) -> Answer:
        current = {"id": "v2.1", "status": "CURRENT",
                   "version": f"{self.maximum[0]}.{self.maximum[1]}", "min_version": "2.1",
                   "updated": "2013-07-23T11:33:21Z",
                   "links": [{"rel": "self", "href": f"{self.url}/v2.1/"}]}
        if request.path.startswith("/v2.1"):
            media = [{"base": "application/json",
                      "type": "application/vnd.openstack.compute+json;version=2.1"}]
            return Answer(200, {"version": {**current, "media-types": media}})
        old = {"id": "v2.0", "status": "DEPRECATED", "version": "", "min_version": "",
               "updated": "2011-01-21T11:33:21Z",
               "links": [{"rel": "self", "href": f"{self.url}/v2/"}]}
        return Answer(200, {"versions": [old, current]})

    def _is_admin(self, token: Token) -> bool:
        return ADMIN in self.keystone.roles_of(token)

    # ---- servers ----

    def owned(self, name: str, project: str, user: str, **more) -> Machine:
        """A server of a project and a user, by their Keystone ids."""
        return self.add(name, more={"project": project, "user": user}, **more)

    def _visible(self, machine: Machine, token: Token, everybody=True) -> bool:
        return ((everybody and self._is_admin(token))
                or machine.more.get("project") == token.project)

    def _view(self, machine: Machine, token: Token, version) -> dict:
        project, user = machine.more.get("project"), machine.more.get("user")
        links = [{"rel": "self", "href": f"http://nova.example/v2.1/servers/{machine.uuid}"},
                 {"rel": "bookmark", "href": f"http://nova.example/servers/{machine.uuid}"}]
        if machine.uuid in self.down_cells and version >= (2, 69):
            return {"id": machine.uuid, "status": "UNKNOWN", "tenant_id": project,
                    "created": "2026-01-02T03:04:05Z", "links": links}
        active = machine.running
        view = {
            "accessIPv4": "", "accessIPv6": "", "created": "2026-01-02T03:04:05Z",
            "addresses": {"private": [{"addr": "192.168.1.30", "version": 4,
                                       "OS-EXT-IPS-MAC:mac_addr": "00:0c:29:0d:11:74",
                                       "OS-EXT-IPS:type": "fixed"}]},
            "flavor": {"disk": 1, "ephemeral": 0, "extra_specs": {}, "original_name": "m1.tiny",
                       "ram": 512, "swap": 0, "vcpus": 1},
            "hostId": uuid.uuid5(uuid.NAMESPACE_DNS, machine.node).hex + "00000000",
            "id": machine.uuid, "image": "", "key_name": None, "links": links, "metadata": {},
            "name": machine.name, "config_drive": "", "locked": False, "tags": [],
            "OS-EXT-AZ:availability_zone": "nova", "OS-EXT-STS:power_state": 1 if active else 4,
            "OS-EXT-STS:task_state": None, "OS-EXT-STS:vm_state": "active" if active else "stopped",
            "status": "ACTIVE" if active else "SHUTOFF", "progress": 0,
            "tenant_id": project, "user_id": user, "updated": "2026-01-02T03:04:06Z",
        }
        if self._is_admin(token):
            view.update({"OS-EXT-SRV-ATTR:host": machine.node,
                         "OS-EXT-SRV-ATTR:hypervisor_hostname": f"{machine.node}.example",
                         "OS-EXT-SRV-ATTR:instance_name": "instance-0000002a"})
        return view

    def _list(self, request: Request, token: Token, version) -> Answer:
        query = request.query
        unknown = set(query) - LIST_QUERY
        if unknown and version >= (2, 75):
            return self.fault(400, "Invalid query parameters: Additional properties are not "
                                   f"allowed ({sorted(unknown)[0]!r} was unexpected)")
        everybody = query.get("all_tenants", "0").lower() in ("1", "true")
        if everybody and not self._is_admin(token):
            return self.fault(403, "Policy doesn't allow os_compute_api:servers:detail:"
                                   "get_all_tenants to be performed.")
        if not re.fullmatch(r"\d+", query.get("limit", "0")):
            return self.fault(400, f"Invalid input for query parameters limit. Value: "
                                   f"{query['limit']}.")
        limit = min(int(query.get("limit", "0")) or self.max_limit, self.max_limit)
        found = [m for m in list(self.machines.values())
                 if self._visible(m, token, everybody)
                 and (m.running or query.get("status", "").upper() != "ACTIVE")]
        marker = query.get("marker")
        if marker is not None:
            at = next((i for i, m in enumerate(found) if m.uuid == marker), None)
            if at is None:
                return self.fault(400, f"marker [{marker}] not found")
            found = found[at + 1:]
        page = found[:limit]
        body = {"servers": [self._view(m, token, version) for m in page]}
        if page and len(page) == limit:  # also where nothing follows, as Nova does it
            again = urllib.parse.urlencode({**query, "marker": page[-1].uuid})
            host = "http://internal.invalid:8774" if self.wrong_host_links else self.url
            body["servers_links"] = [{"rel": "next",
                                      "href": f"{host}/v2.1/servers/detail?{again}"}]
        self._pages += 1
        if self.expire_at_page == self._pages:
            self.keystone.expire_tokens()
        return Answer(200, body)

    def count_pages_anew(self):
        self._pages = 0

    def _find(self, server: str, token: Token) -> Machine | Answer:
        machine = self.machines.get(server)
        if not machine or not self._visible(machine, token):
            return self.fault(404, f"Instance {server} could not be found.")
        return machine

    def _show(self, server: str, token: Token, version) -> Answer:
        machine = self._find(server, token)
        if isinstance(machine, Answer):
            return machine
        return Answer(200, {"server": self._view(machine, token, version)})

    # ---- consoles ----

    def console_token(self, machine: Machine, kind="spice-direct", life: float | None = None) -> str:
        """What Horizon or a command line would have got: a token in a link."""
        token = str(uuid.uuid4())
        self.console_tokens[token] = ConsoleToken(
            machine, kind, time.time() + (self.token_life if life is None else life))
        return token

    def _console(self, request: Request, server: str, token: Token, version) -> Answer:
        asked = request.json().get("remote_console", {})
        kind = asked.get("protocol"), asked.get("type")
        if kind not in CONSOLES or version < CONSOLES[kind]:
            return self.fault(400, f"Invalid input for field/attribute type. Value: {kind[1]}. "
                                   f"'{kind[1]}' is not one of ['novnc', 'spice-html5', 'serial']")
        machine = self._find(server, token)
        if isinstance(machine, Answer):
            return machine
        if not machine.running or machine.uuid in self.not_ready:
            return self.fault(409, "Instance is not yet ready")
        if not machine.spice or not self.spice_enabled:
            return self.fault(400, f"Unavailable console type {kind[1]}.")
        name = self.console_token(machine, kind[1])
        return Answer(200, {"remote_console": {"protocol": kind[0], "type": kind[1],
                                               "url": f"{self.base_url}?token={name}"}})

    def _redeem(self, request: Request, name: str, token: Token, version) -> Answer:
        if version < (2, 31):
            return self.fault(400, "The requested console type details are not accessible")
        if request.query and version >= (2, 99):
            return self.fault(400, "Invalid query parameters: Additional properties are not allowed")
        if not self._is_admin(token):
            return self.fault(403, "Policy doesn't allow os_compute_api:os-console-auth-tokens to "
                                   "be performed.")
        found = self.console_tokens.get(name)
        if not found or found.expires <= time.time() or found.machine.uuid not in self.machines:
            return self.fault(404, "Token not found")
        machine = found.machine
        console = {"instance_uuid": machine.uuid, "host": machine.address,
                   "port": machine.port or machine.tls_port, "internal_access_path": None}
        if version >= (2, 99) and found.kind == "spice-direct":
            console["tls_port"] = machine.tls_port
        return Answer(200, {"console": console})
