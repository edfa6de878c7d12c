"""SPICE by hand, both ends of it, so that a test can say any wrong thing.

A Client links to kerbside, a Server is what kerbside links to. Both keep to the protocol unless
they are told otherwise. Numbers: spice/protocol.h and spice/enums.h of spice-protocol 0.14.3.
"""

import itertools
import queue
import select
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field

from common.process import PATIENCE
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

MAIN, DISPLAY, INPUTS, CURSOR, PLAYBACK, RECORD, TUNNEL, SMARTCARD, USBREDIR, PORT, WEBDAV = \
    range(1, 12)
CHANNELS = {MAIN: "main", DISPLAY: "display", INPUTS: "inputs", CURSOR: "cursor",
            PLAYBACK: "playback", RECORD: "record", TUNNEL: "tunnel", SMARTCARD: "smartcard",
            USBREDIR: "usbredir", PORT: "port", WEBDAV: "webdav"}

OK, ERROR, INVALID_MAGIC, INVALID_DATA, VERSION_MISMATCH, NEED_SECURED, NEED_UNSECURED, \
    PERMISSION_DENIED, BAD_CONNECTION_ID, CHANNEL_NOT_AVAILABLE = range(10)

# Bits of the common capabilities, and of a few others.
AUTH_SELECTION, AUTH_SPICE, AUTH_SASL, MINI_HEADER = 1, 2, 4, 8
STOCK_CLIENT = AUTH_SELECTION | AUTH_SASL | MINI_HEADER  # what spice-gtk says
STOCK_SERVER = AUTH_SELECTION | AUTH_SPICE | MINI_HEADER
MAIN_MIGRATION = 1 << 0 | 1 << 3
DISPLAY_GL_SCANOUT = 1 << 7
SPICEVMC_LZ4 = 1 << 0  # of usbredir, ports and webdav

MECHANISM_SPICE, MECHANISM_SASL = 1, 2
HEADER, MESS, REPLY = struct.Struct("<4sIII"), struct.Struct("<IBBIII"), struct.Struct("<I162sIII")
TICKET_SIZE = 128
OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)

MSG_MAIN_INIT = 103
DISPLAY_INIT = 101
NOTIFY, SEVERITY_ERROR, VISIBILITY_HIGH = 7, 2, 2
INIT_SIZE = 32


class Ended(Exception):
    """The peer closed before all that was waited for came; what did come is in it."""


@dataclass
class Link:
    """A link message as it was sent, or as it is to be sent."""

    channel_type: int = MAIN
    channel_id: int = 0
    connection_id: int = 0
    common: tuple = (STOCK_CLIENT,)
    channel: tuple = ()
    magic: bytes = b"REDQ"
    major: int = 2
    minor: int = 2
    # Left out, these are what is true.
    size: int | None = None
    common_count: int | None = None
    channel_count: int | None = None
    caps_offset: int = MESS.size
    after: bytes = b""  # more bytes of the body, behind the capabilities

    def pack(self) -> bytes:
        def given(value, otherwise):
            return otherwise if value is None else value

        words = (*self.common, *self.channel)
        body = MESS.pack(self.connection_id, self.channel_type, self.channel_id,
                         given(self.common_count, len(self.common)),
                         given(self.channel_count, len(self.channel)), self.caps_offset)
        body += struct.pack(f"<{len(words)}I", *words) + self.after
        return HEADER.pack(self.magic, self.major, self.minor,
                           given(self.size, len(body))) + body

    @classmethod
    def unpack(cls, header: bytes, body: bytes) -> "Link":
        magic, major, minor, size = HEADER.unpack(header)
        connection, kind, number, common, channel, offset = MESS.unpack(body[:MESS.size])
        words = struct.unpack_from(f"<{common + channel}I", body, offset)
        return cls(kind, number, connection, words[:common], words[common:], magic, major, minor,
                   size, common, channel, offset)


@dataclass
class LinkReply:
    error: int
    key: bytes = bytes(162)
    common: tuple = (STOCK_SERVER,)
    channel: tuple = ()

    def pack(self) -> bytes:
        words = (*self.common, *self.channel)
        body = REPLY.pack(self.error, self.key, len(self.common), len(self.channel), REPLY.size)
        body += struct.pack(f"<{len(words)}I", *words)
        return HEADER.pack(b"REDQ", 2, 2, len(body)) + body


