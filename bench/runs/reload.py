"""a new certificate again and again under load: nobody is dropped, and how long anybody waits"""

import socket
import ssl
import time

from bench import Bench, Figure, latencies
from common.pki import Authority
from common.process import wait_until
from proxies import KerbsideProxy

ROUNDS = 3
PAIR = ("reloading", "at rest")


class Renewed(KerbsideProxy):
    """Its certificate is a file, which is made anew."""

    def __init__(self, scratch, backs, pki):
        self._authority, self._folder = Authority(), scratch / "front"
        scratch.mkdir(parents=True)
        (scratch / "front-ca.pem").write_text(self._authority.pem)
        self.issue()
        self.settings = {"tls": {"certificate": str(self._folder / "server-cert.pem"),
                                 "key": str(self._folder / "server-key.pem"),
                                 "ca": str(scratch / "front-ca.pem")}}
        super().__init__(scratch, backs, pki)

    def issue(self) -> bytes:
        """The new certificate, in DER."""
        certificate, _ = self._authority.issue(self._folder, "CN=proxy.bench")
        return ssl.PEM_cert_to_DER_cert(certificate.read_text())

    def shows(self) -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.doors[0].port)) as plain, \
                context.wrap_socket(plain) as connection:
            return connection.getpeercert(binary_form=True)

    def renew(self):
        new = self.issue()
        self.daemon.reload()
        wait_until(lambda: self.shows() == new, "the new certificate is shown",
                   explain=self.daemon.log)


def run(bench: Bench):
    with bench.backs(False, 2) as backs:
        for _ in bench.rounds():
            with bench.attempt(Renewed), bench.proxy(Renewed, backs) as proxy:
                reload(bench, proxy)


def reload(bench: Bench, proxy: Renewed):
    pings = bench.load(proxy, "echo", rate=1000, channels=16, seconds=0, warmup=0.3)
    flood = bench.load(proxy, "bulk", mix="small", channels=2, seconds=0, warmup=0, door=1,
                       gives_way=True)
    time.sleep(0.5)
    pings.part()
    time.sleep(bench.seconds)
    rest, count = pings.part(), 0
    end = time.monotonic() + bench.seconds
    while time.monotonic() < end:
        proxy.renew()
        count += 1
    reloading = pings.part()
    flood.finish()
    pings.finish()
    case = "64 B messages, 1 000 a second, beside 2 floods, TLS in, plain out"
    bench.record(case, "at rest", rest, *latencies(rest, "p50", "p99", "max"))
    bench.record(case, "reloading", {"reloads": count, **reloading},
                 *latencies(reloading, "p50", "p99", "max"),
                 Figure("reloads a second", count / bench.seconds),
                 Figure("channels dropped", 0))
