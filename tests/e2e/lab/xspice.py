"""Xspice: an X server whose screen is a SPICE display; a second real server.

The Xspice command only turns its options into the environment of Xorg, does not end its child and
hangs after a client left: Xorg is started here the way it does it, without it.
"""

import os
import signal
import subprocess
from pathlib import Path

from common.process import LabError, Process, wait_until

from .hypervisor import Endpoint
from .net import Port
from .paths import Paths

# The shipped configuration makes it abort: the buffers must have explicit sizes, the commands'
# larger than the frame's.
CONFIGURATION = """\
Section "Device"
    Identifier "XSPICE"
    Driver "spiceqxl"
    Option "SurfaceBufferSize" "128"
    Option "CommandBufferSize" "224"
    Option "FrameBufferSize" "32"
    Option "NumHeads" "1"
EndSection
Section "InputDevice"
    Identifier "XSPICE POINTER"
    Driver "xspice pointer"
EndSection
Section "InputDevice"
    Identifier "XSPICE KEYBOARD"
    Driver "xspice keyboard"
EndSection
Section "Monitor"
    Identifier "Configured Monitor"
    HorizSync 10-200
    VertRefresh 30-150
EndSection
Section "Screen"
    Identifier "XSPICE Screen"
    Monitor "Configured Monitor"
    Device "XSPICE"
    DefaultDepth 24
    SubSection "Display"
        Depth 24
        Modes "1024x768"
    EndSubSection
EndSection
Section "ServerLayout"
    Identifier "XSPICE"
    Screen "XSPICE Screen"
    InputDevice "XSPICE KEYBOARD"
    InputDevice "XSPICE POINTER"
EndSection
Section "ServerFlags"
    Option "AutoAddDevices" "False"
EndSection
"""


class Xspice:
    """Shows the root window in one colour."""

    COLOUR = 0x336699

    def __init__(self, scratch: Path, *, ticket="sesame"):
        scratch.mkdir(parents=True, exist_ok=True)
        self._port = Port()
        self.endpoint = Endpoint(name="xspice", port=self._port.number, ticket=ticket)
        configuration = scratch / "xspice.conf"
        configuration.write_text(CONFIGURATION)
        read_end, write_end = os.pipe()
        self.process = Process(
            ["/usr/lib/xorg/Xorg", "-config", configuration, "-noreset", "-nolisten", "tcp",
             "-logfile", scratch / "xorg.log", "-displayfd", write_end],
            log=scratch / "xspice.log", pass_fds=(write_end,),
            env={"XSPICE_PORT": self._port.number, "XSPICE_PASSWORD": ticket,
                 "XSPICE_ADDR": "127.0.0.1", "QXL_NUM_HEADS": 1},
        )
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise LabError(f"Xorg did not start\n{self.process.log()}")
        self.display = f":{number}"
        wait_until(self._paint, "Xspice's screen", explain=self.process.log)

    def _paint(self) -> bool:
        if not self.process.alive:
            raise LabError(f"Xorg ended\n{self.process.log()}")
        return paint(self.display, self.COLOUR)

    def stop(self):
        self.process.stop()
        self._port.release()


def paint(display: str, colour: int) -> bool:
    """The screen is up when it takes a colour; its SPICE server was there before it."""
    done = subprocess.run(["xsetroot", "-display", display, "-solid", f"#{colour:06x}"],
                          capture_output=True)
    return done.returncode == 0


class Registered:
    """`kerbside register` with Debian's own Xspice command, of which it alone knows the ticket."""

    COLOUR = 0x993366

    def __init__(self, scratch: Path, kerbside, source: str, name: str):
        scratch.mkdir(parents=True, exist_ok=True)
        self._port = Port()
        # Numbers of displays have no register; this one's twin is ours.
        self.display = f":{self._port.number}"
        configuration = scratch / "xspice.conf"
        configuration.write_text(CONFIGURATION)
        wish = {"name": name, "role": "agent", "sources": [source], "consoles": [name]}
        key = scratch / "agent.key"
        key.write_text(kerbside.ask("POST", "/api/v1/apikeys", wish)["key"])
        self.process = Process(
            [Paths.kerbside, "register", "--url", f"https://{kerbside.host}:{kerbside.port}",
             "--cacert", kerbside.state_dir / "ca.pem", "--key-file", key, "--source", source,
             "--name", name, "--port", self._port.number, "--lease", "5s",
             "--ticket-env", "XSPICE_PASSWORD", "--", "Xspice", "--config", configuration,
             "--port", self._port.number, "-noreset", "-nolisten", "tcp",
             "-logfile", scratch / "xorg.log", self.display],
            log=scratch / "agent.log", env={"XSPICE_ADDR": "127.0.0.1"})
        wait_until(self._paint, "Xspice's screen", explain=self.process.log)

    def _paint(self) -> bool:
        if not self.process.alive:
            raise LabError(f"the agent ended\n{self.process.log()}")
        return paint(self.display, self.COLOUR)

    def end(self) -> int:
        """As a service manager does; the exit status."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait()

    def stop(self):
        if self.process.alive:
            self.end()
        self.process.stop()
        self._port.release()