def message(kind: int, body: bytes = b"") -> bytes:
    """A message behind its mini header."""
    return struct.pack("<HI", kind, len(body)) + body


def init(session_id: int) -> bytes:
    """Main's first message, which tells the client its connection id."""
    return message(MSG_MAIN_INIT, struct.pack("<8I", session_id, 0, 1, 1, 0, 10, 0, 0))


def seal(key: bytes, password: bytes) -> bytes:
    """What a client sends after the link reply: the mechanism and the ticket."""
    public = serialization.load_der_public_key(key)
    return struct.pack("<I", MECHANISM_SPICE) + public.encrypt(password, OAEP)


class Wire:
    """A connected socket that reads whole things, with patience. One thread may send while another
    reads, which a TLS socket of Python's does not bear by itself: so no two calls at once, and the
    waiting is done between them."""

    patience = PATIENCE  # seconds of silence

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.sock.settimeout(self.patience)
        self.kept = b""
        self._one_at_a_time = threading.Lock()

    def _patiently(self, call, awaited: int):
        while True:
            with self._one_at_a_time:
                self.sock.settimeout(0)
                try:
                    return call()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError) as wants:
                    if isinstance(wants, ssl.SSLWantReadError):
                        awaited = select.POLLIN
                    elif isinstance(wants, ssl.SSLWantWriteError):
                        awaited = select.POLLOUT
                finally:
                    self.sock.settimeout(self.patience)
            poll = select.poll()
            poll.register(self.sock, awaited)
            if not poll.poll(self.patience * 1000):
                raise TimeoutError("timed out")

    def send(self, data: bytes):
        rest = memoryview(data)
        while rest:
            # All of the rest each time: TLS wants no less than what it was last offered.
            rest = rest[self._patiently(lambda: self.sock.send(rest), select.POLLOUT):]

    def _receive(self) -> bytes:
        try:
            return self._patiently(lambda: self.sock.recv(1 << 18), select.POLLIN)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def read(self, count: int) -> bytes:
        parts, have = [self.kept], len(self.kept)
        while have < count:
            more = self._receive()
            if not more:
                self.kept = b"".join(parts)
                raise Ended(self.kept)
            parts.append(more)
            have += len(more)
        data = b"".join(parts)
        self.kept = data[count:]
        return data[:count]

    def rest(self) -> bytes:
        """All that comes until the peer ends the connection."""
        parts = [self.kept]
        self.kept = b""
        while more := self._receive():
            parts.append(more)
        return b"".join(parts)

    def message(self) -> tuple[int, bytes]:
        kind, size = struct.unpack("<HI", self.read(6))
        return kind, self.read(size)

    def leave(self):
        """An end in good order. (Closing with bytes unread, such as TLS tickets, is a reset.)"""
        self.sock.shutdown(socket.SHUT_WR)
        self.rest()
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """An end that the peer's system calls an error."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def notice(wire: Wire) -> tuple[int, str]:
    """The next message, which must be a NOTIFY: its severity and its text."""
    kind, body = wire.message()
    assert kind == NOTIFY
    time, severity, visibility, what, size = struct.unpack_from("<QIIII", body)
    assert (visibility, what) == (VISIBILITY_HIGH, 0) and time > 0
    assert len(body) == 24 + size + 1 and body[-1] == 0
    return severity, body[24:-1].decode()


def last_notice(wire: Wire) -> str:
    """A NOTIFY of an error, and then the end."""
    severity, text = notice(wire)
    assert severity == SEVERITY_ERROR
    assert wire.rest() == b""
    return text


_sources = itertools.count(1)


def own_address() -> str:
    """An address of the loopback network for one client alone, by which the audit tells it from
    all others."""
    n = next(_sources)
    return f"127.{1 + n // 62500}.{n // 250 % 250}.{1 + n % 250}"


class Client(Wire):
    """A client's end of one connection. tls None: in clear."""

    opened: list["Client"] = []  # for whoever tidies up after a test

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None, *,
                 source: str | None = None):
        self.source = source or ("::1" if ":" in address[0] else own_address())
        sock = socket.create_connection(address, PATIENCE, source_address=(self.source, 0))
        super().__init__(sock)
        Client.opened.append(self)
        if tls:
            self.sock = tls.wrap_socket(sock, server_hostname=address[0])

    def reply(self) -> LinkReply:
        """Reads a link reply, which must be well-formed whatever it says."""
        magic, major, minor, size = HEADER.unpack(self.read(HEADER.size))
        assert (magic, major, minor) == (b"REDQ", 2, 2)
        assert REPLY.size <= size <= 4096
        body = self.read(size)
        error, key, common, channel, offset = REPLY.unpack(body[:REPLY.size])
        assert offset == REPLY.size and size == REPLY.size + 4 * (common + channel)
        words = struct.unpack_from(f"<{common + channel}I", body, REPLY.size)
        return LinkReply(error, key, words[:common], words[common:])

    def hello(self, link: Link = Link()) -> LinkReply:
        self.send(link.pack())
        return self.reply()

    def result(self) -> int:
        return struct.unpack("<I", self.read(4))[0]

    def link(self, token: str, link: Link = Link()) -> int:
        """The whole link; the code that ends it."""
        reply = self.hello(link)
        if reply.error:
            return reply.error
        self.send(seal(reply.key, token.encode() + b"\0"))
        return self.result()


