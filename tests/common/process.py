"""Programs that always end: with the object, with the test, and with this process."""

import os
import signal
import subprocess
import time
from pathlib import Path

# How long something that should come soon is waited for. Generous, because the machines that run
# this are small and busy; nothing is ever asserted about time itself.
PATIENCE = float(os.environ.get("KERBSIDE_TEST_PATIENCE", "40"))


class LabError(AssertionError):
    """Something that was waited for did not come, or a program did not do its part."""


def wait_until(predicate, what: str, timeout: float | None = None, explain=None):
    """Calls predicate until it gives something true, and returns that. For conditions that can
    only be asked for; where an event can be waited for, wait for the event."""
    end = time.monotonic() + (PATIENCE if timeout is None else timeout)
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            more = f"\n{explain()}" if explain else ""
            raise LabError(f"{what}: did not come about{more}")
        time.sleep(0.02)


class Process:
    """A program in its own process group, which gets SIGKILL when this process dies.

    Its output goes to LOG; `log()` gives it as text.
    """

    running: list["Process"] = []  # all of this pytest process, also those half set up

    def __init__(self, args, *, log: Path, env=None, cwd=None, pass_fds=(), enter=(), stdin=None,
                 stdout=None):
        self.args = [str(a) for a in args]
        self.name = Path(self.args[0]).name
        self.log_path = Path(log)
        self._log_file = open(log, "ab")
        # setpriv: the kernel ends the program even if this process is killed. `enter` is a
        # prefix that moves it somewhere else first (a network namespace).
        command = ["setpriv", "--pdeathsig", "KILL", "--", *enter, *self.args]
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=self._log_file if stdout is None else stdout,
            stderr=self._log_file,
            env={**os.environ, **{k: str(v) for k, v in (env or {}).items()}},
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        Process.running.append(self)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def signal(self, number: int):
        os.kill(self.pid, number)

    def _signal_group(self, number: int):
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        """SIGKILL, and no trace left."""
        self._signal_group(signal.SIGKILL)
        self.popen.wait()
        self._log_file.close()
        if self in Process.running:
            Process.running.remove(self)

    def stop(self, patience: float = 10):
        """SIGTERM, then SIGKILL for whatever of the group is still there."""
        if self.alive:
            self._signal_group(signal.SIGCONT)  # a stopped process does not hear SIGTERM
            self._signal_group(signal.SIGTERM)
            try:
                self.popen.wait(patience)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def wait(self, timeout: float | None = None) -> int:
        try:
            return self.popen.wait(PATIENCE if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} did not end\n{self.log()}") from None

    def wait_log(self, text: str, timeout: float | None = None):
        """Waits until the log holds the text; fails at once when the program ends first."""

        def seen():
            if text in self.log():
                return True
            if not self.alive:
                raise LabError(f"{self.name} ended with {self.popen.returncode}\n{self.log()}")
            return False

        wait_until(seen, f"{self.name} says {text!r}", timeout, self.log)
