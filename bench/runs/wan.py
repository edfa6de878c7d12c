"""a key press until it is seen, over slow links with a busy screen, against haproxy

The hypervisor and the proxy are in one network namespace, joined over loopback; the client is in
another, and wan_link between them. The queue of the link holds what it carries in a round-trip
time. spice-gtk presses keys and waits for the box that each paints."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import rig
from bench import HIGHER, Bench, Figure
from common.process import LabError, Process, wait_until
from lab.json_process import JsonProcess
from lab.kerbside import Kerbside, source
from lab.net import CutOff, Port
from lab.qemu import Qemu

HERE, THERE = "198.51.100.1", "198.51.100.2"  # the proxy's end of the link, and the client's
# Linux' own choice; where a machine has another and does not allow this one in namespaces
# (net.ipv4.tcp_allowed_congestion_control), reno is always allowed and behaves alike here.
CONGESTION = ("cubic", "reno")
ROUNDS = 1
NOISE = {"idle": -1, "busy": 2, "heavy": 8}


@dataclass(frozen=True)
class Cell:
    rtt: int  # ms
    mbit: int
    screen: str  # of NOISE, or "guest": QEMU with a guest that paints noise
    tls: bool = False  # the hypervisor's leg

    @property
    def part(self) -> str:
        """What --part calls it, with or without TLS."""
        return f"{self.rtt}/{self.mbit}-{self.screen}"

    @property
    def name(self) -> str:
        screen = "a QEMU guest" if self.screen == "guest" else f"{self.screen} screen"
        return f"{self.rtt} ms, {self.mbit} Mbit/s, {screen}{', TLS in, TLS out' * self.tls}"


CELLS = [
    Cell(80, 10, "heavy"), Cell(80, 50, "heavy"), Cell(20, 50, "heavy"), Cell(20, 50, "busy"),
    Cell(80, 10, "busy"), Cell(80, 10, "idle"),
    Cell(80, 10, "heavy", tls=True), Cell(80, 50, "heavy", tls=True), Cell(20, 50, "heavy", tls=True),
    Cell(80, 10, "guest"), Cell(20, 50, "guest"),
]
PARTS = tuple(dict.fromkeys(cell.part for cell in CELLS))
QUICK = [Cell(80, 10, "heavy")]


class Link:
    """Two namespaces with a slow link between them."""

    def __init__(self, programs: Path, scratch: Path, cell: Cell):
        scratch.mkdir(parents=True)
        self._spaces = CutOff(scratch)
        self.inner = self._spaces.enter(self._spaces.inner)
        self.outer = self._spaces.enter(self._spaces.outer)
        try:
            self._link = JsonProcess(
                [programs / "wan_link", "--peer", self._spaces.outer.pid, "--rtt", cell.rtt, "--mbit",
                 cell.mbit, "--queue", cell.rtt * cell.mbit * 125], log=scratch / "link.log",
                enter=self.inner)
            self._link.wait_event("ready")
            for enter, address in ((self.inner, HERE), (self.outer, THERE)):
                self._run(enter, "ip", "addr", "add", f"{address}/24", "dev", "wan0")
                self._run(enter, "ip", "link", "set", "wan0", "up")
                # What an earlier connection has learnt of the link is not a new one's.
                self._run(enter, "sysctl", "-q", "-w", "net.ipv4.tcp_no_metrics_save=1")
                self._choose_congestion_control(enter)
        except BaseException:
            self._spaces.stop()
            raise

    def _choose_congestion_control(self, enter):
        for name in CONGESTION:
            try:
                self._run(enter, "sysctl", "-q", "-w", f"net.ipv4.tcp_congestion_control={name}")
                return
            except LabError as problem:
                refused = problem
        raise refused

    @staticmethod
    def _run(enter, *command):
        done = subprocess.run([*enter, *command], capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")

    def stop(self):
        self._link.kill()
        self._spaces.stop()


class Screen(JsonProcess):
    """wan_server, as the rig knows back ends."""

    box = "864,640,96,96"

    def __init__(self, programs: Path, scratch: Path, pki: rig.Pki, cell: Cell, enter):
        self._port = Port()
        self.port, self.tls, self.ticket = self._port.number, cell.tls, rig.TICKET
        where = (["--tls-port", self.port, "--x509-dir", pki.back] if cell.tls
                 else ["--port", self.port])
        super().__init__([programs / "wan_server", "--address", "127.0.0.1", *where, "--password",
                          self.ticket, f"--noise={NOISE[cell.screen]}"], log=scratch / "server.log",
                         enter=enter)
        self.wait_event("ready")

    def kill(self):
        super().kill()
        self._port.release()


class Guest:
    """QEMU, whose guest paints noise and flips the colour of a box at each key."""

    box = "580,110,120,120"

    def __init__(self, programs: Path, scratch: Path, pki: rig.Pki, cell: Cell, enter):
        self.tls, self.ticket = cell.tls, rig.TICKET
        self._qemu = Qemu(scratch / "qemu", plain=not cell.tls, tls=cell.tls, ticket=self.ticket,
                          x509_dir=pki.back, ca_pem=pki.ca_pem, subject=rig.SUBJECT,
                          image="guest-busy.img", enter=enter)
        endpoint = self._qemu.endpoint
        self.port = endpoint.tls_port if cell.tls else endpoint.port

    def kill(self):
        self._qemu.stop()


class KerbsideProxy:
    name = "kerbside"

    def __init__(self, scratch: Path, back, pki: rig.Pki, enter):
        console = {"uuid": rig.UUID, "name": "bench", "hypervisor": "hypervisor.bench",
                   "hypervisor_ip": "127.0.0.1", "ticket": back.ticket}
        if back.tls:
            console |= {"secure_port": back.port, "host_subject": rig.SUBJECT}
            more = {"tls": "require", "ca_cert": pki.ca_pem}
        else:
            console |= {"insecure_port": back.port}
            more = {"tls": "plain"}
        self._daemon = Kerbside(scratch, [source("lab", [console], **more)], host=HERE, enter=enter)
        vv = self._daemon.vv("lab", rig.UUID, start_within="1h").read_text()
        values = dict(line.split("=", 1) for line in vv.splitlines() if "=" in line)
        self.port, self.ticket = self._daemon.port, values["password"]
        self.subject = values["host-subject"]
        self.ca_file = scratch / "ca-of-kerbside.pem"
        self.ca_file.write_text(values["ca"].replace("\\n", "\n"))

    def stop(self):
        self._daemon.stop()


class HaproxyProxy:
    """What any relay does."""

    name = "haproxy"
    subject = "CN=proxy.bench"

    def __init__(self, scratch: Path, back, pki: rig.Pki, enter):
        scratch.mkdir(parents=True)
        self._port = Port()
        self.port, self.ticket, self.ca_file = self._port.number, back.ticket, pki.ca_file
        tls = f" ssl verify required ca-file {pki.ca_file}" if back.tls else ""
        (scratch / "haproxy.cfg").write_text(f"""defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen wan
    bind {HERE}:{self.port} ssl crt {pki.front_pem}
    server back 127.0.0.1:{back.port}{tls}
