"""The demo, once all is built: a guest, a kerbside, and a person or a stock client before it."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from common.process import Process  # noqa: E402
from lab import Lab, LabError  # noqa: E402
from lab.net import Port  # noqa: E402
from lab.paths import Paths  # noqa: E402
from lab.qemu import BOX_B  # noqa: E402

START_WITHIN = 3600  # seconds: how long a console.vv may lie there before it is opened


def start(lab: Lab, port: Port | None):
    """A guest with the usual devices, and a kerbside that knows its console."""
    guest = lab.qemu(name="demo", audio="beep", usb=3, serial=True)
    kerbside = lab.kerbside(
        guest, port=port, settings={"grants": {"start_within": f"{START_WITHIN}s"}})
    return guest, kerbside


def write_vv(kerbside, uuid: str, path: Path):
    """A fresh console.vv in one step, so that no viewer ever reads half of one."""
    kerbside.vv("lab", uuid).replace(path)


def check(lab: Lab) -> Path:
    """What a person would do, done by remote-viewer: open, look, type, look again."""
    guest, kerbside = start(lab, None)
    viewer = lab.viewer(kerbside.vv("lab", guest.endpoint.uuid))
    before = guest.screen()
    viewer.wait_screen(lambda screen: screen.find(before), "the guest's screen in remote-viewer")
    viewer.key("k")
    after = guest.wait_drawn(BOX_B)
    seen = viewer.wait_screen(lambda screen: screen.find(after), "the screen after a key")
    (session,) = kerbside.wait_sessions(1)
    if session["uuid"] != guest.endpoint.uuid:
        raise LabError(f"the session is of another console: {session}")
    picture = Paths.build / "demo.png"
    seen.save_png(picture)
    return picture


def usual_port() -> Port | None:
    """8443 if nobody has it, else any."""
    try:
        return Port(8443)
    except OSError:
        return None


def run(lab: Lab, stop: threading.Event):
    guest, kerbside = start(lab, usual_port())
    vv = lab.scratch / "console.vv"
    write_vv(kerbside, guest.endpoint.uuid, vv)
    print("A desktop behind kerbside\n")
    print(f"  page      https://127.0.0.1:{kerbside.port}/")
    print(f"  login     {kerbside.USER}  {kerbside.password()}")
    print(f"  console   {vv}")
    print(f"            remote-viewer {vv}\n")
    print("Ctrl-C ends it, and leaves nothing running.", flush=True)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        Process(["remote-viewer", vv], log=lab.scratch / "remote-viewer.log")
    # A viewer deletes the file as it opens it, and its token starts one session: put a new one.
    while not stop.wait(1):
        for part in (guest.process, kerbside.process):
            if not part.alive:
                raise LabError(f"{part.name} ended by itself\n{part.log()}")
        if not vv.exists() or time.time() - vv.stat().st_mtime > START_WITHIN / 2:
            write_vv(kerbside, guest.endpoint.uuid, vv)


def main() -> int:
    checking = "--check" in sys.argv[1:]
    stop = threading.Event()
    endings = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def on_signal(number, frame):
        stop.set()
        raise KeyboardInterrupt

    for number in endings:
        signal.signal(number, on_signal)
    folder = Path(tempfile.mkdtemp(prefix="kerbside-demo-"))
    lab = Lab(folder)
    problem = None
    try:
        if checking:
            print(f"screenshot: {check(lab)}")
        else:
            run(lab, stop)
    except KeyboardInterrupt:
        problem = "interrupted" if checking else None
    except (LabError, OSError) as error:
        problem = f"{error}\nwhat it left is in {folder}"
    finally:
        for number in endings:
            signal.signal(number, signal.SIG_IGN)  # the end is under way
        lab.stop()
    if problem is not None:
        print(f"demo: failed: {problem}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    if checking:
        print("demo: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
