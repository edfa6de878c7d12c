"""libspice-server with fake devices behind it (parts/server)."""

from pathlib import Path

from .hypervisor import Endpoint
from .json_process import JsonProcess
from .net import Port
from .paths import Paths


class SpiceServer(JsonProcess):
    def __init__(self, scratch: Path, *, name="server", plain=True, tls=False, unix=False,
                 ticket="sesame", x509_dir=None, ca_pem=None, subject=None, secure_channels=(),
                 displays=1, count=1, fps=0, playback=False, record=False, agent=False,
                 smartcard=False, webdav=False, echo_ports=(), compression=None, enter=(),
                 size=(640, 480), address="127.0.0.1", streams=False, cached=False):
        scratch.mkdir(parents=True, exist_ok=True)
        self._held: list[Port] = []
        self.endpoints = [
            Endpoint(name=f"{name}-{i}" if count > 1 else name, host=address, ticket=ticket,
                     ca_pem=ca_pem, subject=subject)
            for i in range(count)
        ]
        args = [Paths.part("spice_server"), "--displays", displays, "--count", count, "--fps", fps,
                "--width", size[0], "--height", size[1]]
        if unix:
            path = scratch / "spice.sock"
            args += ["--unix", "--address", path]
            self.endpoint.unix_socket = str(path)
        else:
            args += ["--address", address]
        if plain and not unix:
            first = self._ports(count)
            args += ["--port", first]
            for i, endpoint in enumerate(self.endpoints):
                endpoint.port = first + i
        if tls:
            first = self._ports(count)
            args += ["--tls-port", first, "--x509-dir", x509_dir]
            for i, endpoint in enumerate(self.endpoints):
                endpoint.tls_port = first + i
        if ticket is not None:
            args += ["--password", ticket]
        if compression is not None:
            args += ["--compression", compression]
        for flag, wanted in {"--playback": playback, "--record": record, "--agent": agent,
                             "--smartcard": smartcard, "--webdav": webdav, "--streams": streams,
                             "--cached": cached}.items():
            args += [flag] if wanted else []
        for channel in secure_channels:
            args += ["--secure", channel]
        for port in echo_ports:
            args += ["--echo-port", port]
        super().__init__(args, log=scratch / "spice_server.log", enter=enter)
        self.wait_event("ready")

    def _ports(self, count: int) -> int:
        ports = Port.consecutive(count)
        self._held += ports
        return ports[0].number

    @property
    def endpoint(self) -> Endpoint:
        return self.endpoints[0]

    def stats(self, server: int = 0) -> dict:
        since = self.position()
        self.send("stats")
        return self.wait_event("stats", since=since)["servers"][server]

    def set_ticket(self, password: str, seconds: int, server: int = 0):
        """The one password of it from now on, for so long; who is connected stays so."""
        since = self.position()
        self.send(f"ticket {server} {seconds} {password}")
        self.wait_event("ticket", since=since, server=server)

    def say(self, kind: int, body: bytes, server: int = 0):
        """Makes the guest's agent send a message (vd_agent.h)."""
        self.send(f"agent {server} {kind} {body.hex()}")

    def heard(self, kind: int, since: int = 0) -> list[bytes]:
        """The bodies of the messages of that type that the agent got (up to 512 bytes each)."""
        return [bytes.fromhex(e["body"])
                for e in self.find_all("agent_message", type=kind, since=since)]

    def webdav_get(self, path: str, server: int = 0) -> dict:
        """path: of a GET; or "METHOD /path", which has a body of five bytes."""
        since = self.position()
        self.send(f"webdav {server} {path}")
        return self.wait_event("webdav", since=since, server=server)

    def kill(self):
        super().kill()
        for port in self._held:
            port.release()