""")
        haproxy = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        self._process = Process([haproxy, "-db", "-f", scratch / "haproxy.cfg"],
                                log=scratch / "haproxy.log", enter=enter)
        wait_until(self._listens, "haproxy listens", explain=self._process.log)

    def _listens(self) -> bool:
        table = Path(f"/proc/{self._process.pid}/net/tcp").read_text()
        return f":{self.port:04X} 00000000:0000 0A" in table

    def stop(self):
        self._process.stop()
        self._port.release()


def probe(programs: Path, link: Link, proxy, back, keys: int) -> dict:
    command = [*link.outer, programs / "wan_probe", "--host", HERE, "--tls-port", proxy.port,
               "--password", proxy.ticket, "--ca", proxy.ca_file, "--subject", proxy.subject,
               "--box", back.box, "--keys", keys]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          env={**os.environ, "G_MESSAGES_DEBUG": ""})
    if done.returncode != 0:
        raise RuntimeError(f"{proxy.name}: wan_probe: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(bench: Bench, pki: rig.Pki, cell: Cell, kind, keys: int) -> dict:
    """One cell with one proxy, all of it new."""
    scratch = bench.path("wan")
    link = Link(bench.programs, scratch, cell)
    back = proxy = None
    try:
        make = Guest if cell.screen == "guest" else Screen
        back = make(bench.programs, scratch, pki, cell, link.inner)
        proxy = kind(scratch / kind.name, back, pki, link.inner)
        return probe(bench.programs, link, proxy, back, keys)
    finally:
        if proxy:
            proxy.stop()
        if back:
            back.kill()
        link.stop()


def run(bench: Bench):
    pki = rig.Pki(bench.path("pki"))
    keys, cells = (10, QUICK) if bench.quick else (40, CELLS)
    for _ in bench.rounds():
        for cell in cells:
            if not bench.wants_part(cell.part) or cell.tls not in bench.legs():
                continue
            for kind in (KerbsideProxy, HaproxyProxy):
                if bench.options.only and kind.name not in bench.options.only:
                    continue
                with bench.attempt(kind):
                    r = measure(bench, pki, cell, kind, keys)
                    bench.record(cell.name, kind.name, r,
                                 Figure("ms from key to drawing, p50", r["p50"]),
                                 Figure("ms from key to drawing, p95", r["p95"]),
                                 Figure("Mbit/s of display", r["mbit"], HIGHER))
