"""An HTTPS server for stand-ins of other people's services: it runs on a thread, counts and keeps what
it was asked, and can be told to misbehave the way networks and busy servers do."""

import gzip
import http.server
import json
import ssl
import threading
import urllib.parse
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    path: str
    query: dict
    headers: dict  # lower-case names
    body: bytes
    peer: str | None = None  # the common name of the client's certificate

    def json(self):
        return json.loads(self.body)

    def form(self):
        return dict(urllib.parse.parse_qsl(self.body.decode()))


@dataclass
class Answer:
    status: int
    body: object = None  # bytes as they are; else JSON; None: empty; an iterator: pieces, chunked
    headers: dict = field(default_factory=dict)
    take: object = None  # takes the connection over after the headers: take(socket)
    reason: str | None = None  # of the status line


def common_name(connection) -> str | None:
    """Of the certificate that the other end of a TLS connection showed."""
    certificate = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    names = dict(pair for part in (certificate or {}).get("subject", ()) for pair in part)
    return names.get("commonName")


class Service:
    """Subclasses answer requests in `handle`. `trouble` is what is wrong for now, one of

    None, "500", "503", "429" (these two with Retry-After), "401", "nonsense" (no JSON), "empty",
    "cut" (less than was announced), "huge", "hang" (no answer until `release`), "drop" (closed
    without an answer), "elsewhere" (a redirect to another host), "slow" (the body comes byte by byte
    until `release`), "chunked", "gzip" (the true answer, in those encodings; the latter only for
    clients that accept it). `where` limits it to paths that contain it, `times` to so many requests.

    `alter`, if set, is called with every request and its JSON answer's body and returns the body
    that goes out: see nulls, without, as_text and as_odd. A service that was made with TLS may be
    given another `tls` while it runs, for connections to come.
    """

    def __init__(self, tls: ssl.SSLContext | None):
        self.requests: list[Request] = []
        self.trouble, self.where, self.times, self.alter = None, "", None, None
        self.retry_after = 1
        self.tls = tls
        self._release = threading.Event()
        self._lock = threading.Lock()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def _serve(self):
                length = int(self.headers.get("Content-Length") or 0)
                url = urllib.parse.urlsplit(self.path)
                request = Request(self.command, url.path, dict(urllib.parse.parse_qsl(url.query)),
                                  {k.lower(): v for k, v in self.headers.items()},
                                  self.rfile.read(length), common_name(self.connection))
                service.requests.append(request)
                trouble = service._trouble_now(request)
                answer = service._answer(request, trouble)
                if answer is None:
                    self.close_connection = True
                    return
                self._send(request, answer, trouble)

            def _send(self, request: Request, answer: Answer, trouble: str | None):
                body = answer.body
                if body is None:
                    body = b""
                elif isinstance(body, (dict, list)):
                    if service.alter:
                        body = service.alter(request, body)
                    body = json.dumps(body).encode()
                    answer.headers.setdefault("Content-Type", "application/json")
                pieces = None if isinstance(body, bytes) else body
                if trouble == "gzip" and "gzip" in request.headers.get("accept-encoding", ""):
                    body = gzip.compress(body)
                    answer.headers["Content-Encoding"] = "gzip"
                elif trouble == "chunked":
                    pieces = (body[i:i + 7] for i in range(0, len(body), 7))
                cut = trouble == "cut"
                self.send_response(answer.status, answer.reason)
                for name, value in answer.headers.items():
                    self.send_header(name, str(value))
                if answer.take:
                    self.end_headers()
                    self.close_connection = True
                    answer.take(self.connection)
                    return
                if pieces is not None:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for piece in pieces:
                        if piece:
                            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.wfile.write(b"0\r\n\r\n")
                    return
                self.send_header("Content-Length", str(len(body) + (10 if cut else 0)))
                self.end_headers()
                if self.command != "HEAD":
                    self._write(body, slow=trouble == "slow")
                self.close_connection = self.close_connection or cut

            def _write(self, body: bytes, slow: bool):
                sent, release = 0, service._release
                while slow and sent < len(body) and not release.wait(0.05):
                    self.wfile.write(body[sent:sent + 1])
                    sent += 1
                self.wfile.write(body[sent:])

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _serve

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                sock, address = super().get_request()
                return sock, address

            def finish_request(self, request, address):
                if tls:
                    request.settimeout(30)
                    request = service.tls.wrap_socket(request, server_side=True)
                try:
                    super().finish_request(request, address)
                finally:
                    if tls:
                        request.close()

            def handle_error(self, request, address):
                pass  # clients that do not like the certificate, or leave

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever,
                                        kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def _trouble_now(self, request) -> str | None:
        with self._lock:
            if not self.trouble or self.where not in request.path:
                return None
            trouble = self.trouble
            if self.times is not None:
                self.times -= 1
                if self.times <= 0:
                    self.trouble = self.times = None
            return trouble

    def fault(self, status: int, message: str) -> Answer:
        """An error in the shape of this service."""
        return Answer(status, {"error": {"code": status, "title": "Trouble", "message": message}})

    def _answer(self, request, trouble) -> Answer | None:
        match trouble:
            case "500" | "401" as status:
                return self.fault(int(status), "trouble was asked for")
            case "503" | "429" as status:
                answer = self.fault(int(status), "trouble was asked for")
                answer.headers["Retry-After"] = self.retry_after
                return answer
            case "nonsense":
                return Answer(201 if request.method == "POST" else 200, b"<html>proxy login</html>",
                              {"Content-Type": "text/html", "X-Subject-Token": "x"})
            case "list":
                return Answer(201 if request.method == "POST" else 200, ["not", "an", "object"])
            case "empty":
                return Answer(201 if request.method == "POST" else 200)
            case "huge":
                return Answer(200, b"[" + b" " * (2 << 20) + b"]")
            case "hang":
                self._release.wait(60)
                return None
            case "drop":
                return None
            case "elsewhere":
                return Answer(302, b"", {"Location": "https://127.0.0.2:1/"})
        return self.handle(request)

    def handle(self, request: Request) -> Answer:
        raise NotImplementedError

    def reset(self):
        self.trouble, self.where, self.times, self.alter = None, "", None, None
        self.release()
        self._release = threading.Event()
        self.requests.clear()

    def release(self):
        self._release.set()

    def count(self, path: str) -> int:
        return sum(path in request.path for request in self.requests)

    def stop(self):
        self.release()
        self._server.shutdown()
        self._server.server_close()


