"""The rig of tools/bench: the back end, the load, and the proxies in one form each.

The proxy runs on CPU 0 with one loop or thread, everything else on CPU 1. Every program ends with
this process, whatever happens."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests")]

from lab.kerbside import Kerbside, source  # noqa: E402
from lab.net import Port  # noqa: E402
from common.pki import Authority  # noqa: E402
from common.process import Process, wait_until  # noqa: E402
from lab.json_process import JsonProcess  # noqa: E402
from lab.spice_server import SpiceServer  # noqa: E402

PROXY_CPU, LOAD_CPU = (0, 1) if (os.cpu_count() or 1) > 1 else (0, 0)
TICKET = "bench"
SUBJECT = "CN=hypervisor.bench"
UUID = "00000000-0000-4000-8000-000000000001"


def pinned(cpu: int) -> tuple[str, ...]:
    return ("taskset", "-c", str(cpu))


class Pki:
    """One authority; an ECDSA P-256 certificate for the back end and one for haproxy."""

    def __init__(self, folder: Path):
        authority = Authority()
        self.ca_pem = authority.pem
        self.back = authority.x509_dir(folder / "back", SUBJECT)
        self.ca_file = self.back / "ca-cert.pem"
        front = authority.x509_dir(folder / "front", "CN=proxy.bench")
        self.front_pem = folder / "front.pem"
        self.front_pem.write_bytes((front / "server-cert.pem").read_bytes()
                                   + (front / "server-key.pem").read_bytes())


class Back(JsonProcess):
    def __init__(self, programs: Path, scratch: Path, pki: Pki | None):
        tls = [] if pki is None else ["--tls", pki.back / "server-cert.pem",
                                      pki.back / "server-key.pem"]
        super().__init__([programs / "spice_back", *tls], log=scratch / f"back-{bool(pki)}.log",
                         enter=pinned(LOAD_CPU))
        self.tls = pki is not None
        self.port = self.wait_event("ready")["port"]


class RealServer:
    """libspice-server with a picture of some drawings, TLS."""

    tls = True

    def __init__(self, scratch: Path, pki: Pki):
        self._server = SpiceServer(scratch, plain=False, tls=True, ticket=TICKET,
                                   x509_dir=pki.back, subject=SUBJECT, ca_pem=pki.ca_pem,
                                   enter=pinned(LOAD_CPU))
        self.port = self._server.endpoint.tls_port

    def stop(self):
        self._server.kill()


class Proxy:
    """What a run needs of a proxy: where it listens, the ticket, its process."""

    name = version = ""
    port = pid = 0
    ticket = TICKET
    ca_file: Path
    subject = ""

    def cpu(self) -> float:
        """Seconds of CPU so far, all threads, also ended ones."""
        return time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid's own formula

    def memory(self) -> int:
        """Bytes of memory of its own share (Pss), once they no longer change."""
        last, end = -1, time.monotonic() + 20
        while time.monotonic() < end:
            text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
            now = next(int(line.split()[1]) for line in text.splitlines()
                       if line.startswith("Pss:")) * 1024
            if now == last:
                break
            last = now
            time.sleep(0.5)
        return last

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def stop(self):
        pass


class KerbsideProxy(Proxy):
    name = "kerbside"
    settings: dict = {}

    def __init__(self, program: Path, scratch: Path, back: Back, pki: Pki):
        console = {"uuid": UUID, "name": "bench", "hypervisor": "hypervisor.bench",
                   "hypervisor_ip": "127.0.0.1", "ticket": TICKET}
        if back.tls:
            console |= {"secure_port": back.port, "host_subject": SUBJECT}
            more = {"tls": "require", "ca_cert": pki.ca_pem}
        else:
            console |= {"insecure_port": back.port}
            more = {"tls": "plain"}
        self._daemon = Kerbside(scratch, [source("lab", [console], **more)],
                                settings={"node": {"loops": 1}, **self.settings}, enter=pinned(PROXY_CPU))
        self.port, self.pid = self._daemon.port, self._daemon.process.pid
        vv = self._daemon.vv("lab", UUID, reusable=True, start_within="12h").read_text()
        values = dict(line.split("=", 1) for line in vv.splitlines() if "=" in line)
        self.ticket, self.subject = values["password"], values["host-subject"]
        self.ca_file = scratch / "ca-of-kerbside.pem"
        self.ca_file.write_text(values["ca"].replace("\\n", "\n"))

    def stop(self):
        self._daemon.stop()


class PoliciesProxy(KerbsideProxy):
    """With everything governed that can be, in the strictest way that lets the load pass."""

    name = "policies"
    settings = {"policies": {"default": {
        "clipboard": {"out": False, "text_only": True, "max_bytes": "64KiB", "primary": False},
        "files": {"max_size": "10MB", "names": ["*.pdf", "!x*"]},
        "folders": "read_only",
        "usb": {"filter": "0x08,-1,-1,-1,0|-1,-1,-1,-1,1", "keyboards": False},
        "microphone": False, "smartcard": False, "ports": ["org.test.*", "!*monitor*"],
        "resize": False, "screens": 16, "view_only": False, "bandwidth": "10GB",
        "hours": {"open": "mon-sun 00:00-24:00"}, "idle_timeout": "10h", "max_session": "10h",
    }}}


class HaproxyProxy(Proxy):
    name = "haproxy"

    def __init__(self, program: Path, scratch: Path, back: Back, pki: Pki):
        self._port = Port()
        self.port = self._port.number
        self.ca_file, self.subject = pki.ca_file, "CN=proxy.bench"
        server = f"server back 127.0.0.1:{back.port}"
        if back.tls:
            server += f" ssl verify required ca-file {pki.ca_file}"
        config = scratch / "haproxy.cfg"
        scratch.mkdir(parents=True)
        config.write_text(f"""global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{self.port} ssl crt {pki.front_pem}
    {server}
