"""QEMU with the boot-sector guest, SPICE in every form, and QMP."""

import json
import signal
import socket
import threading
from pathlib import Path

from common.process import PATIENCE, LabError, Process, wait_until

from .hypervisor import Endpoint
from .image import Image
from .net import Port
from .paths import Paths

# Colours of the guest's box (guest.c) before and after an odd number of keys, and of its desktop.
# The box is what the guest draws last, and its lower right pixel the last of it.
BOX_A, BOX_B, DESKTOP = 0x00A040, 0xC03020, 0x203060
BOX_PIXEL = (699, 229)


class Qmp:
    """QEMU's monitor: commands, and events that came between."""

    def __init__(self, path: Path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw")
        self._lock = threading.Lock()
        self.events: list[dict] = []
        json.loads(self._file.readline())
        self.run("qmp_capabilities")

    def run(self, command: str, **arguments):
        with self._lock:
            self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self._file.flush()
            while True:
                line = self._file.readline()
                if not line:
                    raise LabError(f"QEMU closed its monitor during {command}")
                reply = json.loads(line)
                if "return" in reply:
                    return reply["return"]
                if "error" in reply:
                    raise LabError(f"{command}: {reply['error']['desc']}")
                self.events.append(reply)

    def event(self, name: str) -> dict | None:
        """The first such event so far. Asks QEMU something, so that what waits is read."""
        self.run("query-status")
        return next((e for e in self.events if e["event"] == name), None)

    def close(self):
        self._socket.close()


class Qemu:
    """A guest on loopback.

    plain, tls: which ports there are; ticket None switches ticketing off; unix listens on a
    socket instead. secure_channels may only be reached by TLS. Devices: displays (qxl), audio
    ("tone" beeps for ever), usb (redirection slots), smartcard, serial (a spiceport on COM1),
    webdav and agent (channels whose guest side stays silent). boot: QEMU's arguments for another
    guest than ours, in whose stead nothing is waited for.
    """

    def __init__(self, scratch: Path, *, name="desktop", plain=True, tls=False, ticket="sesame",
                 unix=False, x509_dir=None, ca_pem=None, subject=None, secure_channels=(),
                 displays=1, audio=None, usb=0, smartcard=False, serial=False, webdav=False,
                 agent=False, incoming=False, seamless=True, image="guest.img", boot=None, enter=(),
                 host="127.0.0.1"):
        self.scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._ports = []
        self.endpoint = Endpoint(name=name, host=host, ticket=ticket, ca_pem=ca_pem,
                                 subject=subject)
        self._qmp_path = scratch / "qmp.sock"
        image = "guest-tone.img" if audio == "tone" else image

        args = ["qemu-system-x86_64", "-name", name, "-accel", "tcg", "-nodefaults",
                "-machine", "pc,pcspk-audiodev=sound" if audio else "pc", "-display", "none",
                "-qmp", f"unix:{self._qmp_path},server=on,wait=off"]
        args += self._spice_args(plain, tls, ticket, unix, x509_dir, secure_channels, seamless)
        # A later card would hear of the viewer's size itself, for its driver; an agent is only told
        # where the card cannot be.
        args += ["-device", "qxl-vga,id=video0,ram_size_mb=16,vram_size_mb=8,vgamem_mb=8"
                            + (",revision=3" if boot else "")]
        for i in range(1, displays):
            args += ["-device",
                     f"qxl,id=video{i},ram_size_mb=16,vram_size_mb=8,vgamem_mb=8"]
        if audio:
            args += ["-audiodev", "spice,id=sound", "-device", "ich9-intel-hda",
                     "-device", "hda-duplex,audiodev=sound"]
        if usb:
            args += ["-device", "ich9-usb-ehci1,id=usb"]
        for i in range(usb):
            args += ["-chardev", f"spicevmc,name=usbredir,id=redir{i}",
                     "-device", f"usb-redir,chardev=redir{i},id=redirected{i},bus=usb.0"]
        if smartcard:
            args += ["-device", "piix3-usb-uhci,id=uhci", "-device", "usb-ccid,id=ccid,bus=uhci.0",
                     "-chardev", "spicevmc,name=smartcard,id=card",
                     "-device", "ccid-card-passthru,chardev=card,bus=ccid.0"]
        if serial:
            args += ["-chardev", "spiceport,id=serial0,name=org.qemu.console.serial.0",
                     "-serial", "chardev:serial0"]
        if webdav or agent:
            args += ["-device", "virtio-serial-pci,id=ports"]
        if webdav:
            args += ["-chardev", "spiceport,id=webdav0,name=org.spice-space.webdav.0", "-device",
                     "virtserialport,bus=ports.0,chardev=webdav0,name=org.spice-space.webdav.0"]
        if agent:
            args += ["-chardev", "spicevmc,id=agent0,name=vdagent", "-device",
                     "virtserialport,bus=ports.0,chardev=agent0,name=com.redhat.spice.0"]
        if incoming:
            args += ["-incoming", "defer"]
        if boot is None:
            args += ["-m", "32", "-boot", "a", "-drive",
                     f"file={Paths.part(image)},format=raw,if=floppy,readonly=on"]
        else:
            args += boot

        self.process = Process(args, log=scratch / "qemu.log", enter=enter)
        self.qmp = self._connect_qmp()
        if not incoming and boot is None:
            self.wait_drawn()

    def _spice_args(self, plain, tls, ticket, unix, x509_dir, secure_channels, seamless):
        spice = ["seamless-migration=" + ("on" if seamless else "off")]
        args = []
        if unix:
            path = self.scratch / "spice.sock"
            self.endpoint.unix_socket = str(path)
            spice += [f"addr={path}", "unix=on"]
        else:
            spice += [f"addr={self.endpoint.host}"]
        if plain and not unix:
            self._ports.append(Port())
            self.endpoint.port = self._ports[-1].number
            spice += [f"port={self.endpoint.port}"]
        if tls:
            self._ports.append(Port())
            self.endpoint.tls_port = self._ports[-1].number
            spice += [f"tls-port={self.endpoint.tls_port}", f"x509-dir={x509_dir}"]
        if ticket is None:
            spice += ["disable-ticketing=on"]
        else:
            args += ["-object", f"secret,id=ticket,data={ticket}"]
            spice += ["password-secret=ticket"]
        spice += [f"tls-channel={c}" for c in secure_channels]
        return [*args, "-spice", ",".join(spice)]

    def _connect_qmp(self) -> Qmp:
        def connect():
            if not self.process.alive:
                raise LabError(f"QEMU did not start\n{self.process.log()}")
            try:
                return Qmp(self._qmp_path)
            except (FileNotFoundError, ConnectionRefusedError):
                return None

        return wait_until(connect, "QEMU's monitor", explain=self.process.log)

    def screen(self) -> Image:
        """What QEMU itself says is on the first display: the truth to compare with."""
        path = self.scratch / "screendump.ppm"
        self.qmp.run("screendump", filename=str(path))
        return Image.load(path)

    def wait_drawn(self, box: int = BOX_A) -> Image:
        """Waits until the guest's box has that colour, and gives the screen."""

        def drawn():
            image = self.screen()
            right_size = (image.width, image.height) == (800, 600)
            return image if right_size and image.pixel(*BOX_PIXEL) == box else None

        return wait_until(drawn, "the guest's picture", explain=self.process.log)

    def info(self, what: str) -> str:
        """A line of the human monitor, for what QMP does not tell."""
        return self.qmp.run("human-monitor-command", **{"command-line": f"info {what}"})

    def channels(self) -> list[dict]:
        """The SPICE channels that are connected, as QEMU sees them."""
        return self.qmp.run("query-spice").get("channels", [])

    def stall(self):
        self.process.signal(signal.SIGSTOP)

    def go_on(self):
        self.process.signal(signal.SIGCONT)

    def kill(self):
        self.qmp.close()
        self.process.kill()

    def stop(self):
        self.qmp.close()
        self.process.stop()
        for port in self._ports:
            port.release()
