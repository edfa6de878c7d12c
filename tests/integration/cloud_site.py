"""What the tests of the clouds' stand-ins share: a place where they run, and an HTTP client that is
nothing but Python's own."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request

import pytest
from common.pki import Authority
from common.process import PATIENCE

FORM = "application/x-www-form-urlencoded"


class _Plain(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


class Reply:
    def __init__(self, answer):
        self.status, self.headers, self.reason = answer.status, answer.headers, answer.reason
        self.body = answer.read()

    @property
    def json(self):
        return json.loads(self.body)


class Asker:
    """An HTTP client that sends these headers with everything."""

    def __init__(self, tls: ssl.SSLContext, url: str, **headers):
        self.url = url
        self.headers = {k.replace("_", "-"): v for k, v in headers.items()}
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls), _Plain)

    def __call__(self, method: str, path: str, body=None, **headers) -> Reply:
        sent = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=sent)
        try:
            with self._opener.open(request, timeout=PATIENCE) as answer:
                return Reply(answer)
        except urllib.error.HTTPError as refusal:
            return Reply(refusal)


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority("O=Cloud,CN=Cloud CA")
        self.context = self.authority.server_context(folder / "tls", "CN=localhost")
        self.tls = ssl.create_default_context(cadata=self.authority.pem)
        self.ends = []

    def keep(self, thing):
        self.ends.append(thing)
        return thing

    def ask(self, service, **headers) -> Asker:
        return Asker(self.tls, service.url, **headers)

    def stop(self):
        for thing in self.ends:
            thing.stop()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.stop()


def form(**fields) -> bytes:
    return urllib.parse.urlencode(fields).encode()
