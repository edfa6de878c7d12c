"""A stand-in for anybody's inventory service: the HTTP directory, which gives consoles as JSON to
who has the token, in pages, with an ETag."""

import hashlib
import json

from .machine import Machine, Machines
from .server import Answer, Request, Service


class Directory(Machines, Service):
    """Switches: `page_size` (0: everything at once), `bare` (a list alone, without the object around
    it), `no_etag`, `wrong_host_links`, `expire_at_page`. `records`, if set, is the answer in place
    of the machines."""

    def __init__(self, tls, token="a directory's token"):
        self.machines_init()
        self.token = token
        self.page_size = 0
        self.bare = self.no_etag = self.wrong_host_links = False
        self.expire_at_page = 0
        self.records: list | None = None
        self._pages = 0
        super().__init__(tls)

    def fault(self, status: int, message: str) -> Answer:
        return Answer(status, {"error": message})

    def record(self, machine: Machine) -> dict:
        record = {"uuid": machine.uuid, "name": machine.name, "hypervisor": machine.node,
                  "hypervisor_ip": machine.address, "insecure_port": machine.port,
                  "secure_port": machine.tls_port, "host_subject": machine.subject,
                  "ticket": machine.ticket, **machine.more}
        return {k: v for k, v in record.items() if v is not None}

    def handle(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self.fault(401, "no such token")
        if request.path != "/consoles":
            return self.fault(404, "there is nothing here")
        records = self.records
        if records is None:
            records = [self.record(m) for m in list(self.machines.values()) if m.running]
        etag = '"' + hashlib.sha256(json.dumps(records).encode()).hexdigest()[:16] + '"'
        headers = {} if self.no_etag else {"ETag": etag}
        if not self.no_etag and request.headers.get("if-none-match") == etag:
            return Answer(304, b"", headers)
        body = records if self.bare else {"consoles": records}
        if self.page_size:
            start = int(request.query.get("page", "0")) * self.page_size
            body = {"consoles": records[start:start + self.page_size]}
            if start + self.page_size < len(records):
                host = "https://internal.invalid" if self.wrong_host_links else ""
                body["next"] = f"{host}/consoles?page={start // self.page_size + 1}"
        self._pages += 1
        if self.expire_at_page == self._pages:
            self.token += " anew"
        return Answer(200, body, headers)
