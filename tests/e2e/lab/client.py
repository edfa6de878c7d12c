"""The headless client (parts/client): a whole spice-gtk without a window."""

from pathlib import Path

from common.process import LabError, wait_until

from .hypervisor import Endpoint
from .image import Image
from .json_process import JsonProcess
from .paths import Paths


# How a session ends whose client leaves politely: what it has not read when it closes its socket,
# such as a ping, makes a reset of the end.
CLIENT_LEFT = ("client_closed", "client_lost")


class Refused(LabError):
    """A command that the client cannot do now."""


class Client(JsonProcess):
    """Connects at once; events and pictures are asked for afterwards."""

    def __init__(self, scratch: Path, *, vv=None, keep_vv=False, endpoint: Endpoint | None = None,
                 password=None, ca_pem=None, host_subject=None, shared_dir=None, smartcard=None,
                 audio=True, usb=True, enter=(), trace=None):
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch = scratch
        self._shots = 0
        args = [Paths.part("spice_client")]
        if vv is not None:
            args += ["--vv", vv] + (["--keep-vv"] if keep_vv else [])
        if endpoint is not None:
            args += self._direct_args(endpoint, ca_pem)
            password = endpoint.ticket if password is None else password
        if password is not None:
            args += ["--password", password]
        if host_subject is not None:
            args += ["--host-subject", host_subject]
        if shared_dir is not None:
            args += ["--shared-dir", shared_dir]
        if smartcard is not None:
            args += ["--smartcard-db", f"sql:{smartcard}"]
            for nickname in ("identity", "signing", "encryption"):
                args += ["--smartcard-certificate", nickname]
        args += [] if audio else ["--no-audio"]
        args += [] if usb else ["--no-usb"]
        if trace is not None:  # every connect() it makes, for tests of where it never goes
            args = ["strace", "-f", "-qq", "-e", "trace=connect", "-o", trace, *args]
        home = scratch / "home"
        home.mkdir(exist_ok=True)
        super().__init__(args, log=scratch / "spice_client.log", enter=enter,
                         env={"HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home})

    def _direct_args(self, endpoint: Endpoint, ca_pem):
        if endpoint.unix_socket:
            return ["--unix", endpoint.unix_socket]
        args = ["--host", endpoint.host]
        args += ["--port", endpoint.port] if endpoint.port else []
        args += ["--tls-port", endpoint.tls_port] if endpoint.tls_port else []
        ca = ca_pem if ca_pem is not None else endpoint.ca_pem
        if ca is not None:
            path = self.scratch / "ca.pem"
            path.write_text(ca)
            args += ["--ca-file", path]
        return args

    # ---- channels ----

    def wait_channel(self, kind: str, number: int = 0, state: str = "opened", **more) -> dict:
        return self.wait_event("channel", type=kind, id=number, state=state, **more)

    def wait_picture(self, display: int = 0):
        """Until the display has a surface and the server says it is worth showing."""
        self.wait_event("mark", display=display, mark=1)

    def wait_over(self) -> list[dict]:
        """Until the main channel has ended, in whatever way; its events."""
        over = ("closed", "error_connect", "error_tls", "error_link", "error_auth", "error_io")
        self.wait_event("channel", type="main", state=lambda s: s in over)
        return self.find_all("channel", type="main")

    def opened(self) -> set[tuple[str, int]]:
        return {(e["type"], e["id"]) for e in self.find_all("channel", state="opened")}

    # ---- commands ----

    def command(self, line: str):
        since = self.position()
        self.send(line)
        answer = self.wait_event_any(("done", "refused"), since=since, command=line)
        if answer["event"] == "refused":
            raise Refused(f"{line}: {answer['reason']}")

    def wait_event_any(self, names, **more) -> dict:
        def first():
            for name in names:
                found = self.find(name, **more)
                if found:
                    return found
            if not self.alive:
                raise LabError(f"the client ended\n{self.log()}\n{self.events[-20:]}")
            return None

        return wait_until(first, f"one of {names}", explain=lambda: str(self.events[-20:]))

    def key(self, scancode: int = 0x1E):
        """Press and release, as soon as the client has its inputs channel."""
        self.wait_channel("inputs")
        self.command(f"key {scancode}")

    def screenshot(self, display: int = 0) -> Image:
        self._shots += 1
        path = self.scratch / f"client-{self._shots}.ppm"
        self.command(f"screenshot {display} {path}")
        image = Image.load(path)
        path.unlink()
        return image

    def picture(self, display: int = 0) -> Image | None:
        """None while the display has none, as when its channel is opened anew."""
        try:
            return self.screenshot(display)
        except Refused:
            return None

    def wait_image(self, expected: Image, display: int = 0) -> Image:
        """Until the display shows exactly that."""
        last = None

        def same():
            nonlocal last
            last = self.picture(display)
            return last is not None and last == expected

        def explain():
            if last is None:
                return "the display has no picture at all"
            last.save_png(self.scratch / "seen.png")
            expected.save_png(self.scratch / "expected.png")
            return f"{last.difference(expected)}; see {self.scratch}/seen.png, expected.png"

        wait_until(same, "the expected picture", explain=explain)
        return last

    def wait_colour(self, x: int, y: int, colour: int, display: int = 0):
        def shown():
            picture = self.picture(display)
            return picture is not None and picture.pixel(x, y) == colour

        wait_until(shown, f"colour {colour:06x} at {x},{y}")

    def write_port(self, name: str, text: str):
        """Text as the client's command takes it: with \\n escapes, no newlines."""
        self.command(f"port {name} {text}")

    def port_text(self, name: str) -> str:
        return "".join(e["text"] for e in self.find_all("port_data", name=name))

    def wait_port_text(self, name: str, text: str):
        wait_until(lambda: text in self.port_text(name), f"{text!r} from the port {name}",
                   explain=lambda: repr(self.port_text(name)))

    def stats(self) -> dict[tuple[str, int], dict]:
        since = self.position()
        self.send("stats")
        listed = self.wait_event("stats", since=since)["channels"]
        return {(c["type"], c["id"]): c for c in listed}

    def disconnect(self):
        """Ends the session as a person closes a window, and waits for the program's end."""
        self.send("disconnect")
        self.wait_event("ended")
        self.wait()
