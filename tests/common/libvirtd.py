"""A real libvirtd with real QEMU guests, all of its own: sockets, folders, processes.

It is libvirt's session daemon of a user without rights, so that it touches nothing of the machine's
own libvirt and several can run side by side; it runs in a process namespace of its own, so that its
guests, which outlive a libvirtd, end with it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid as uuid_module
from pathlib import Path

from .port import Port
from .process import LabError, Process, wait_until

NOBODY = 65534
OURS = "urn:kerbside:1"

DOMAIN = """
<domain type='qemu'>
 <name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
 <metadata>{metadata}</metadata>
 <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='fd'/></os>
 <features><acpi/></features>
 <devices>
  <emulator>/usr/bin/qemu-system-x86_64</emulator>
  {disk}
  <controller type='usb' model='none'/>
  {graphics}
  <video><model type='qxl' ram='16384' vram='8192' vgamem='8192'/></video>
  <memballoon model='none'/>
 </devices>
</domain>
"""


class Domain:
    """A guest that was started. Its ports are those of graphics; 0 for none."""

    def __init__(self, libvirtd, name: str, uuid: str, port: int, tls_port: int):
        self._libvirtd = libvirtd
        self.name, self.uuid = name, uuid
        self.port, self.tls_port = port, tls_port

    def virsh(self, command: str, *arguments) -> str:
        return self._libvirtd.virsh(command, self.uuid, *arguments)

    def destroy(self):
        self.virsh("destroy")


class Libvirtd:
    """x509: a folder as `Authority.x509_dir` makes it, for guests with TLS, and for libvirtd itself,
    which is then also at `tls_uri` for who has a certificate of that authority: `client_x509`, its
    files as two paths."""

    def __init__(self, log: Path, *, x509: Path | None = None, client_x509=None):
        # A socket's path must be short, and the folders of tests are not.
        self.folder = Path(tempfile.mkdtemp(prefix="kb-lv-"))
        self._log = log
        self._ports = [Port()]
        self.process = None
        for name in ("config/libvirt", "run", "cache", "data", "spice", "client"):
            (self.folder / name).mkdir(parents=True)
        qemu = ['security_driver = "none"', 'stdio_handler = "file"', "cgroup_controllers = []",
                "namespaces = []", "remember_owner = 0"]
        if x509:
            for file in x509.iterdir():
                shutil.copy(file, self.folder / "spice")
            qemu += ["spice_tls = 1", f'spice_tls_x509_cert_dir = "{self.folder}/spice"']
        (self.folder / "config/libvirt/qemu.conf").write_text("\n".join(qemu) + "\n")
        self._listen = bool(client_x509)
        daemon = ["listen_tcp = 0", f"listen_tls = {int(self._listen)}", 'auth_tls = "none"',
                  'listen_addr = "127.0.0.1"', f'tls_port = "{self._ports[0].number}"']
        if self._listen:
            daemon += [f'{key}_file = "{self.folder}/spice/{name}.pem"' for key, name in (
                ("ca", "ca-cert"), ("cert", "server-cert"), ("key", "server-key"))]
            files = [x509 / "ca-cert.pem", *client_x509]
            for file, name in zip(files, ("cacert", "clientcert", "clientkey"), strict=True):
                shutil.copy(file, self.folder / f"client/{name}.pem")
        (self.folder / "libvirtd.conf").write_text("\n".join(daemon) + "\n")
        if os.geteuid() == 0:
            for path in [self.folder, *self.folder.rglob("*")]:
                os.chown(path, NOBODY, NOBODY)
        self.socket = self.folder / "run/libvirt/libvirt-sock"
        self.uri = f"qemu+unix:///session?socket={self.socket}"
        self.tls_uri = (f"qemu+tls://localhost:{self._ports[0].number}/session"
                        f"?pkipath={self.folder}/client")
        try:
            self.start()
        except LabError:
            self.stop()
            raise

    def start(self):
        """As it was before, but for its guests, which ended with it."""
        space = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        space += ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                  "--pdeathsig=KILL"] if os.geteuid() == 0 else ["--user", "--map-current-user"]
        # The shell is there to bury guests: libvirtd waits until one that it killed is gone.
        command = [*space, "sh", "-c", '"$@" & wait $!', "sh", "libvirtd", "--config",
                   self.folder / "libvirtd.conf", "--pid-file", self.folder / "libvirtd.pid"]
        places = {"HOME": self.folder, "XDG_CONFIG_HOME": self.folder / "config",
                  "XDG_RUNTIME_DIR": self.folder / "run", "XDG_CACHE_HOME": self.folder / "cache",
                  "XDG_DATA_HOME": self.folder / "data"}
        self.process = Process(command + (["--listen"] if self._listen else []), log=self._log,
                               env=places, cwd=self.folder)
        wait_until(self._answers, "libvirtd answers", explain=self.process.log)

    def _answers(self) -> bool:
        if not self.process.alive:
            raise LabError(f"libvirtd ended\n{self.process.log()}")
        return self.socket.exists() and self._run("version").returncode == 0

    def _run(self, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run(["virsh", "-q", "-c", self.uri, *map(str, arguments)], text=True,
                              capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"})

    def virsh(self, *arguments) -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise LabError(f"virsh {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout.strip()

    # ---- guests ----

    def domain(self, name="desk", *, tls=False, ticket: str | None = "sesame",
               listen="address", image: Path | None = None, owner: str | None = None,
               address="127.0.0.1", kind="spice", uuid=None, more="") -> Domain:
        """Starts a guest; without an image it does not run, but its SPICE server does. tls: and
        nothing but TLS. listen: address, none or socket. more: in front of the graphics device."""
        uuid = uuid or str(uuid_module.uuid4())
        ports = [Port() if wanted else None for wanted in (listen == "address", tls)]
        self._ports += [port for port in ports if port]
        numbers = [port.number if port else 0 for port in ports]
        attributes = f"type='{kind}'"
        if listen == "address":
            # Always with a plain one, or libvirt takes one of its own.
            attributes += f" autoport='no' port='{numbers[0]}'"
            attributes += f" tlsPort='{numbers[1]}' defaultMode='secure'" if tls else ""
        attributes += f" passwd='{ticket}'" if ticket else ""
        inside = f"<listen type='{listen}'" + (
            f" address='{address}'/>" if listen == "address" else "/>")
        disk = ""
        if image:
            copy = self.folder / Path(image).name
            shutil.copy(image, copy)
            copy.chmod(0o644)
            disk = (f"<disk type='file' device='floppy'><driver name='qemu' type='raw'/>"
                    f"<source file='{copy}'/><target dev='fda'/><readonly/></disk>")
        metadata = f"<k:console xmlns:k='{OURS}' owner='{owner}'/>" if owner else ""
        path = self.folder / f"{uuid}.xml"
        path.write_text(DOMAIN.format(
            name=name, uuid=uuid, metadata=metadata, disk=disk,
            graphics=f"{more}<graphics {attributes}>{inside}</graphics>"))
        self.virsh("create", path, *([] if image else ["--paused"]))
        return Domain(self, name, uuid, *numbers)

    # ---- trouble ----

    def _daemon(self) -> int:
        """libvirtd's own process."""
        def down(pid):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in map(int, children):
                if Path(f"/proc/{child}/comm").read_text().strip() == "libvirtd":
                    return child
                if found := down(child):
                    return found
            return None

        return down(self.process.pid)

    @contextlib.contextmanager
    def frozen(self):
        """It is there, and does not answer. Its guests go on."""
        pid = self._daemon()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def end(self):
        """And with it all guests, which are gone when this returns."""
        self.process.stop()

    def stop(self):
        if self.process:
            self.end()
        for port in self._ports:
            port.release()
        shutil.rmtree(self.folder, ignore_errors=True)
