"""Bytes both ways between two sockets, one of which may speak WebSocket (RFC 6455): what stand-ins
need that carry the bytes of a real SPICE server."""

import base64
import contextlib
import hashlib
import os
import select
import socket
import ssl
import struct
import threading

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def accept_key(key: str) -> str:
    return base64.b64encode(hashlib.sha1(
        (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def is_upgrade(headers: dict) -> bool:
    return (headers.get("upgrade", "").lower() == "websocket"
            and "upgrade" in headers.get("connection", "").lower()
            and headers.get("sec-websocket-version") == "13"
            and len(base64.b64decode(headers.get("sec-websocket-key", ""))) == 16)


def upgrade_headers(headers: dict, protocol: str | None = None) -> dict:
    """What a server answers an upgrade with, beside status 101."""
    answer = {"Upgrade": "websocket", "Connection": "Upgrade",
              "Sec-WebSocket-Accept": accept_key(headers["sec-websocket-key"])}
    if protocol:
        answer["Sec-WebSocket-Protocol"] = protocol
    return answer


class WebSocket:
    """Frames on a connected socket. A client masks, a server does not; whoever gets it wrong
    violates the protocol, which ends the connection."""

    def __init__(self, sock, is_client=False):
        self.sock, self.is_client = sock, is_client
        self._kept = b""
        # Python's ssl keeps one state for both directions: a read beside a write may take the
        # write's for its own and see an end that is none. So one at a time, and nobody waits inside.
        self._lock = threading.Lock()
        self.close_code: int | None = None  # of the peer's close
        self._message = (0, b"")

    def send(self, data: bytes, opcode=BINARY, fin=True):
        size = len(data)
        head = bytes([(0x80 if fin else 0) | opcode])
        mask = 0x80 if self.is_client else 0
        if size < 126:
            head += bytes([mask | size])
        elif size < 1 << 16:
            head += bytes([mask | 126]) + struct.pack(">H", size)
        else:
            head += bytes([mask | 127]) + struct.pack(">Q", size)
        if self.is_client:
            key = os.urandom(4)
            head += key
            data = self._masked(key, data)
        with self._lock:
            self.sock.sendall(head + data)

    @staticmethod
    def _masked(key: bytes, data: bytes) -> bytes:
        whole = (key * (len(data) // 4 + 1))[:len(data)]
        return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(
            len(data), "big")

    def _read(self, count: int) -> bytes:
        while len(self._kept) < count:
            if not (more := self._receive()):
                raise EOFError
            self._kept += more
        data, self._kept = self._kept[:count], self._kept[count:]
        return data

    def _receive(self) -> bytes:
        while True:
            with self._lock:
                patience = self.sock.gettimeout()
                self.sock.settimeout(0)
                try:
                    return self.sock.recv(65536)
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass
                finally:
                    self.sock.settimeout(patience)
            if not select.select([self.sock], [], [], patience)[0]:
                raise TimeoutError

    def frame(self) -> tuple[int, bool, bytes]:
        """The next frame: opcode, whether it is the last of its message, payload."""
        first, second = self._read(2)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._read(8))[0]
        masked = bool(second & 0x80)
        if first & 0x70 or masked == self.is_client:
            self.close(1002)
            raise EOFError
        key = self._read(4) if masked else b""
        data = self._read(size)
        return first & 0x0F, bool(first & 0x80), self._masked(key, data) if masked else data

    def receive(self) -> tuple[int, bytes]:
        """The next message, its opcode and payload; control frames are answered. EOFError at the
        end."""
        while True:
            opcode, last, data = self.frame()
            if opcode == PING:
                self.send(data, PONG)
            elif opcode == CLOSE:
                self.close_code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 1005
                with contextlib.suppress(OSError):
                    self.send(data[:2], CLOSE)
                raise EOFError
            elif opcode < 8:
                kind, before = self._message
                self._message = (opcode or kind, before + data)
                if last:
                    message, self._message = self._message, (0, b"")
                    return message

    def close(self, code=1000):
        with contextlib.suppress(OSError):
            self.send(struct.pack(">H", code), CLOSE)

    def end(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


def _pump(read, write, after):
    try:
        while data := read():
            write(data)
    except (OSError, EOFError, ValueError):
        pass
    after()


def _shut(sock, how):
    with contextlib.suppress(OSError):
        sock.shutdown(how)


def join(a, b):
    """Copies both ways until both are at their end; closes neither. Plain sockets."""
    back = threading.Thread(target=_pump, daemon=True, args=(
        lambda: b.recv(65536), a.sendall, lambda: _shut(a, socket.SHUT_WR)))
    back.start()
    _pump(lambda: a.recv(65536), b.sendall, lambda: _shut(b, socket.SHUT_WR))
    back.join()


def join_websocket(ws: WebSocket, sock, text_ends=False):
    """The same with a WebSocket on one side: binary messages are the stream. text_ends: a text
    message stands for the end of it, as with Incus."""
    def from_ws() -> bytes:
        while True:
            kind, data = ws.receive()
            if kind == TEXT and text_ends:
                return b""
            if data:
                return data

    def out_of_server():
        if text_ends:
            with contextlib.suppress(OSError):
                ws.send(b"", TEXT)
        ws.close()
        ws.end()

    back = threading.Thread(target=_pump, daemon=True,
                            args=(lambda: sock.recv(65536), ws.send, out_of_server))
    back.start()
    _pump(from_ws, sock.sendall, lambda: _shut(sock, socket.SHUT_RDWR))
    ws.end()
    back.join()
