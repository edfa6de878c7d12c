"""What every SPICE server of the lab has in common: where it listens and how to log in."""

import uuid as uuid_module
from dataclasses import dataclass, field


@dataclass
class Endpoint:
    """How to reach a SPICE server directly, and what a static source says about it."""

    name: str
    host: str = "127.0.0.1"
    port: int | None = None
    tls_port: int | None = None
    unix_socket: str | None = None
    ticket: str | None = None
    ca_pem: str | None = None
    subject: str | None = None
    uuid: str = field(default_factory=lambda: str(uuid_module.uuid4()))

    def console(self, **changes) -> dict:
        """The console of a static source; a change to None takes the key away."""
        console = {
            "uuid": self.uuid,
            "name": self.name,
            "hypervisor": self.name,
            "hypervisor_ip": None if self.unix_socket else self.host,
            "unix_socket": self.unix_socket,
            "insecure_port": self.port,
            "secure_port": self.tls_port,
            "ticket": self.ticket,
            "host_subject": self.subject if self.tls_port else None,
        }
        console.update(changes)
        return {k: v for k, v in console.items() if v is not None}
