"""Programs that always end: with the object, with the test, and with this process."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

# How long the lab waits for something that should come soon. Generous, because the machines that
# run this are small and busy; nothing is ever asserted about time itself.
PATIENCE = float(os.environ.get("KERBSIDE_E2E_PATIENCE", "40"))


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


class JsonProcess(Process):
    """A program that reports events as JSON lines on stdout and takes commands on stdin."""

    def __init__(self, args, *, log: Path, **more):
        super().__init__(args, log=log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more)
        self.events: list[dict] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @staticmethod
    def _matches(event: dict, name: str, fields: dict) -> bool:
        return event["event"] == name and all(
            value(event.get(key)) if callable(value) else event.get(key) == value
            for key, value in fields.items()
        )

    def find(self, name: str, /, *, since: int = 0, **fields) -> dict | None:
        """The first such event that has come, or None. A field may be a predicate."""
        with self._changed:
            for event in self.events[since:]:
                if self._matches(event, name, fields):
                    return event
        return None

    def find_all(self, name: str, /, *, since: int = 0, **fields) -> list[dict]:
        with self._changed:
            return [e for e in self.events[since:] if self._matches(e, name, fields)]

    def position(self) -> int:
        """For `since`: only what comes after now."""
        with self._changed:
            return len(self.events)

    def wait_event(self, name: str, /, *, since: int = 0, timeout: float | None = None,
                   **fields) -> dict:
        end = time.monotonic() + (PATIENCE if timeout is None else timeout)
        with self._changed:
            while True:
                for event in self.events[since:]:
                    if self._matches(event, name, fields):
                        return event
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    shown = {k: "..." if callable(v) else v for k, v in fields.items()}
                    happened = "\n".join(json.dumps(e) for e in self.events[-60:])
                    state = "the program ended" if self._ended else "it did not come"
                    raise LabError(
                        f"{self.name}: no event {name} {shown}: {state}\n{happened}\n{self.log()}"
                    )
                self._changed.wait(left)

    def send(self, line: str):
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    def kill(self):
        super().kill()
        self._reader.join()
        for stream in (self.popen.stdin, self.popen.stdout):
            try:
                stream.close()
            except BrokenPipeError:
                pass
