"""Ports, and a place for a client that can be cut off."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from common.port import Port  # noqa: F401  (used from here by the lab)
from common.process import LabError, Process, wait_until


def remote_addresses(pid: int) -> set[tuple[str, int]]:
    """Where the TCP sockets of a process lead right now (IPv4)."""
    inodes = set()
    try:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(fd)
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except FileNotFoundError:
        return set()
    found = set()
    for line in lines:
        fields = line.split()
        if fields[9] in inodes:
            address, port = fields[2].split(":")
            host = socket.inet_ntoa(bytes.fromhex(address)[::-1])
            found.add((host, int(port, 16)))
    return found


class CutOff:
    """Two network namespaces joined by a wire that can be pulled.

    The servers live in `inner` with their own 127.0.0.1 and the address 192.0.2.1; the client
    lives in `outer`, 192.0.2.2. After `pull()` nothing that one side sends reaches the other: no
    FIN and no RST either. Nothing of it touches the machine's own network.
    """

    SERVER = "192.0.2.1"
    CLIENT = "192.0.2.2"

    def __init__(self, scratch: Path):
        log = scratch / "namespaces.log"
        unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "-Urn"]
        self._own_user = os.geteuid() != 0
        self.inner = Process([*unshare, "sleep", "infinity"], log=log)
        wait_until(lambda: self._entered(self.inner), "a network namespace", explain=self.inner.log)
        self.outer = Process(["unshare", "--net", "sleep", "infinity"], log=log,
                             enter=self.enter(self.inner))
        wait_until(lambda: self._entered(self.outer), "a network namespace", explain=self.outer.log)
        self._run(self.inner, "ip", "link", "set", "lo", "up")
        self._run(self.inner, "ip", "link", "add", "wire0", "type", "veth", "peer", "name",
                  "wire1", "netns", str(self.outer.pid))
        self._run(self.inner, "ip", "addr", "add", f"{self.SERVER}/24", "dev", "wire0")
        self._run(self.inner, "ip", "link", "set", "wire0", "up")
        self._run(self.outer, "ip", "addr", "add", f"{self.CLIENT}/24", "dev", "wire1")
        self._run(self.outer, "ip", "link", "set", "lo", "up")
        self._run(self.outer, "ip", "link", "set", "wire1", "up")

    @staticmethod
    def _entered(process: Process) -> bool:
        if not process.alive:
            raise LabError(f"no network namespace\n{process.log()}")
        mine = os.readlink("/proc/self/ns/net")
        executable = os.readlink(f"/proc/{process.pid}/exe")
        return (os.readlink(f"/proc/{process.pid}/ns/net") != mine
                and executable == os.path.realpath(shutil.which("sleep")))

    def enter(self, holder: Process) -> list[str]:
        """The prefix that runs a command in the namespace of `holder`."""
        prefix = ["nsenter", f"--target={holder.pid}", "--net"]
        if self._own_user:
            prefix += ["--user", "--preserve-credentials"]
        return prefix

    def _run(self, holder: Process, *command: str):
        done = subprocess.run([*self.enter(holder), *command], capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")

    def pull(self):
        """Takes the wire away: both ends go, the packets with them."""
        self._run(self.inner, "ip", "link", "set", "wire0", "down")

    def stop(self):
        self.outer.stop()
        self.inner.stop()