""")
        self._process = Process([program, "-db", "-f", config], log=scratch / "haproxy.log",
                                enter=pinned(PROXY_CPU))
        self.pid = self._process.pid
        wait_until(self._listens, "haproxy listens", explain=self._process.log)

    def _listens(self) -> bool:
        table = Path(f"/proc/{self.pid}/net/tcp").read_text()
        return f"0100007F:{self.port:04X} 00000000:0000 0A" in table

    def stop(self):
        self._process.stop()
        self._port.release()


class Direct(Proxy):
    """No proxy at all: what the machine itself costs."""

    name = "direct"

    def __init__(self, program, scratch: Path, back: Back, pki: Pki):
        self.port = back.port
        self.ca_file, self.subject = pki.ca_file, SUBJECT


def load(programs: Path, proxy: Proxy, *arguments, plain=False) -> dict:
    """One run of the load; its result, with the proxy's CPU seconds in it."""
    command = [*pinned(LOAD_CPU), programs / "spice_load", "--port", proxy.port, "--password",
               proxy.ticket, *arguments]
    command += ["--pid", proxy.pid] if proxy.pid else []
    command += ["--plain"] if plain else []
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{proxy.name}: {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def first_picture(programs: Path, proxy: Proxy) -> dict:
    """One connection of a stock client; its milliseconds."""
    done = subprocess.run([*pinned(LOAD_CPU), programs / "first_picture", "--port",
                           str(proxy.port), "--password", proxy.ticket, "--ca", proxy.ca_file,
                           "--subject", proxy.subject], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{proxy.name}: first picture: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Hold(JsonProcess):
    """Silent channels until it is stopped."""

    def __init__(self, programs: Path, scratch: Path, proxy: Proxy, sessions: int, channels: int):
        super().__init__([programs / "spice_load", "--port", proxy.port, "--password",
                          proxy.ticket, "--run", "hold", "--sessions", sessions, "--channels",
                          channels - 1], log=scratch / "hold.log", enter=pinned(LOAD_CPU))
        self.channels = self.wait_event("held", timeout=180)["channels"]

    def finish(self):
        """Ends the silence; fails if a channel was lost meanwhile."""
        self.popen.stdin.close()
        if self.wait(60) != 0:
            raise RuntimeError(f"held channels were lost\n{self.log()}")
        self.kill()


def machine() -> dict:
    """What every line of results says about where it was made."""
    def first(command):
        try:
            return subprocess.run(command, capture_output=True, text=True,
                                  cwd=ROOT).stdout.strip().splitlines()[0]
        except (OSError, IndexError):
            return ""

    model = next((line.split(":", 1)[1].strip()
                  for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "")
    haproxy = first(["haproxy", "-v"]).split()
    return {
        "cpu": f"{os.cpu_count()} x {model}", "kernel": os.uname().release,
        "openssl": first(["openssl", "version"]).partition(" (")[0],
        "haproxy": haproxy[2] if len(haproxy) > 2 else "",
        "commit": first(["git", "rev-parse", "--short=12", "HEAD"]),
        "changed": bool(first(["git", "status", "--porcelain", "--", "src"])),
    }


def steal_seconds() -> float:
    """CPU time that other guests of this host took, so far."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / os.sysconf(
        "SC_CLK_TCK")


HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
