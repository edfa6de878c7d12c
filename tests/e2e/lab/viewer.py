"""Stock clients: remote-viewer on an X server without a screen, and spicy-screenshot."""

import os
import subprocess
from pathlib import Path

from common.process import PATIENCE, LabError, Process, wait_until

from .hypervisor import Endpoint
from .image import Image


class Xvfb:
    """An X server in memory; picks its own display number."""

    def __init__(self, scratch: Path, *, width=1024, height=768):
        scratch.mkdir(parents=True, exist_ok=True)
        read_end, write_end = os.pipe()
        self.process = Process(
            ["Xvfb", "-displayfd", write_end, "-screen", "0", f"{width}x{height}x24",
             "-nolisten", "tcp", "-noreset"],
            log=scratch / "xvfb.log", pass_fds=(write_end,),
        )
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise LabError(f"Xvfb did not start\n{self.process.log()}")
        self.display = f":{number}"

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env={**os.environ, "DISPLAY": self.display}, text=True,
                              capture_output=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def screenshot(self, path: Path) -> Image:
        self.run("import", "-silent", "-window", "root", "-depth", "8", f"ppm:{path}")
        return Image.load(path)

    def stop(self):
        self.process.stop()


class RemoteViewer:
    """remote-viewer with a .vv file. Errors leave it alive with a dialog: judge by the screen."""

    def __init__(self, scratch: Path, vv: Path, *, xvfb: Xvfb, arguments=()):
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch = scratch
        self.xvfb = xvfb
        home = scratch / "home"
        home.mkdir(exist_ok=True, mode=0o700)
        self.process = Process(
            ["remote-viewer", "--debug", *arguments, vv],
            log=scratch / "remote-viewer.log",
            env={"DISPLAY": xvfb.display, "HOME": home, "XDG_RUNTIME_DIR": home,
                 "NO_AT_BRIDGE": "1", "GSETTINGS_BACKEND": "memory", "GDK_BACKEND": "x11"},
        )

    def log(self) -> str:
        return self.process.log()

    def screenshot(self) -> Image:
        return self.xvfb.screenshot(self.scratch / "root.ppm")

    def wait_screen(self, predicate, what: str) -> Image:
        last = None

        def good():
            nonlocal last
            last = self.screenshot()
            return last if predicate(last) else None

        def explain():
            last.save_png(self.scratch / "screen.png")
            return f"see {self.scratch}/screen.png\n{self.log()[-3000:]}"

        return wait_until(good, what, explain=explain)

    def _window(self) -> str:
        """The desktop's window: the title ends with the number of the display."""
        found = subprocess.run(
            ["xdotool", "search", "--onlyvisible", "--name", r"\(1\)"], text=True,
            capture_output=True, env={**os.environ, "DISPLAY": self.xvfb.display},
        ).stdout.split()
        return found[-1] if found else ""

    def key(self, name: str):
        """A key press in the guest. There is no window manager: the focus is given by hand, and
        the pointer must be over the window."""
        window = wait_until(self._window, "remote-viewer's window", explain=self.log)
        self.xvfb.run("xdotool", "windowfocus", "--sync", window)
        self.xvfb.run("xdotool", "mousemove", "300", "400")
        self.xvfb.run("xdotool", "key", name)

    def stop(self):
        self.process.stop()


def spicy_screenshot(scratch: Path, endpoint: Endpoint, *, password=None, ca_pem=None) -> Image:
    """The stock tool that connects, takes one picture and leaves. It has no option for a CA, but
    OpenSSL's SSL_CERT_FILE reaches it."""
    path = scratch / "spicy.ppm"
    path.unlink(missing_ok=True)
    command = ["spicy-screenshot", "-h", endpoint.host, "-o", str(path)]
    password = endpoint.ticket if password is None else password
    if password is not None:
        command += ["-w", password]
    if endpoint.tls_port:
        command += ["-s", str(endpoint.tls_port)]
    elif endpoint.port:
        command += ["-p", str(endpoint.port)]
    environment = dict(os.environ)
    ca_pem = endpoint.ca_pem if ca_pem is None else ca_pem
    if ca_pem is not None:
        (scratch / "spicy-ca.pem").write_text(ca_pem)
        environment["SSL_CERT_FILE"] = str(scratch / "spicy-ca.pem")
    done = subprocess.run(command, env=environment, capture_output=True, text=True,
                          timeout=PATIENCE)
    if done.returncode != 0 or not path.exists():
        raise LabError(f"spicy-screenshot: {done.returncode}\n{done.stdout}{done.stderr}")
    return Image.load(path)
