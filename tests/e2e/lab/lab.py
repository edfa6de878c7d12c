"""A Lab holds everything that one test starts, and ends it in reverse order."""

import subprocess
from pathlib import Path

from common.process import LabError, Process

from .client import Client
from .kerbside import Kerbside, source
from .linux import LinuxGuest
from .net import CutOff
from .qemu import Qemu
from .recorder import Recorder
from .spice_server import SpiceServer
from .viewer import RemoteViewer, Xvfb
from .xspice import Registered, Xspice

SUBJECT = "C=AU,O=Lab,OU=Hypervisors,CN=hypervisor.lab"


class Lab:
    def __init__(self, scratch: Path):
        self.scratch = scratch
        self._held = []
        self._counts: dict[str, int] = {}
        self._authority = None
        self._of_others = list(Process.running)  # of a lab that outlives this one

    def _folder(self, kind: str) -> Path:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self.scratch / f"{kind}-{self._counts[kind]}"

    def _keep(self, thing):
        self._held.append(thing)
        return thing

    def stop(self):
        """Ends everything; the first problem of ending is told after all has ended."""
        problems = []
        while self._held:
            thing = self._held.pop()
            try:
                thing.stop()
            except Exception as problem:  # whatever it is, the rest must end too
                problems.append(problem)
        for left in list(Process.running):  # of an object whose start failed half-way
            if left not in self._of_others:
                left.kill()
        if problems:
            raise problems[0]

    # ---- hypervisors ----

    @property
    def authority(self):
        """The CA of this lab's hypervisors."""
        from common.pki import Authority  # only where certificates are wanted: the demo has none

        if self._authority is None:
            self._authority = Authority()
        return self._authority

    def x509(self, subject: str = SUBJECT, **more) -> dict:
        """Certificates for a hypervisor, as Qemu and SpiceServer take them."""
        folder = self.authority.x509_dir(self._folder("x509"), subject, **more)
        return {"x509_dir": folder, "ca_pem": self.authority.pem, "subject": subject}

    def qemu(self, **options) -> Qemu:
        if options.get("tls") and "x509_dir" not in options:
            options.update(self.x509())
        return self._keep(Qemu(self._folder("qemu"), **options))

    def linux(self) -> LinuxGuest:
        return self._keep(LinuxGuest(self._folder("linux")))

    def spice_server(self, **options) -> SpiceServer:
        if options.get("tls") and "x509_dir" not in options:
            options.update(self.x509())
        return self._keep(SpiceServer(self._folder("spice_server"), **options))

    def recorded(self, hypervisor, folder: Path, name: str):
        """The hypervisor, reached through a recorder from now on."""
        tape = self._keep(Recorder(folder, name, hypervisor.endpoint.port))
        hypervisor.endpoint.port = tape.port
        hypervisor.tape = tape
        return hypervisor

    def xspice(self) -> Xspice:
        return self._keep(Xspice(self._folder("xspice")))

    def registered_xspice(self, kerbside: Kerbside, source: str, name: str) -> Registered:
        """One that announces itself."""
        return self._keep(Registered(self._folder("registered"), kerbside, source, name))

    # ---- kerbside ----

    def kerbside(self, *hypervisors, consoles=None, settings=None, enter=(), host="127.0.0.1",
                 port=None, **source_options) -> Kerbside:
        """A kerbside with one source, `lab`, that lists the hypervisors' consoles."""
        if consoles is None:
            consoles = [h.endpoint.console() for h in hypervisors]
        if "ca_cert" not in source_options and any("secure_port" in c for c in consoles):
            source_options["ca_cert"] = self.authority.pem
        return self._keep(Kerbside(self._folder("kerbside"),
                                   [source("lab", consoles, **source_options)],
                                   settings=settings, enter=enter, host=host, port=port))

    def kerbside_of(self, sources: list[dict], settings=None) -> Kerbside:
        """A kerbside with these sources, whatever they are; names of this machine go past proxies."""
        return self._keep(Kerbside(self._folder("kerbside"), sources, settings=settings,
                                   environment={"NO_PROXY": "localhost,127.0.0.1"}))

    # ---- clients ----

    def client(self, **options) -> Client:
        return self._keep(Client(self._folder("client"), **options))

    def client_through(self, kerbside: Kerbside, uuid: str, grant=None, **options) -> Client:
        """A client with a fresh grant for the console."""
        vv = kerbside.vv("lab", uuid, **(grant or {}))
        return self.client(vv=vv, **options)

    def xvfb(self) -> Xvfb:
        return self._keep(Xvfb(self._folder("xvfb")))

    def viewer(self, vv: Path, xvfb: Xvfb | None = None, arguments=()) -> RemoteViewer:
        xvfb = xvfb or self.xvfb()
        return self._keep(RemoteViewer(self._folder("viewer"), vv, xvfb=xvfb,
                                       arguments=arguments))

    def smartcard(self) -> Path:
        """An NSS database with the three certificates of a software card."""
        folder = self._folder("nss")
        folder.mkdir()
        noise = folder / "noise"
        noise.write_bytes(b"not a secret: keys of a card that exists for one test" * 2)
        commands = [["certutil", "-N", "-d", f"sql:{folder}", "--empty-password"]]
        commands += [
            ["certutil", "-S", "-d", f"sql:{folder}", "-s", f"CN={name}", "-n", name, "-x", "-t",
             "CTu,CTu,CTu", "-z", str(noise), "-k", "rsa", "-g", "2048"]
            for name in ("identity", "signing", "encryption")
        ]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise LabError(f"{' '.join(command)}: {done.stderr}")
        return folder

    # ---- the network ----

    def cut_off(self) -> CutOff:
        folder = self._folder("namespaces")
        folder.mkdir()
        return self._keep(CutOff(folder))
