"""An HTTPS server for stand-ins of other people's services: it runs on a thread, counts and keeps what
it was asked, and can be told to misbehave the way networks and busy servers do."""

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

    def json(self):
        return json.loads(self.body)

    def form(self):
        return dict(urllib.parse.parse_qsl(self.body.decode()))


@dataclass
class Answer:
    status: int
    body: object = None  # bytes as they are; else JSON; None: empty
    headers: dict = field(default_factory=dict)


class Service:
    """Subclasses answer requests in `handle`. `trouble` is what is wrong for now, one of

    None, "500", "503", "nonsense" (no JSON), "empty", "cut" (less than was announced), "huge",
    "hang" (no answer until `release`), "drop" (closed without an answer), "elsewhere" (a redirect to
    another host). `where` limits it to paths that contain it.
    """

    def __init__(self, tls: ssl.SSLContext | None):
        self.requests: list[Request] = []
        self.trouble, self.where = None, ""
        self._release = threading.Event()
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
                                  self.rfile.read(length))
                service.requests.append(request)
                answer = service._answer(request)
                if answer is None:
                    self.close_connection = True
                    return
                body = answer.body
                if body is None:
                    body = b""
                elif not isinstance(body, bytes):
                    body = json.dumps(body).encode()
                    answer.headers.setdefault("Content-Type", "application/json")
                cut = service._troubled(request) == "cut"
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) + (10 if cut else 0)))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = self.close_connection or cut

            do_GET = do_POST = do_HEAD = do_DELETE = _serve

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                sock, address = super().get_request()
                return sock, address

            def finish_request(self, request, address):
                if tls:
                    request.settimeout(30)
                    request = tls.wrap_socket(request, server_side=True)
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

    def _troubled(self, request):
        return self.trouble if self.where in request.path else None

    def _answer(self, request) -> Answer | None:
        match self._troubled(request):
            case "500" | "503" as status:
                return Answer(int(status), {"error": {"code": int(status), "title": "Trouble",
                                                      "message": "trouble was asked for"}})
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
        self.trouble, self.where = None, ""
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
