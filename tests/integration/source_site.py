"""A kerbside with one source, whose cloud is a stand-in: what the tests of such sources share."""

import json
import re

import yaml
from common.pki import Authority
from common.process import wait_until
from daemon import ROOT, Kerbside
from session import Session
from spice import OK, Client, Server


class SourceSite:
    """Subclasses say what the source is called, make its `cloud`, and write its `config`. `web` is
    the machine that is meant where no other is named."""

    name: str
    web = None

    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority("O=Cloud,CN=Cloud CA")
        self.tls = self.authority.server_context(folder / "api", "CN=localhost")
        self.behind = self.make_server()
        self.cloud = self.make_cloud()
        self.kerbside = Kerbside(folder / "kerbside", [self.config()],
                                 env={"NO_PROXY": "localhost"})

    def make_server(self) -> Server:
        """The SPICE server behind the cloud's machines."""
        return Server()

    def make_cloud(self):
        raise NotImplementedError

    def config(self, **more) -> dict:
        raise NotImplementedError

    def settings(self, **more):
        """Another configuration of the source for a while."""
        return self.kerbside.settings(sources=[self.config(**more)])

    def _source(self, method: str, path="") -> dict:
        return json.loads(self.kerbside.ask(method, f"/api/v1/sources/{self.name}{path}")[1])

    def state(self) -> dict:
        return self._source("GET")

    def refresh(self) -> dict:
        return self._source("POST", "/refresh")

    def check(self) -> list[dict]:
        return self._source("POST", "/check")["steps"]

    def consoles(self) -> dict:
        """By uuid."""
        return {c["uuid"]: c for c in self.kerbside.items("/api/v1/consoles")}

    def names(self) -> set:
        return {c["name"] for c in self.consoles().values()}

    def listed(self, *names):
        wait_until(lambda: self.names() == set(names), f"the list is {names}",
                   explain=lambda: f"{self.names()}\n{self.kerbside.last_words()}")

    def open(self, uuid: str | None = None, **more) -> Session:
        return Session(self.kerbside, self.behind, uuid or self.web.uuid, source_name=self.name,
                       **more)

    def denied(self, uuid: str | None = None) -> dict:
        """Opening it comes to nothing: the audit's event."""
        mark = self.kerbside.mark()
        client = Client(self.kerbside.address, self.kerbside.client_tls())
        code = client.link(self.kerbside.grant(uuid or self.web.uuid, self.name).token)
        client.close()
        assert code != OK
        return {**self.kerbside.wait_audit("channel.refused", mark), "code": code}

    def page_example(self) -> dict:
        """The source that its page under docs/sources/ shows, as far as it fits here."""
        page = (ROOT / f"docs/sources/{self.config()['type']}.md").read_text()
        block = "\n".join(line[4:] for line in
                          re.search(r"\n((?:    .*\n)+)", page)[1].splitlines())
        (example,) = yaml.safe_load(block)["sources"]
        return {**example, "ca_cert": self.authority.pem, "url": self.cloud.url}

    def stop(self):
        self.cloud.release()
        self.kerbside.stop()
        self.cloud.stop()
        self.behind.stop()
