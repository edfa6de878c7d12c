"""The rig of tools/bench: the back end and the loads, and what is known of the machine.

The proxy runs on CPU 0, everything else on CPU 1. Every program ends with this process, whatever
happens."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests")]

from common.pki import Authority  # noqa: E402
from lab.json_process import JsonProcess  # noqa: E402
from lab.spice_server import SpiceServer  # noqa: E402

PROXY_CPU, LOAD_CPU = (0, 1) if (os.cpu_count() or 1) > 1 else (0, 0)
TICKET = "bench"
SUBJECT = "CN=hypervisor.bench"
UUID = "00000000-0000-4000-8000-000000000000"
# A load beside the one that measures latency must not take its CPU: it runs only when nobody else on
# that CPU wants to (SCHED_IDLE), and what is left is the proxy's own doing.
GIVES_WAY = ("chrt", "--idle", "0")


def pinned(cpu: int, gives_way=False) -> tuple[str, ...]:
    return ("taskset", "-c", str(cpu), *(GIVES_WAY if gives_way else ()))


class Pki:
    """One authority; an ECDSA P-256 certificate for the back end and one for other proxies."""

    def __init__(self, folder: Path):
        authority = Authority()
        self.ca_pem = authority.pem
        self.back = authority.x509_dir(folder / "back", SUBJECT)
        self.ca_file = self.back / "ca-cert.pem"
        self.front = authority.x509_dir(folder / "front", "CN=proxy.bench")
        self.front_pem = folder / "front.pem"
        self.front_pem.write_bytes((self.front / "server-cert.pem").read_bytes()
                                   + (self.front / "server-key.pem").read_bytes())


class Back(JsonProcess):
    """gives_way: to other loads, for one that only floods."""

    def __init__(self, programs: Path, log: Path, pki: Pki | None, *, gives_way=False):
        tls = [] if pki is None else ["--tls", pki.back / "server-cert.pem",
                                      pki.back / "server-key.pem"]
        super().__init__([programs / "spice_back", *tls], log=log,
                         enter=pinned(LOAD_CPU, gives_way))
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

    def kill(self):
        self._server.kill()


class Load(JsonProcess):
    """spice_load against one door of a proxy; see bench/spice_load.c. `wait`: what it must say before
    it is of use."""

    PATIENCE = 900  # ten thousand channels on a machine with much else to do

    def __init__(self, programs: Path, log: Path, proxy, run: str, *, door=0, plain=False,
                 gives_way=False, wait="ready", **options):
        self.proxy = proxy.name
        d = proxy.doors[door]
        more = {"port": d.port, "password": d.ticket, "run": run, **options}
        more |= {"pid": proxy.pid} if proxy.pid else {}
        more |= {"through": d.through} if d.through else {}
        arguments = [text for key, value in more.items() for text in (f"--{key}", value)]
        super().__init__([programs / "spice_load", *arguments, *(["--plain"] if plain else [])],
                         log=log, enter=pinned(LOAD_CPU, gives_way))
        if wait:
            self.ready = self.wait_event(wait, timeout=self.PATIENCE)

    def part(self) -> dict:
        """What has happened since the last part, or since its warm-up."""
        since = self.position()
        self.send("")
        return self.wait_event("part", since=since, timeout=self.PATIENCE)

    def finish(self, *, end=True) -> dict:
        """Its result. `end`: now; otherwise it ends by itself."""
        if end:
            self.popen.stdin.close()
        if self.wait(self.PATIENCE) != 0:
            raise RuntimeError(f"{self.proxy}: {' '.join(self.args)}: {self.log().strip()}")
        result = self.wait_event("over")
        self.kill()
        return result


def first_picture(programs: Path, proxy) -> dict:
    """One connection of a stock client; its milliseconds."""
    done = subprocess.run([*pinned(LOAD_CPU), programs / "first_picture", "--port",
                           str(proxy.doors[0].port), "--password", proxy.doors[0].ticket, "--ca",
                           proxy.ca_file, "--subject", proxy.subject],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{proxy.name}: first picture: {done.stderr.strip()}")
    return json.loads(done.stdout)


def calibrate(programs: Path) -> dict:
    """How fast the machine is now; see bench/calibrate.c."""
    done = subprocess.run([programs / "calibrate", str(PROXY_CPU), str(LOAD_CPU), "0.5"],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def machine() -> dict:
    """What every line of results says about where it was made."""
    def first(*command):
        try:
            return subprocess.run(command, capture_output=True, text=True,
                                  cwd=ROOT).stdout.strip().splitlines()[0]
        except (OSError, IndexError):
            return ""

    model = next((line.split(":", 1)[1].strip()
                  for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "")
    return {
        "cpu": f"{os.cpu_count()} x {model}", "kernel": os.uname().release,
        "openssl": first("openssl", "version").partition(" (")[0],
        "commit": first("git", "rev-parse", "--short=12", "HEAD"),
        "changed": bool(first("git", "status", "--porcelain", "--", "src")),
    }


def package_version(package: str) -> str:
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True,
                          text=True)
    return done.stdout.strip()


def steal_seconds() -> float:
    """CPU time that other guests of this host took, so far."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / os.sysconf(
        "SC_CLK_TCK")