def _each(value, change):
    """Calls change for every object inside a JSON value, itself included."""
    if isinstance(value, dict):
        for inner in value.values():
            _each(inner, change)
        change(value)
    elif isinstance(value, list):
        for inner in value:
            _each(inner, change)


def _alterer(names, change, where=""):
    def alter(request: Request, body):
        if where not in request.path:
            return body
        body = json.loads(json.dumps(body))
        _each(body, lambda o: [change(o, name) for name in names if name in o])
        return body

    return alter


def nulls(*names, where=""):
    """For `alter`: members of these names are null, wherever they are."""
    return _alterer(names, lambda o, name: o.update({name: None}), where)


def without(*names, where=""):
    """For `alter`: members of these names are absent."""
    return _alterer(names, lambda o, name: o.pop(name), where)


def as_text(*names, where=""):
    """For `alter`: members of these names are strings (numbers, true and false written out)."""
    return _alterer(names, lambda o, name: o.update({name: json.dumps(o[name]).strip('"')}), where)


def as_odd(value, *names, where=""):
    """For `alter`: members of these names have this value, which fits nothing."""
    return _alterer(names, lambda o, name: o.update({name: value}), where)


# Names that people, or people who wish ill, can give to a virtual machine.
HOSTILE_NAMES = (
    "büro-ø-桌面", "two\nlines", "return\r[virt-viewer]", "100%n%s", "a]b[c", "semi;colon=equals",
    "<script>alert(1)</script>", '"quoted"', "\u202eevil", "tab\there", " ", "x" * 255,
    "../../etc/passwd",
)
# Names that are no text at all: strict parsers refuse the whole answer that holds one.
IMPOSSIBLE_NAMES = ("nul\u0000byte", "\ud800")
