"""A client of kerbside's web door, with or without a browser's cookies."""

import http.client
import json
from http.cookies import SimpleCookie

from common.process import PATIENCE, wait_until


class Reply:
    def __init__(self, answer):
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


class Web:
    def __init__(self, kerbside, source="127.0.0.1"):
        self.kerbside, self.source = kerbside, source
        self.tls = kerbside.client_tls()
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, body=None, token=None, headers=None) -> Reply:
        host, port = self.kerbside.address
        connection = http.client.HTTPSConnection(host, port, context=self.tls, timeout=PATIENCE * 2,
                                                 source_address=(self.source, 0))
        sent = dict(headers or {})
        if body is not None:
            body = json.dumps(body)
            sent["Content-Type"] = "application/json"
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        try:
            connection.request(method, path, body=body, headers=sent)
            reply = Reply(connection.getresponse())
        finally:
            connection.close()
        for line in reply.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return reply

    def login(self, **body) -> Reply:
        return self.ask("POST", "/api/v1/login", body)


def why_failed(kerbside, reply: Reply) -> str:
    """What the log has about a login that failed for its provider's sake."""
    request = reply.headers["X-Request-Id"]
    return wait_until(lambda: [line for line in kerbside.log("login.provider_failed")
                               if line["request_id"] == request],
                      "the log says why the provider failed")[0]["detail"]
