"""A stand-in for Incus (and LXD, whose API is the same here), written from its REST API documentation:
instances with their recursion and filters, operations, and the console of type vga, whose
WebSockets carry a SPICE server's bytes, one each channel."""

import contextlib
import re
import secrets
import socket
import threading
import uuid
from dataclasses import dataclass, field

from . import tunnel
from .machine import Machine, Machines
from .server import Answer, Request, Service

EXTENSIONS = ["console", "console_vga_type", "console_force", "api_filtering", "projects",
              "instances", "virtual-machines", "instance_all_projects"]
RUNNING, CANCELED, FAILURE, SUCCESS = ((103, "Running"), (401, "Canceled"), (400, "Failure"),
                                       (200, "Success"))


@dataclass
class Operation:
    machine: Machine
    user: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    data: str = field(default_factory=lambda: secrets.token_hex(32))
    control: str = field(default_factory=lambda: secrets.token_hex(32))
    status: tuple = RUNNING
    sockets: list = field(default_factory=list)
    has_control: bool = False


class Incus(Machines, Service):
    """Clients show who they are by a bearer token, of `tokens`, or by a TLS certificate where the
    context asks for one (`certificates`: their names). Switches: `projects_hidden` (the account
    sees the default project only), `extensions`, `location` (members of a cluster), `no_text_end`
    (as old LXD: no text message at the end of a stream), `cut_streams` (WebSockets end after so
    many bytes from the server; 0: never), `refuse_upgrade` (a status in place of 101),
    `wrong_accept` (a bad Sec-WebSocket-Accept). `operations` are by id."""

    def __init__(self, tls):
        self.machines_init()
        self.tokens: dict[str, str] = {}  # token: user
        self.certificates: set[str] = set()  # common names
        self.extensions = list(EXTENSIONS)
        self.operations: dict[str, Operation] = {}
        self.projects_hidden = self.no_text_end = self.wrong_accept = False
        self.cut_streams = 0
        self.refuse_upgrade = 0
        self._op_lock = threading.Lock()
        super().__init__(tls)

    def token(self, user="kerbside") -> str:
        token = secrets.token_urlsafe(48)
        self.tokens[token] = user
        return token

    def instance(self, name: str, kind="virtual-machine", project="default", **more) -> Machine:
        return self.add(name, more={"type": kind, "project": project, **more.pop("more", {})},
                        **more)

    def fill(self, count: int, name="vm", **more):
        for i in range(count):
            self.instance(f"{name}-{i:05d}", **more)

    def expire_tokens(self):
        self.tokens.clear()

    # ---- answers ----

    def fault(self, status: int, message: str) -> Answer:
        return Answer(status, {"type": "error", "status": "", "status_code": 0, "operation": "",
                               "error_code": status, "error": message, "metadata": None})

    def _sync(self, metadata) -> Answer:
        return Answer(200, {"type": "sync", "status": "Success", "status_code": 200,
                            "operation": "", "error_code": 0, "error": "", "metadata": metadata})

    def _who(self, request: Request) -> str | None:
        given = request.headers.get("authorization", "")
        if given.startswith("Bearer "):
            return self.tokens.get(given.removeprefix("Bearer "))
        if request.peer in self.certificates:
            return f"certificate {request.peer}"
        return None

    def handle(self, request: Request) -> Answer:
        user = self._who(request)
        if request.path == "/":
            return self._sync(["/1.0"])
        if request.path == "/1.0":
            view = {"api_version": "1.0", "api_status": "stable", "public": False,
                    "auth": "trusted" if user else "untrusted", "auth_methods": ["tls", "oidc"],
                    "api_extensions": self.extensions}
            if user:
                view.update({"config": {}, "environment": {"server": "incus",
                                                           "server_version": "6.0.4"}})
            return self._sync(view)
        parts = request.path.strip("/").split("/")
        match (request.method, parts):
            case ("GET", ["1.0", "operations", operation, "websocket"]):
                # The secret stands for the account, which may send none.
                return self._websocket(operation, request, user)
        if not user:
            return self.fault(403, "not authorized")
        match (request.method, parts):
            case ("GET", ["1.0", "instances"]):
                return self._instances(request.query)
            case ("GET", ["1.0", "instances", name]):
                return self._on(name, request.query, lambda m: self._sync(self._view(m)))
            case ("POST", ["1.0", "instances", name, "console"]):
                return self._on(name, request.query,
                                lambda m: self._console(m, request.json(), user))
            case ("GET", ["1.0", "operations", operation]):
                return self._operation(operation, lambda o: self._sync(self._op_view(o)))
            case ("DELETE", ["1.0", "operations", operation]):
                return self._operation(operation, self._cancel)
        return self.fault(404, "not found")

    # ---- instances ----

    def _view(self, machine: Machine) -> dict:
        running = machine.running and not machine.more.get("frozen")
        status = (103, "Running") if running else (102, "Stopped")
        if machine.more.get("frozen"):
            status = (110, "Frozen")
        return {"name": machine.name, "type": machine.more["type"], "status": status[1],
                "status_code": status[0], "architecture": "x86_64", "ephemeral": False,
                "stateful": False, "description": "", "profiles": ["default"], "devices": {},
                "config": {"volatile.uuid": machine.uuid, "image.os": "Debian",
                           **machine.more.get("config", {})},
                "created_at": "2026-01-02T03:04:05Z", "last_used_at": "2026-01-02T03:04:05Z",
                "location": machine.node, "project": machine.more["project"]}

    def _instances(self, query: dict) -> Answer:
        project = query.get("project", "default")
        everything = query.get("all-projects") in ("true", "1")
        if everything and self.projects_hidden:
            return self.fault(403, "Certificate is restricted")
        found = [m for m in list(self.machines.values())
                 if everything or m.more["project"] == project]
        # The filter language has more; these are the conditions that inventories use.
        for name, value in re.findall(r"(\w+) eq \"?([\w-]+)\"?", query.get("filter", "")):
            found = [m for m in found if str(self._view(m).get(name)).lower() == value.lower()]
        if query.get("recursion", "0") == "0":
            return self._sync([f"/1.0/instances/{m.name}" for m in found])
        return self._sync([self._view(m) for m in found])

    def _on(self, name: str, query: dict, answer) -> Answer:
        project = query.get("project", "default")
        for machine in list(self.machines.values()):
            if (machine.name, machine.more["project"]) == (name, project):
                return answer(machine)
        return self.fault(404, "Instance not found")

    # ---- consoles ----

    def _console(self, machine: Machine, asked: dict, user: str) -> Answer:
        kind = asked.get("type") or "console"
        if kind not in ("console", "vga"):
            return self.fault(400, f'Unknown console type "{kind}"')
        if kind == "vga" and machine.more["type"] != "virtual-machine":
            return self.fault(400, "VGA console is only supported by virtual machines")
        if not machine.running:
            return self.fault(400, "Instance is not running")
        if machine.more.get("frozen"):
            return self.fault(400, "Instance is frozen")
        with self._op_lock:
            for operation in self.operations.values():
                if operation.machine is machine and operation.status == RUNNING:
                    if not asked.get("force"):
                        return self.fault(500, "This console is already connected. Force is "
                                               "required to take it over.")
                    self._end(operation, CANCELED)
            operation = Operation(machine, user)
            self.operations[operation.id] = operation
        path = f"/1.0/operations/{operation.id}"
        return Answer(202, {"type": "async", "status": "Operation created", "status_code": 100,
                            "operation": path, "error_code": 0, "error": "",
                            "metadata": self._op_view(operation)}, {"Location": path})

    def _op_view(self, operation: Operation) -> dict:
        path = f"/1.0/instances/{operation.machine.name}"
        return {"id": operation.id, "class": "websocket", "description": "Showing console",
                "created_at": "2026-01-02T03:04:05.226176091Z", "err": "",
                "updated_at": "2026-01-02T03:04:05.226176091Z",
                "status": operation.status[1], "status_code": operation.status[0],
                "resources": {"instances": [path]}, "may_cancel": True,
                "location": operation.machine.node,
                "metadata": {"fds": {"0": operation.data, "control": operation.control}}}

    def _operation(self, name: str, answer) -> Answer:
        operation = self.operations.get(name)
        return answer(operation) if operation else self.fault(404, "Operation not found")

    def _cancel(self, operation: Operation) -> Answer:
        with self._op_lock:
            self._end(operation, CANCELED)
        return self._sync({})

    def _end(self, operation: Operation, status: tuple):
        """Streams end with their operation only if the control WebSocket was there."""
        operation.status = status
        if operation.has_control:
            for sock in operation.sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def running(self) -> list[Operation]:
        return [o for o in self.operations.values() if o.status == RUNNING]

    def _websocket(self, name: str, request: Request, user: str | None) -> Answer:
        operation = self.operations.get(name)
        if not operation or operation.status != RUNNING:
            return self.fault(404, "Operation not found")
        if user != operation.user:
            return self.fault(403, "Requestor mismatch")
        secret = request.query.get("secret")
        if not secret:
            return self.fault(500, "missing secret")
        if secret not in (operation.data, operation.control):
            return self.fault(403, "Forbidden")
        if self.refuse_upgrade:
            return self.fault(self.refuse_upgrade, "trouble was asked for")
        if not tunnel.is_upgrade(request.headers):
            return Answer(400, b"Bad Request\n", {"Sec-Websocket-Version": "13"})
        headers = tunnel.upgrade_headers(request.headers)
        if self.wrong_accept:
            headers["Sec-WebSocket-Accept"] = tunnel.accept_key("not this")
        carry = self._control if secret == operation.control else self._data
        return Answer(101, None, headers, take=lambda sock: carry(operation, sock))

    def _control(self, operation: Operation, sock):
        sock.settimeout(None)
        operation.has_control = True
        operation.sockets.append(sock)
        with contextlib.suppress(EOFError, OSError):
            ws = tunnel.WebSocket(sock)
            while True:
                ws.receive()
        with self._op_lock:
            self._end(operation, SUCCESS)

    def _data(self, operation: Operation, sock):
        sock.settimeout(None)
        machine = operation.machine
        operation.sockets.append(sock)
        with socket.create_connection((machine.address, machine.port)) as behind:
            reader = _Cut(behind, self.cut_streams) if self.cut_streams else behind
            tunnel.join_websocket(tunnel.WebSocket(sock), reader, text_ends=not self.no_text_end)


class _Cut:
    """A socket that gives so many bytes and then its end."""

    def __init__(self, sock, count: int):
        self._sock, self._left = sock, count

    def recv(self, size: int) -> bytes:
        data = self._sock.recv(min(size, self._left)) if self._left else b""
        self._left -= len(data)
        return data

    def __getattr__(self, name):
        return getattr(self._sock, name)
