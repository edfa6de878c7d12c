"""A stand-in for a Kubernetes API server with KubeVirt, written from the Kubernetes API conventions and
KubeVirt's API reference: lists in pieces, watches with bookmarks, the subresources that carry VNC and
the serial console over WebSocket, and Status objects for errors."""

import base64
import json
import queue
import socket
import threading
import urllib.parse

from . import tunnel
from .machine import Machine, Machines
from .server import Answer, Request, Service

LIST = "/apis/kubevirt.io/v1/virtualmachineinstances"
STREAMS = "/apis/subresources.kubevirt.io/v1/namespaces/"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
PLAIN = "plain.kubevirt.io"
BEARER = "base64url.bearer.authorization.k8s.io."
REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound",
           409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError",
           503: "ServiceUnavailable"}


class KubeVirt(Machines, Service):
    """Switches: `rights` (verbs of all accounts: get, list, watch, vnc, console), `page_size` (a list
    that asks for pages is cut there even where more was asked for), `expire_continue` (the second page of a list answers
    410), `compact` (every resource version before now is forgotten: watches from there answer 410;
    a method), `error_in_watch` (the 410 comes as an event of a watch that began well), `bookmarks`,
    `expire_at_page`. A stream reaches the `port` of its machine, VNC and serial alike, unless
    machine.more says vnc_port or serial_port."""

    def __init__(self, tls):
        self.machines_init()
        self.accounts: dict[str, str] = {}  # token: name
        self.rights = {"get", "list", "watch", "vnc", "console"}
        self.page_size = 500
        self.expire_continue = self.error_in_watch = False
        self.bookmarks = True
        self.expire_at_page = 0
        self.streams: list[tuple[str, str]] = []  # (name, subresource), as they were opened
        self._changed = threading.Condition()
        self._version, self._oldest = 1000, 1000
        self._events: list[tuple[int, str, dict]] = []
        self._watches: set[queue.Queue] = set()
        self._pages = 0
        self._stopped = False
        super().__init__(tls)

    def stop(self):
        self._stopped = True
        self.end_watches()
        super().stop()

    def account(self, name="system:serviceaccount:kerbside:kerbside") -> str:
        """A service account's token."""
        token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IiJ9." + base64.urlsafe_b64encode(
            name.encode()).decode().rstrip("=") + f".{len(self.accounts)}"
        self.accounts[token] = name
        return token

    def fault(self, status: int, message: str) -> Answer:
        return Answer(status, {"kind": "Status", "apiVersion": "v1", "metadata": {},
                               "status": "Failure", "message": message,
                               "reason": REASONS.get(status, "Unknown"), "code": status})

    # ---- machines; each change is an event with a version of its own ----

    def vmi(self, name: str, namespace="default", phase="Running", **more) -> Machine:
        devices = more.pop("devices", {})
        labels = more.pop("labels", {})
        machine = self.add(name, more={"namespace": namespace, "phase": phase, "devices": devices,
                                       "labels": labels, **more.pop("more", {})}, **more)
        self._happens("ADDED", machine)
        return machine

    def change(self, machine: Machine, **more):
        """Of its phase, its node and so on."""
        for key, value in more.items():
            if hasattr(machine, key):
                setattr(machine, key, value)
            else:
                machine.more[key] = value
        self._happens("MODIFIED", machine)

    def migrate(self, machine: Machine, node: str, **place):
        super().migrate(machine, node, **place)
        self._happens("MODIFIED", machine)

    def vanish(self, machine: Machine):
        super().vanish(machine)
        self._happens("DELETED", machine)

    def fill(self, count: int, name="vm", **more):
        for i in range(count):
            self.vmi(f"{name}-{i:05d}", **more)

    def _happens(self, kind: str, machine: Machine):
        with self._changed:
            self._version += 1
            machine.more["version"] = self._version
            event = self._version, kind, self._view(machine)
            self._events.append(event)
            for watch in self._watches:
                watch.put(event)

    def compact(self):
        with self._changed:
            self._oldest = self._version + 1
            self._version += 1
            self._events.clear()

    def end_watches(self):
        """What a server does to a watch after some minutes."""
        with self._changed:
            for watch in self._watches:
                watch.put(None)

    @property
    def watches(self) -> int:
        return len(self._watches)

    def _view(self, machine: Machine) -> dict:
        status = {"phase": machine.more["phase"], "conditions": [], "guestOSInfo": {},
                  "interfaces": [{"name": "default", "ipAddress": "10.244.1.7",
                                  "mac": "52:54:00:12:34:56"}]}
        if machine.more["phase"] in ("Scheduled", "Running", "Failed", "Succeeded"):
            status["nodeName"] = machine.node
        return {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": {"name": machine.name, "namespace": machine.more["namespace"],
                         "uid": machine.uuid, "labels": machine.more["labels"], "annotations": {},
                         "resourceVersion": str(machine.more["version"]), "generation": 1,
                         "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"domain": {"devices": {"disks": [], **machine.more["devices"]},
                                "resources": {"requests": {"memory": "1Gi"}}}},
            "status": status,
        }

    # ---- requests ----

    def expire_tokens(self):
        self.accounts.clear()

    def _bearer(self, request: Request) -> tuple[str | None, str | None]:
        """Who asks, and the subprotocol that an upgrade settles on."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        protocol = None
        for offer in request.headers.get("sec-websocket-protocol", "").split(","):
            offer = offer.strip()
            if offer.startswith(BEARER):
                coded = offer.removeprefix(BEARER)
                given = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()
            elif offer == PLAIN:
                protocol = offer
        return self.accounts.get(given), protocol

    def handle(self, request: Request) -> Answer:
        user, protocol = self._bearer(request)
        if not user:
            return self.fault(401, "Unauthorized")
        if request.path == "/version":
            return Answer(200, {"major": "1", "minor": "30", "gitVersion": "v1.30.2"})
        if request.path == "/apis/kubevirt.io/v1":
            return Answer(200, {"kind": "APIResourceList", "groupVersion": "kubevirt.io/v1",
                                "resources": [{"name": "virtualmachineinstances",
                                               "kind": "VirtualMachineInstance",
                                               "namespaced": True, "verbs": ["list", "watch"]}]})
        if request.path == REVIEWS and request.method == "POST":
            return self._review(request)
        if request.path.startswith(STREAMS):
            return self._stream(request, user, protocol)
        namespace = None
        parts = request.path.split("/")
        if parts[:5] == ["", "apis", "kubevirt.io", "v1", "namespaces"] and len(parts) == 7:
            namespace = parts[5]
        elif parts[:5] == ["", "apis", "kubevirt.io", "v1", "namespaces"] and len(parts) == 8:
            return self._get(user, parts[5], urllib.parse.unquote(parts[7]))
        elif request.path != LIST:
            return self.fault(404, "the server could not find the requested resource")
        watch = request.query.get("watch") in ("1", "true")
        if ("watch" if watch else "list") not in self.rights:
            verb = "watch" if watch else "list"
            return self.fault(403, f'virtualmachineinstances.kubevirt.io is forbidden: User "{user}" '
                                   f'cannot {verb} resource "virtualmachineinstances" in API group '
                                   '"kubevirt.io" at the cluster scope')
        return self._watch(request, namespace) if watch else self._list(request, namespace)

    def _get(self, user: str, namespace: str, name: str) -> Answer:
        if "get" not in self.rights:
            return self.fault(403, f'virtualmachineinstances.kubevirt.io "{name}" is forbidden: User '
                                   f'"{user}" cannot get resource "virtualmachineinstances" in API '
                                   f'group "kubevirt.io" in the namespace "{namespace}"')
        for machine in list(self.machines.values()):
            if (machine.name, machine.more["namespace"]) == (name, namespace):
                return Answer(200, self._view(machine))
        return self.fault(404, f'virtualmachineinstances.kubevirt.io "{name}" not found')

    def _review(self, request: Request) -> Answer:
        """SelfSubjectAccessReview of authorization.k8s.io/v1: anybody may ask what he himself may."""
        review = request.json()
        wish = review["spec"]["resourceAttributes"]
        group = "subresources.kubevirt.io" if wish["subresource"] else "kubevirt.io"
        allowed = (wish["resource"] == "virtualmachineinstances" and wish["group"] == group
                   and (wish["subresource"] or wish["verb"]) in self.rights)
        return Answer(201, {**review, "status": {"allowed": allowed}})

    def _list(self, request: Request, namespace: str | None) -> Answer:
        limit = int(request.query.get("limit", 0))
        limit = min(limit, self.page_size) if limit else 1 << 30
        start, version = 0, self._version
        if "continue" in request.query:
            if self.expire_continue:
                return self.fault(410, "The provided continue parameter is too old to display a "
                                       "consistent list result.")
            try:
                state = json.loads(base64.urlsafe_b64decode(request.query["continue"]))
                start, version = state["start"], state["rv"]
            except (ValueError, KeyError):
                return self.fault(400, "continue key is not valid")
        found = [m for m in list(self.machines.values())
                 if namespace in (None, m.more["namespace"])]
        page = found[start:start + limit]
        more = {}
        if start + limit < len(found):
            state = {"start": start + limit, "rv": version}
            more = {"continue": base64.urlsafe_b64encode(json.dumps(state).encode()).decode(),
                    "remainingItemCount": len(found) - start - limit}
        self._pages += 1
        if self.expire_at_page == self._pages:
            self.expire_tokens()
        return Answer(200, {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceList",
                            "metadata": {"resourceVersion": str(version), **more},
                            "items": [self._view(m) for m in page]})

    def _watch(self, request: Request, namespace: str | None) -> Answer:
        since = int(request.query.get("resourceVersion", 0))
        with self._changed:
            if since < self._oldest and since and not self.error_in_watch:
                return self.fault(410, f"too old resource version: {since} ({self._oldest})")
            watch = queue.Queue()
            for event in self._events:
                if event[0] > since:
                    watch.put(event)
            self._watches.add(watch)
        bookmarks = (self.bookmarks
                     and request.query.get("allowWatchBookmarks") in ("1", "true"))
        return Answer(200, self._watching(watch, since, namespace, bookmarks),
                      {"Content-Type": "application/json"})

    def _watching(self, watch: queue.Queue, since: int, namespace, bookmarks: bool):
        def line(kind: str, thing: dict) -> bytes:
            return json.dumps({"type": kind, "object": thing}).encode() + b"\n"

        try:
            if self.error_in_watch and since:
                yield line("ERROR", self.fault(410, f"too old resource version: {since}").body)
                return
            if bookmarks:
                yield line("BOOKMARK", {"kind": "VirtualMachineInstance",
                                        "apiVersion": "kubevirt.io/v1", "metadata": {
                                            "resourceVersion": str(self._version)}})
            while not self._stopped:
                event = watch.get()
                if event is None:
                    return
                _, kind, thing = event
                if namespace in (None, thing["metadata"]["namespace"]):
                    yield line(kind, thing)
        finally:
            with self._changed:
                self._watches.discard(watch)

    # ---- streams ----

    def _stream(self, request: Request, user: str, protocol: str | None) -> Answer:
        parts = [urllib.parse.unquote(p) for p in request.path.removeprefix(STREAMS).split("/")]
        if len(parts) != 4 or parts[1] != "virtualmachineinstances":
            return self.fault(404, "the server could not find the requested resource")
        namespace, _, name, kind = parts
        if kind not in ("vnc", "console"):
            return self.fault(404, "the server could not find the requested resource")
        if kind not in self.rights:
            return self.fault(403, f'virtualmachineinstances.subresources.kubevirt.io "{name}" is '
                                   f'forbidden: User "{user}" cannot get resource '
                                   f'"virtualmachineinstances/{kind}" in API group '
                                   f'"subresources.kubevirt.io" in the namespace "{namespace}"')
        machine = next((m for m in list(self.machines.values())
                        if (m.name, m.more["namespace"]) == (name, namespace)), None)
        if not machine:
            return self.fault(404, f'virtualmachineinstance.kubevirt.io "{name}" not found')
        attach, what = (("autoattachGraphicsDevice", "No graphics devices are present.")
                        if kind == "vnc" else
                        ("autoattachSerialConsole", "No serial consoles are present."))
        if machine.more["devices"].get(attach) is False:
            return self.fault(400, what)
        if kind == "console" and machine.more["phase"] == "Failed":
            return self.fault(409, f'Operation cannot be fulfilled on virtualmachineinstance '
                                   f'"{name}": VMI is in failed status')
        if machine.more["phase"] != "Running":
            return self.fault(400, "VMI is not running")
        if not tunnel.is_upgrade(request.headers):
            return self.fault(400, "websocket: the client is not using the websocket protocol")
        port = machine.more.get("vnc_port" if kind == "vnc" else "serial_port", machine.port)
        return Answer(101, None, tunnel.upgrade_headers(request.headers, protocol),
                      take=lambda sock: self._carry(sock, machine, kind, port))

    def _carry(self, sock, machine: Machine, kind: str, port: int):
        sock.settimeout(None)
        with socket.create_connection((machine.address, port)) as behind:
            self.streams.append((machine.name, kind))
            tunnel.join_websocket(tunnel.WebSocket(sock), behind)
