"""A Linux guest with a desktop, without a disk image: Debian's kernel, and an initramfs that is
made here, of programs of this machine and the libraries that they need. So what runs in it are
Debian's own spice-vdagent and spice-webdavd, of the versions that are installed."""

import base64
import re
import shutil
import socket
import stat
import subprocess
import threading
from pathlib import Path

from common.process import PATIENCE, LabError, wait_until

from .paths import Paths
from .qemu import Qemu

# What they need, modules.dep says.
MODULES = ("virtio_pci", "virtio_console")
PROGRAMS = ("Xvfb", "xkbcomp", "xsetroot", "xclip", "curl", "spice-vdagent", "spice-vdagentd",
            "spice-webdavd", "dbus-daemon", "avahi-daemon")
FOLDERS = (Path("/usr/share/X11/xkb"),)
BUS = b"""<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
<policy context="default"><allow send_destination="*"/><allow own="*"/><allow user="*"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/>
<allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>"""
BUSYBOX = Path("/bin/busybox")
# A booted kernel, an X server and the agent, on an emulated CPU.
BOOT_PATIENCE = 4 * PATIENCE


def newest_kernel() -> tuple[Path, Path]:
    """A kernel of Debian's and the folder of its modules."""
    for image in sorted(Path("/boot").glob("vmlinuz-*-amd64"), reverse=True):
        modules = Path("/lib/modules") / image.name.removeprefix("vmlinuz-")
        if (modules / "modules.dep").exists():
            return image, modules
    raise LabError("no kernel in /boot with modules: tools/setup test installs one")


def modules_in_order(folder: Path) -> list[Path]:
    """The modules and what they need, each after what it needs."""
    def name(path: str) -> str:
        return Path(path).name.removesuffix(".ko").replace("-", "_")

    lines = (folder / "modules.dep").read_text().splitlines()
    needs = {name(path): (path, others.split())
             for path, _, others in (line.partition(":") for line in lines)}
    builtin = {name(line) for line in (folder / "modules.builtin").read_text().split()}
    order = []
    for path, others in (needs[module] for module in MODULES if module not in builtin):
        order += [folder / one for one in [*reversed(others), path] if folder / one not in order]
    return order


def with_libraries(programs: list[Path]) -> list[Path]:
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    return programs + sorted(map(Path, set(re.findall(r"(?:^\s|=> )(/\S+)", said, re.MULTILINE))))


def files_of_the_guest(modules: list[Path]) -> dict[str, tuple[int, bytes]]:
    """Mode and content by path; folders are made as they are needed."""
    program, text = stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
    found = [shutil.which(name, path="/usr/bin:/usr/sbin") for name in PROGRAMS]
    if None in found or not BUSYBOX.exists():
        raise LabError(f"programs of the guest are missing: {dict(zip(PROGRAMS, found))}")
    files = {str(p): (program, p.read_bytes()) for p in [BUSYBOX, *with_libraries(
        [Path(name) for name in found])]}
    files |= {str(p): (text, p.read_bytes()) for folder in FOLDERS for p in folder.rglob("*")
              if p.is_file()}
    files |= {f"/modules/{m.name}": (text, m.read_bytes()) for m in modules}
    init = Paths.root / "tests/e2e/parts/linux/init"
    return files | {
        "/init": (program, init.read_bytes()),
        "/modules/order": (text, "".join(m.name + "\n" for m in modules).encode()),
        "/etc/passwd": (text, b"root:x:0:0::/root:/bin/sh\navahi:x:1:1::/:/bin/sh\n"),
        "/etc/group": (text, b"root:x:0:\navahi:x:1:\n"),
        "/etc/dbus.conf": (text, BUS),
        "/etc/hosts": (text, b"127.0.0.1 localhost\n"),
    }


def write_cpio(path: Path, files: dict[str, tuple[int, bytes]]):
    """An archive as kernels unpack it ("newc", Documentation/driver-api/early-userspace). Not
    compressed: to unpack it would take an emulated CPU longer than to read it."""
    folders = {str(parent): (stat.S_IFDIR | 0o755, b"") for name in files
               for parent in Path(name).parents if str(parent) != "/"}
    entries = [*sorted(folders.items()), *files.items(), ("/TRAILER!!!", (0, b""))]
    with open(path, "wb") as out:
        for inode, (name, (mode, content)) in enumerate(entries, 1):
            text = name[1:].encode() + b"\0"
            fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(text), 0)
            head = b"070701" + b"".join(b"%08X" % field for field in fields) + text
            out.write(head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4))


class LinuxGuest(Qemu):
    """The guest; `run` runs a script in it. Its agent and its shared folder are there when the
    constructor is done."""

    FOLDER_URL = "http://127.0.0.1:9843"

    def __init__(self, scratch: Path, **options):
        scratch.mkdir(parents=True, exist_ok=True)
        kernel, modules = newest_kernel()
        self._console = scratch / "console.log"
        shell = scratch / "shell.sock"
        archive = scratch / "initramfs"
        write_cpio(archive, files_of_the_guest(modules_in_order(modules)))
        self._lock = threading.Lock()
        self._shell = None
        super().__init__(scratch, agent=True, webdav=True, boot=[
            "-m", "768", "-kernel", kernel, "-initrd", archive, "-no-reboot",
            "-append", "console=ttyS0 quiet panic=-1",
            "-serial", f"file:{self._console}",
            "-chardev", f"socket,id=shell0,path={shell},server=on,wait=off", "-device",
            "virtserialport,bus=ports.0,chardev=shell0,name=org.kerbside.shell"], **options)
        self._shell = socket.socket(socket.AF_UNIX)
        self._shell.settimeout(BOOT_PATIENCE)
        self._shell.connect(str(shell))
        self._answers = self._shell.makefile("rb")
        if self._line() != "ready":
            raise LabError(f"the guest did not start\n{self.log()}")
        wait_until(lambda: self.run("pidof spice-vdagent", check=False), "the guest's agent",
                   explain=self.log)

    def log(self) -> str:
        console = self._console.read_text(errors="replace") if self._console.exists() else ""
        return console + self.process.log()

    def _line(self) -> str:
        try:
            line = self._answers.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise LabError(f"the guest does not answer\n{self.log()}")
        return line.decode().strip()

    def run(self, script: str, check=True) -> str:
        """What the script printed, errors too. check: it must end well."""
        with self._lock:
            self._shell.sendall(base64.b64encode(script.encode()) + b"\n")
            status, size = map(int, self._line().split())
            text = self._answers.read(size).decode(errors="replace")
        if check and status:
            raise LabError(f"{script}: {status}\n{text}")
        return text

    def desktop_log(self) -> str:
        return self.run("cat /run/log")

    def stop(self):
        if self._shell:
            self._answers.close()
            self._shell.close()
        super().stop()
