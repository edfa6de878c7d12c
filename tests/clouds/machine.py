"""A virtual machine with a SPICE server behind it, as the stand-ins of clouds know it. Each cloud's
stand-in turns it into that cloud's own words."""

import itertools
import uuid
from dataclasses import dataclass, field

_numbers = itertools.count(1)


def new_uuid(prefix=0) -> str:
    """A uuid that nothing else in this process has."""
    return str(uuid.UUID(int=prefix << 64 | 0x4000_8000_0000_0000_0000 | next(_numbers)))


@dataclass
class Machine:
    """`port` and `tls_port` are those of a real SPICE server at `address`, or None. `set_ticket`
    is what the hypervisor does when the cloud sets a password that is good for so many seconds:
    set_ticket(password, seconds)."""

    name: str
    uuid: str = field(default_factory=new_uuid)
    node: str = "hv1"
    address: str = "127.0.0.1"
    port: int | None = None
    tls_port: int | None = None
    subject: str | None = None  # of the hypervisor's certificate
    ca: str | None = None  # PEM
    running: bool = True
    spice: bool = True
    set_ticket: object = None
    ticket: str | None = None  # a static one
    more: dict = field(default_factory=dict)  # what only one cloud has

    def mint(self, password: str, seconds: int):
        """The one password of the machine is this from now on; the one before is void."""
        self.ticket = password
        if self.set_ticket:
            self.set_ticket(password, seconds)


class Machines:
    """What all clouds can do with machines. The stand-ins inherit this beside Service."""

    def machines_init(self):
        self.machines: dict[str, Machine] = {}  # by uuid, in the order of the list

    def add(self, name: str, **more) -> Machine:
        machine = Machine(name, **more)
        self.machines[machine.uuid] = machine
        return machine

    def fill(self, count: int, name="vm", **more):
        """Very many."""
        for i in range(count):
            self.add(f"{name}-{i:05d}", **more)

    def vanish(self, machine: Machine):
        del self.machines[machine.uuid]

    def migrate(self, machine: Machine, node: str, **place):
        """To another hypervisor; place: address, port, tls_port, subject."""
        machine.node = node
        for key, value in place.items():
            setattr(machine, key, value)

    def empty(self):
        self.machines.clear()
