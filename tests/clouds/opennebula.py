"""A stand-in for OpenNebula's front-end, written from its XML-RPC API reference: the pool of virtual
machines with graphics, history and a static password."""

import xml.sax.saxutils
import xmlrpc.client

from .machine import Machine, Machines
from .server import Answer, Request, Service

AUTHENTICATION, AUTHORIZATION, NO_EXISTS = 0x0100, 0x0200, 0x0400
XML_RPC, INTERNAL = 0x1000, 0x2000
ACTIVE, POWEROFF, DONE = 3, 8, 6
RUNNING, LCM_INIT = 3, 0
# What an XML document can hold and what it cannot: names with control characters arrive without.
_NOT_XML = dict.fromkeys((*range(0, 9), 11, 12, *range(14, 32), *range(0xD800, 0xE000)))


def cdata(text: str) -> str:
    text = str(text).translate(_NOT_XML).replace("]]>", "]]]]><![CDATA[>")
    return f"<![CDATA[{text}]]>"


class OpenNebula(Machines, Service):
    """Switches: `type_text` (how GRAPHICS/TYPE is written), `host_names` (node: what HISTORY says),
    `no_history` (uuids that were never placed), `entities` (characters as XML entities where there is no CDATA), `fault_code` (an XML-RPC fault
    in place of an answer), `expire_at_page`,
    `alter_vm` (changes the XML of each machine: a function of it), `shift_at_page` (before this page
    is answered the first machine goes)."""

    def __init__(self, tls, user="oneadmin", password="opennebula"):
        self.machines_init()
        self.users = {user: password}
        self.type_text = "SPICE"
        self.host_names: dict[str, str] = {}
        self.no_history: set[str] = set()
        self.entities = False
        self.fault_code: int | None = None
        self.expire_at_page = self.shift_at_page = 0
        self.alter_vm = lambda text: text
        self.calls: list[tuple[str, tuple]] = []
        self._next_id = 0
        self._pages = 0
        super().__init__(tls)

    def instance(self, name: str, owner="alice", group="users", **more) -> Machine:
        machine = self.add(name, more={"id": self._next_id, "owner": owner, "group": group,
                                       **more.pop("more", {})}, **more)
        self._next_id += 1
        return machine

    def fill(self, count: int, name="vm", **more):
        for i in range(count):
            self.instance(f"{name}-{i:05d}", **more)

    def fault(self, status: int, message: str) -> Answer:
        return Answer(status, f"<html>{message}</html>".encode(), {"Content-Type": "text/html"})

    def handle(self, request: Request) -> Answer:
        if request.path != "/RPC2":
            return Answer(404, b"")
        if request.method != "POST":
            return Answer(405, b"")
        if not request.headers.get("content-type", "").startswith("text/xml"):
            return Answer(400, b"Wrong content type")
        try:
            params, method = xmlrpc.client.loads(request.body)
        except Exception:
            return self._xml(xmlrpc.client.Fault(-503, "Call XML not a proper XML-RPC call."))
        self.calls.append((method, params))
        if self.fault_code is not None:
            return self._xml(xmlrpc.client.Fault(self.fault_code, "the fault was asked for"))
        session, *rest = params
        name, _, password = session.partition(":")
        if self.users.get(name) != password:
            return self._reply(False, f"[{method}] User couldn't be authenticated, aborting call.",
                               AUTHENTICATION)
        match method, rest:
            case "one.system.version", []:
                return self._reply(True, "6.8.0", 0)
            case "one.vmpool.info", [int(whose), int(start), int(end), int(state)]:
                return self._pool(name, whose, start, end, state)
            case "one.vmpool.infoextended", [int(whose), int(start), int(end), int(state), str(_)]:
                return self._pool(name, whose, start, end, state)
            case "one.vm.info", [int(vm)] | [int(vm), bool(_)]:
                return self._one(vm)
        return self._xml(xmlrpc.client.Fault(-506, f"Method '{method}' not defined"))

    def _xml(self, value) -> Answer:
        text = xmlrpc.client.dumps(value if isinstance(value, xmlrpc.client.Fault) else (value,),
                                   methodresponse=True)
        return Answer(200, b'<?xml version="1.0" encoding="UTF-8"?>\r\n' + text.split(
            "?>", 1)[1].lstrip().encode(), {"Content-Type": "text/xml; charset=utf-8"})

    def _reply(self, good: bool, text, code: int) -> Answer:
        return self._xml([good, text, code] + ([-1] if not good else []))

    def _text(self, text) -> str:
        return xml.sax.saxutils.escape(str(text).translate(_NOT_XML)) if self.entities else cdata(text)

    def _view(self, machine: Machine) -> str:
        state, lcm = (ACTIVE, RUNNING) if machine.running else (POWEROFF, LCM_INIT)
        lcm = machine.more.get("lcm", lcm)
        graphics = ""
        if machine.spice:
            fields = {"LISTEN": "0.0.0.0", "PORT": machine.port, "TYPE": self.type_text,
                      "PASSWD": machine.ticket, **machine.more.get("graphics", {})}
            graphics = "<GRAPHICS>" + "".join(f"<{k}>{self._text(v)}</{k}>"
                                              for k, v in fields.items()
                                              if v is not None) + "</GRAPHICS>"
        history = ""
        if machine.uuid not in self.no_history:
            host = self.host_names.get(machine.node, machine.address)
            history = (f"<HISTORY><OID>{machine.more['id']}</OID><SEQ>0</SEQ>"
                       f"<HOSTNAME>{self._text(host)}</HOSTNAME><HID>1</HID><CID>0</CID>"
                       "<STIME>1700000000</STIME><ETIME>0</ETIME></HISTORY>")
        return self.alter_vm(
                f"<VM><ID>{machine.more['id']}</ID><UID>2</UID><GID>1</GID>"
                f"<UNAME>{self._text(machine.more['owner'])}</UNAME>"
                f"<GNAME>{self._text(machine.more['group'])}</GNAME>"
                f"<NAME>{self._text(machine.name)}</NAME>"
                f"<LAST_POLL>0</LAST_POLL><STATE>{state}</STATE><LCM_STATE>{lcm}</LCM_STATE>"
                f"<RESCHED>0</RESCHED><DEPLOY_ID>{machine.uuid}</DEPLOY_ID>"
                f"<TEMPLATE><CPU>{self._text(1)}</CPU>{graphics}<MEMORY>{self._text(1024)}</MEMORY>"
                f"<VMID>{self._text(machine.more['id'])}</VMID></TEMPLATE><USER_TEMPLATE/>"
                f"<HISTORY_RECORDS>{history}</HISTORY_RECORDS></VM>")

    def _pool(self, name: str, whose: int, start: int, end: int, state: int) -> Answer:
        if whose < -4:
            return self._reply(False, "[one.vmpool.info] Incorrect filter_flag", XML_RPC)
        self._pages += 1
        if self.shift_at_page == self._pages:
            self.vanish(next(iter(self.machines.values())))
        found = list(self.machines.values())
        if whose in (-1, -3):
            found = [m for m in found if m.more["owner"] == name]
        if state >= 0:
            found = [m for m in found if (ACTIVE if m.running else POWEROFF) == state]
        # An end below -1 is the size of a page from the offset start; else both are ids.
        if start >= 0 and end < -1:
            found = found[start:start - end]
        elif start >= 0:
            found = [m for m in found if m.more["id"] >= start
                     and (end < 0 or m.more["id"] <= end)]
        if self.expire_at_page == self._pages:
            self.users = {user: password + " anew" for user, password in self.users.items()}
        return self._reply(True, f"<VM_POOL>{''.join(map(self._view, found))}</VM_POOL>", 0)

    def _one(self, vm: int) -> Answer:
        for machine in list(self.machines.values()):
            if machine.more["id"] == vm:
                return self._reply(True, self._view(machine), 0)
        return self._reply(False, f"[one.vm.info] Error getting virtual machine [{vm}].", NO_EXISTS)
