"""The API over TLS, as a client outside sees it, and its description."""

import http.client
import json
import socket
import ssl
import urllib.parse

import jsonschema
from common.process import PATIENCE
from daemon import Kerbside

# What a fresh connection may begin with so that it is taken for HTTP.
SNIFFED = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")


class Answer:
    def __init__(self, response: http.client.HTTPResponse):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.closes = response.will_close

    @property
    def type(self) -> str:
        return self.headers.get_content_type() if self.headers.get("Content-Type") else ""

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.type} {self.body[:300]!r}"


class Api:
    """One connection, made anew when the daemon has said that it closes it. It writes what it is
    told, also what no client should."""

    def __init__(self, kerbside: Kerbside, token: str | None = None, source: str | None = None):
        """source: the address to come from."""
        self.source = (source, 0) if source else None
        self.address, self.tls, self.token = kerbside.address, kerbside.client_tls(), token
        self.sock: ssl.SSLSocket | None = None

    def send(self, method: str, target: str | bytes, body: bytes | None = None,
             headers: dict | None = None) -> Answer:
        lines = {"Host": "localhost", **(headers or {})}
        if self.token and "Authorization" not in lines:
            lines["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            lines.setdefault("Content-Length", len(body))
        target = target if isinstance(target, bytes) else target.encode()
        head = method.encode() + b" " + target + b" HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1") + b"\r\n"
        if not self.sock and method not in SNIFFED:
            self.send("GET", "/healthz")  # so that the port knows that this is HTTP
        if not self.sock:
            raw = socket.create_connection(self.address, PATIENCE, self.source)
            self.sock = self.tls.wrap_socket(raw, server_hostname=self.address[0])
        try:
            self.sock.sendall(head + (body or b""))
        except (ConnectionError, ssl.SSLError):
            pass  # the answer may be there all the same
        response = http.client.HTTPResponse(self.sock, method=method)
        response.begin()
        answer = Answer(response)
        if answer.closes:
            self.close()
        return answer

    def ask(self, method: str, target: str, wish=None, headers: dict | None = None) -> Answer:
        headers = dict(headers or {})
        if wish is not None:
            headers.setdefault("Content-Type", "application/json")
        return self.send(method, target, None if wish is None else json.dumps(wish).encode(),
                         headers)

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None


class Operation:
    """One method of one path of the description."""

    def __init__(self, document: "Document", path: str, method: str, raw: dict):
        self.document, self.path, self.method, self.raw = document, path, method.upper(), raw
        self.open = raw.get("security") == []
        self.parameters = [document.resolve(p) for p in raw.get("parameters", [])]
        body = raw.get("requestBody")
        self.wish = body["content"]["application/json"]["schema"] if body else None

    def __repr__(self):
        return f"{self.method} {self.path}"

    @property
    def statuses(self) -> set[int]:
        return {int(status) for status in self.raw["responses"]}

    def query(self) -> list[dict]:
        return [p for p in self.parameters if p["in"] == "query"]

    def fields(self) -> dict:
        return self.document.resolve(self.wish)["properties"] if self.wish else {}

    def target(self, **values: str) -> str:
        path = self.path
        for p in self.parameters:
            if p["in"] == "path":
                value = urllib.parse.quote(values.get(p["name"], "nothing"), safe="")
                path = path.replace("{%s}" % p["name"], value)
        return path

    def check(self, answer: Answer):
        """The answer is one of those that are described."""
        assert answer.status in self.statuses, f"{self}: {answer}"
        response = self.document.resolve(self.raw["responses"][str(answer.status)])
        for name in response.get("headers", {}):
            if name == "X-Grant-Id" and answer.type == "application/json":
                continue  # the id is in the body
            assert name in answer.headers, f"{self}: {answer}: no {name}"
        content = response.get("content")
        if not content:
            assert answer.body == b"" and not answer.type, f"{self}: {answer}"
            return
        assert answer.type in content, f"{self}: {answer}"
        if answer.type == "application/json":
            self.document.validate(answer.json(), content[answer.type]["schema"], f"{self}")
        else:
            answer.body.decode()


class Document:
    def __init__(self, raw: dict):
        self.raw = raw
        self.resolver = jsonschema.RefResolver("", raw)
        self.operations = [Operation(self, path, method, operation)
                           for path, methods in raw["paths"].items()
                           for method, operation in methods.items()]

    def resolve(self, value: dict) -> dict:
        while "$ref" in value:
            value = self.resolver.resolve(value["$ref"])[1]
        return value

    def validate(self, value, schema: dict, what: str):
        checker = jsonschema.Draft202012Validator(
            schema, resolver=self.resolver, format_checker=jsonschema.FormatChecker())
        problems = [f"{'/'.join(map(str, e.absolute_path))}: {e.message}"
                    for e in checker.iter_errors(value)]
        assert not problems, f"{what}: {problems}"