class Leg(Wire):
    """A server's end of one connection."""

    def __init__(self, sock, server: "Server"):
        super().__init__(sock)
        self.server = server
        self.link: Link | None = None
        self.password: str | None = None

    def read_link(self) -> Link:
        header = self.read(HEADER.size)
        if header[:4] != b"REDQ":
            self.send(LinkReply(INVALID_MAGIC, common=()).pack())
            raise Ended(header)
        self.link = Link.unpack(header, self.read(HEADER.unpack(header)[3]))
        return self.link

    def read_ticket(self) -> str:
        mechanism = struct.unpack("<I", self.read(4))[0]
        assert mechanism == MECHANISM_SPICE
        self.password = self.server.key.decrypt(self.read(TICKET_SIZE), OAEP).decode().rstrip("\0")
        return self.password

    def answer(self, reply: LinkReply | None = None, result: int | None = None):
        """The whole link as a server does it; stops where it says no."""
        self.read_link()
        reply = reply or LinkReply(OK, self.server.public_key)
        self.send(reply.pack())
        if reply.error:
            raise Ended(b"")
        self.read_ticket()
        if result is None:
            result = OK if self.password == self.server.ticket else PERMISSION_DENIED
        self.send(struct.pack("<I", result))
        if result != OK:
            raise Ended(b"")
        if self.link.channel_type == MAIN:
            self.send(init(next(self.server.session_ids)))


def keep(leg: Leg):
    """What a server does when nothing else is said: links, and gives the leg to the test."""
    leg.answer()
    return True


_keys: list = []


@dataclass
class Server:
    """A SPICE server. `behave` is called for each connection, on a thread of its own; when it
    returns true the leg goes to `take`, else it is closed."""

    ticket: str = "sesame"
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    path: str | None = None  # a unix socket in place of a port
    behave: object = keep
    legs: queue.Queue = field(default_factory=queue.Queue)

    def __post_init__(self):
        if not _keys:
            key = rsa.generate_private_key(65537, 1024)
            _keys.append((key, key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)))
        self.key, self.public_key = _keys[0]
        self.session_ids = itertools.count(0x1001)
        self._open: set[Leg] = set()
        self._lock = threading.Lock()
        if self.path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(self.path)
            self.socket.listen(128)
            self.port = None
        else:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            self.socket = socket.create_server((self.host, 0), family=family, backlog=1024)
            self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        leg = None
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            leg = Leg(sock, self)
            with self._lock:
                self._open.add(leg)
            if self.behave(leg):
                self.legs.put(leg)
                return
        except (Ended, OSError):
            pass
        (leg or sock).close()
        with self._lock:
            self._open.discard(leg)

    def take(self) -> Leg:
        """The next leg that is linked."""
        return self.legs.get(timeout=PATIENCE)

    def stop(self):
        # shutdown wakes the thread in accept; close alone would leave it there.
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        with self._lock:
            legs = list(self._open)
        for leg in legs:
            leg.close()
