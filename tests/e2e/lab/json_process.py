"""Programs of our own that talk in JSON lines."""

import json
import subprocess
import threading
import time
from pathlib import Path

from common.process import PATIENCE, LabError, Process



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
