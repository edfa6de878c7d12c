"""Programs that always end: with the object, with the test, and with this process."""

import os
import signal
import subprocess
import time
from pathlib import Path

# How long something that should come soon is waited for. Generous, because the machines that run
# this are small and busy; nothing is ever asserted about time itself.
PATIENCE = float(os.environ.get("KERBSIDE_TEST_PATIENCE", "30"))


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
            raise AssertionError(f"{what}: did not come about{more}")
        time.sleep(0.02)


class Process:
    """A program in its own process group, which gets SIGKILL when this process dies. Its output
    goes to the file `log`."""

    def __init__(self, args, *, log: Path, env=None, pass_fds=(), enter=()):
        self.args = [str(a) for a in args]
        self.name = Path(self.args[0]).name
        self.log_path = Path(log)
        self._log_file = open(log, "ab")
        # setpriv: the kernel ends the program even if this process is killed. `enter` is a
        # prefix that changes its surroundings first; it must end in exec.
        self.popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *enter, *self.args],
            stdin=subprocess.DEVNULL,
            stdout=self._log_file,
            stderr=self._log_file,
            env={**os.environ, **{k: str(v) for k, v in (env or {}).items()}},
            pass_fds=pass_fds,
            start_new_session=True,
        )

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

    def wait(self, timeout: float | None = None) -> int:
        try:
            return self.popen.wait(PATIENCE if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end\n{self.log()[-4000:]}") from None

    def kill(self):
        """SIGKILL, and no trace left."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()
        self._log_file.close()
