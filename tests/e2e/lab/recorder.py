"""Stands between a client and a SPICE server, in clear, and writes down what is said: the corpus
that tests/unit/policy/test_corpus.c replays (its format is described there)."""

import os
import selectors
import socket
import struct
import threading
from pathlib import Path

from common.process import wait_until

from .net import Port

CLIENT, SERVER = 0, 1
CHANNELS = ("", "main", "display", "inputs", "cursor", "playback", "record", "tunnel", "smartcard",
            "usbredir", "port", "webdav")
# Of a message's body: all of what policies read, a beginning of what they do not.
KEEP_WATCHED, KEEP = 4096, 8
WATCHED = {1: {CLIENT: (106, 107, 108), SERVER: (103, 104, 107, 108, 109, 110, 115)},
           2: {CLIENT: (), SERVER: (8, 317)},
           9: {CLIENT: (101, 102), SERVER: (101, 102)},
           10: {CLIENT: (101, 102, 201), SERVER: (101, 102, 201, 202)},
           11: {CLIENT: (101, 102, 201), SERVER: (101, 102, 201, 202)}}
MOST_OF_A_KIND = 40     # of messages that nobody reads
MOST_OF_A_FILE = 24000  # bytes


class _Direction:
    """Cuts one direction: the link first, then messages."""

    def __init__(self, link_parts):
        self.kept = b""
        self._link = link_parts  # a generator that takes bytes and asks for so many more
        self._wanted = next(self._link)

    def messages(self, data: bytes):
        self.kept += data
        while self._wanted is not None and len(self.kept) >= self._wanted:
            part, self.kept = self.kept[:self._wanted], self.kept[self._wanted:]
            self._wanted = self._link.send(part)
        if self._wanted is not None:
            return
        while len(self.kept) >= 6:
            kind, size = struct.unpack("<HI", self.kept[:6])
            if len(self.kept) < 6 + size:
                return
            yield kind, self.kept[6:6 + size]
            self.kept = self.kept[6 + size:]


class _Tape:
    """One connection."""

    def __init__(self, folder: Path, prefix: str, number: int):
        self.folder, self.prefix, self.number = folder, prefix, number
        self.channel = None
        self.text = b""
        self.counts = {}
        self.directions = (_Direction(self._client_link()), _Direction(self._server_link()))

    def _client_link(self):
        header = yield 16
        body = yield struct.unpack("<I", header[12:])[0]
        self.channel = (body[4], body[5])
        yield 4 + 128
        yield None

    def _server_link(self):
        header = yield 16
        yield struct.unpack("<I", header[12:])[0]
        yield 4
        yield None

    def hear(self, direction: int, data: bytes):
        for kind, body in self.directions[direction].messages(data):
            watched = kind in WATCHED.get(self.channel[0], {}).get(direction, ())
            count = self.counts[direction, kind] = self.counts.get((direction, kind), 0) + 1
            if not watched and count > MOST_OF_A_KIND:
                continue
            kept = body[:KEEP_WATCHED if watched else KEEP]
            if len(self.text) < MOST_OF_A_FILE:
                self.text += struct.pack("<BHIH", direction, kind, len(body), len(kept)) + kept

    def write(self):
        if self.channel and self.text:
            kind, number = self.channel
            name = f"{self.prefix}-{self.number:02}-{CHANNELS[kind]}-{number}"
            (self.folder / name).write_bytes(bytes([kind, number]) + self.text)


class Recorder:
    """Listens on a port of its own for a server's; every connection is a file of the folder."""

    def __init__(self, folder: Path, prefix: str, to_port: int):
        self._folder, self._prefix, self._to = folder, prefix, to_port
        self._held = Port()
        self.port = self._held.number
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._selector = selectors.DefaultSelector()
        self._wake, wake = os.pipe()
        self._wake_from = wake
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self.tapes: list[_Tape] = []
        # One thread for all: what is written down first came first.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _accept(self):
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._to))
        tape = _Tape(self._folder, self._prefix, len(self.tapes))
        self.tapes.append(tape)
        self._selector.register(client, selectors.EVENT_READ, (tape, CLIENT, server))
        self._selector.register(server, selectors.EVENT_READ, (tape, SERVER, client))

    def _pass_on(self, sock, tape, direction, other):
        try:
            data = sock.recv(1 << 18)
            if data:
                tape.hear(direction, data)
                other.sendall(data)
                return
        except OSError:
            pass
        for end in (sock, other):
            try:
                self._selector.unregister(end)
            except KeyError:
                continue
            end.close()

    def _run(self):
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == self._wake:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj.fileno() >= 0:
                    self._pass_on(key.fileobj, *key.data)

    def wait(self, channel: str, direction: int, kind: int):
        """Until such a message has passed."""
        number = CHANNELS.index(channel)
        wait_until(lambda: any((direction, kind) in tape.counts for tape in list(self.tapes)
                               if tape.channel and tape.channel[0] == number),
                   f"message {kind} on {channel}")

    def stop(self):
        os.write(self._wake_from, b"x")
        self._thread.join()
        self._listener.close()
        self._held.release()
        for old in self._folder.glob(f"{self._prefix}-[0-9][0-9]-*"):
            old.unlink()
        for tape in self.tapes:
            tape.write()
