"""The life of the daemon: start, reload, drain, sudden death, and what a service manager sees."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from common.pki import Authority
from common.process import PATIENCE, wait_until
from conftest import console
from daemon import Kerbside, binary
from session import Session
from spice import DISPLAY, OK, PERMISSION_DENIED, Client, Link, Server, last_notice


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def make(tmp_path, server):
    """Makes daemons whose only console is on the server, and ends them."""
    made = []

    def make(**options):
        options.setdefault("sources", [{"source": "lab", "type": "static", "tls": "plain",
                                        "consoles": [console("desk", server)]}])
        made.append(Kerbside(tmp_path / f"kerbside-{len(made)}", **options))
        return made[-1]

    yield make
    for kerbside in made:
        kerbside.stop()


def can_connect(address) -> bool:
    try:
        socket.create_connection(address, PATIENCE).close()
        return True
    except ConnectionRefusedError:
        return False


def no_errors(kerbside):
    assert not [line for line in kerbside.log() if line.get("level") == "error"]


# ---- start ----

def test_start_and_stop(make):
    kerbside = make()
    assert kerbside.drain() == 0
    events = [line["event"] for line in kerbside.log()]
    assert events.index("daemon.started") < events.index("daemon.stopped")
    no_errors(kerbside)


def test_what_it_made_at_the_first_start_stays(make):
    kerbside = make()
    files = {path: path.read_bytes() for path in kerbside.state_dir.iterdir()
             if path.suffix == ".pem"}
    password = (kerbside.state_dir / "initial-admin-password").read_text()
    assert files
    for path in kerbside.state_dir.iterdir():
        assert path.stat().st_mode & 0o077 == 0 or path.name in ("ca.pem", "server.pem"), path
    kerbside.drain()
    kerbside.start()
    assert all(path.read_bytes() == text for path, text in files.items())
    assert (kerbside.state_dir / "initial-admin-password").read_text() == password


@pytest.mark.parametrize("wrong", [
    {"listen": [{"address": "127.0.0.1:0", "accept": ["telnet"]}]},
    {"nonsense": 1}, {"timeouts": {"setup": "soon"}}, {"store": {"url": "mysql:x"}},
])
def test_a_wrong_configuration_is_no_start(make, wrong):
    kerbside = make(started=False, **wrong)
    kerbside.start(ready=False)
    assert kerbside.process.wait() == 2
    for word in ("config.problem", "daemon.failed"):  # log.format is not known yet
        assert word in kerbside.process.log()
    checked = subprocess.run([binary(), "check", "-c", kerbside.config_path],
                             capture_output=True, text=True)
    assert checked.returncode == 2
    assert next(iter(wrong)) in checked.stderr


def test_an_address_that_is_taken(make):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        kerbside = make(started=False, listen=[{"address": address}])
        kerbside.start(ready=False)
        assert kerbside.process.wait() == 2
        assert "in use" in kerbside.log("daemon.failed")[0]["detail"]


def test_one_daemon_on_a_state(make):
    kerbside = make()
    second = make(started=False, state_dir=str(kerbside.state_dir))
    second.start(ready=False)
    assert second.process.wait() == 2
    assert "another kerbside" in second.log("daemon.failed")[0]["detail"]
    assert kerbside.is_ready()


# ---- sudden death ----

def test_killed_and_started_again(make, server):
    kerbside = make()
    grant = kerbside.grant("desk")
    with Session(kerbside, server) as one, Session(kerbside, server) as two:
        one.channel(DISPLAY).exchange()
        two.main.exchange()
        ids = {one.id, two.id}
        kerbside.process.kill()
        for session in (one, two):
            for channel in session.channels:
                assert channel.client.rest() == b""
    kerbside.start()
    ends = kerbside.audit("session.ended")
    assert {e["session_id"] for e in ends} == ids
    assert {e["reason"] for e in ends} == {"node_restarted"}
    assert kerbside.sessions() == []
    # Their tokens have had their session; one that had not begun is still good.
    client = Client(kerbside.address, kerbside.client_tls())
    assert client.link(one.token) == PERMISSION_DENIED
    client.close()
    with Session(kerbside, server, token=grant.token) as session:
        session.main.exchange()
    # And it is said once.
    kerbside.drain()
    kerbside.start()
    assert len(kerbside.audit("session.ended", reason="node_restarted")) == 2


# ---- reload ----

def test_a_good_reload_disturbs_nobody(make, server):
    kerbside = make()
    with Session(kerbside, server) as session:
        fds = kerbside.footprint().fds
        for _ in range(5):
            kerbside.reload()
            session.main.exchange()
        session.channel(DISPLAY).exchange()
        wait_until(lambda: kerbside.footprint().fds <= fds + 2, "no descriptor is lost",
                   explain=lambda: "\n".join(kerbside.open_files()))
        assert len(kerbside.log("listener.opened")) == 1
    no_errors(kerbside)


@pytest.mark.parametrize("wrong", [
    {"nonsense": 1}, {"timeouts": {"setup": "soon"}}, {"sources": "/nowhere/sources.yaml"},
    {"listen": [{"address": "192.0.2.77:1"}]},
    {"tls": {"certificate": "/nowhere/c.pem", "key": "/nowhere/k.pem"}},
])
def test_a_bad_reload_changes_nothing(make, server, wrong):
    kerbside = make()
    before = dict(kerbside.configuration)
    with Session(kerbside, server) as session:
        row = kerbside.reload(expect="config.rejected", **wrong)
        assert row["detail"]
        session.channel(DISPLAY).exchange()
        with Session(kerbside, server) as other:
            other.main.exchange()
        assert not kerbside.audit("config.reloaded")
        kerbside.configuration = before
        kerbside.reload()
        session.main.exchange()


def test_a_file_that_is_no_yaml(make, server):
    kerbside = make()
    mark = kerbside.mark()
    kerbside.config_path.write_text("listen: [")
    kerbside.process.signal(signal.SIGHUP)
    kerbside.wait_audit("config.rejected", mark)
    wait_until(lambda: kerbside.log("config.problem"), "the log says what is wrong")
    with Session(kerbside, server) as session:
        session.main.exchange()


def test_listeners_come_and_go(make, server):
    kerbside = make()
    tls = kerbside.client_tls()
    first = kerbside.address
    with Session(kerbside, server) as session:
        kerbside.reload(listen=[*kerbside.configuration["listen"],
                                {"address": "127.0.0.1:0", "accept": ["redirect"]}])
        second = kerbside.addresses()[1]
        client = Client(second, None)
        assert client.hello().error == 5
        client.close()
        kerbside.reload(listen=[{"address": "127.0.0.2:0", "accept": ["spice"]}])
        third = kerbside.addresses()[2]
        assert not can_connect(first) and not can_connect(second)
        tls.check_hostname = False  # the certificate is for public.host
        with Session(kerbside, server, address=third, tls=tls) as other:
            other.main.exchange()
        session.main.exchange()  # its listener is gone, it is not
        # A further channel finds its session through the new listener.
        session.address, session.tls = third, tls
        session.channel(DISPLAY).exchange()


def test_what_a_listener_accepts_changes(make, server):
    """The same address, other protocols: the socket stays open all the time."""
    kerbside = make()
    address, tls = kerbside.address, kerbside.client_tls()
    kerbside.reload(listen=[{"address": "127.0.0.1:0", "accept": ["http"]}])
    client = Client(address, tls)
    client.send(Link().pack())
    assert client.rest() == b""
    client.close()
    assert kerbside.wait_audit("channel.refused")["reason"] == "not_accepted_here"
    kerbside.reload(listen=[{"address": "127.0.0.1:0", "accept": ["spice", "http"]}])
    with Session(kerbside, server) as session:
        session.main.exchange()
    assert kerbside.addresses() == [address]
    assert not kerbside.log("listener.closed")


def test_a_new_certificate(make, server, tmp_path):
    """Whoever comes after the reload sees it; who is there goes on."""
    kerbside = make()
    authority = Authority()
    certificate, key = authority.issue(tmp_path / "tls", "CN=kerbside.example")
    (tmp_path / "tls" / "ca.pem").write_text(authority.pem)
    with Session(kerbside, server) as session:
        kerbside.reload(tls={"certificate": str(certificate), "key": str(key),
                             "ca": str(tmp_path / "tls" / "ca.pem")})
        session.main.exchange()
        with pytest.raises(ssl.SSLCertVerificationError):
            Client(kerbside.address, session.tls)
        ours = ssl.create_default_context(cadata=authority.pem)
        with Session(kerbside, server, tls=ours) as other:
            other.main.exchange()
        # The files of the same names are read anew, too.
        second = Authority("CN=second")
        second.issue(tmp_path / "tls", "CN=kerbside.example")
        (tmp_path / "tls" / "ca.pem").write_text(second.pem)
        kerbside.reload()
        Client(kerbside.address, ssl.create_default_context(cadata=second.pem)).close()
        with pytest.raises(ssl.SSLCertVerificationError):
            Client(kerbside.address, ours)
        session.main.exchange()


def test_a_certificate_for_each_kind_of_client(make, server, tmp_path):
    """ECDSA for whoever can verify it, RSA for the others; a reload brings the second."""
    kerbside = make()
    authority = Authority()
    files = {kind: authority.issue(tmp_path / kind, "CN=kerbside.example", kind=kind)
             for kind in ("ec", "rsa")}
    (tmp_path / "ca.pem").write_text(authority.pem)

    def tls_of(*kinds) -> dict:
        return {"certificate": [str(files[kind][0]) for kind in kinds],
                "key": [str(files[kind][1]) for kind in kinds], "ca": str(tmp_path / "ca.pem")}

    def shown(version: str, sigalgs: str) -> str | None:
        """What the server signs with for a client of these algorithms; None: it has nothing."""
        said = subprocess.run(
            ["openssl", "s_client", "-connect", "%s:%d" % kerbside.address, "-CAfile",
             tmp_path / "ca.pem", "-verify_return_error", version, "-sigalgs", sigalgs],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        found = re.search(r"Peer signature type: (\S+)", said.stdout)
        return found[1] if found and said.returncode == 0 else None

    ecdsa, rsa = "ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256"
    kerbside.reload(tls=tls_of("rsa"))
    assert shown("-tls1_3", ecdsa) is None
    assert shown("-tls1_3", f"{ecdsa}:{rsa}") == "RSA-PSS"
    kerbside.reload(tls=tls_of("ec", "rsa"))
    with Session(kerbside, server,
                 tls=ssl.create_default_context(cadata=authority.pem)) as session:
        session.main.exchange()
    for version in ("-tls1_2", "-tls1_3"):
        assert shown(version, f"{rsa}:{ecdsa}") == "ECDSA", version
        assert shown(version, ecdsa) == "ECDSA", version
        assert shown(version, rsa) == "RSA-PSS", version
    row = kerbside.reload(expect="config.rejected", tls=tls_of("ec", "ec"))
    assert row["detail"]


def test_the_vv_follows_the_certificate(make, tmp_path):
    kerbside = make()
    authority = Authority()
    certificate, key = authority.issue(tmp_path / "tls", "C=AU,O=Lab,CN=kerbside.example")
    (tmp_path / "tls" / "ca.pem").write_text(authority.pem)

    def vv() -> dict:
        _, text = kerbside.ask("POST", "/api/v1/consoles/lab/desk/grants", {},
                               {"Accept": "application/x-virt-viewer"})
        return dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)

    before = vv()
    kerbside.reload(tls={"certificate": str(certificate), "key": str(key),
                         "ca": str(tmp_path / "tls" / "ca.pem")})
    after = vv()
    assert after["ca"] == authority.pem.replace("\n", "\\n") != before["ca"]
    assert after["host-subject"] == "C=AU,O=Lab,CN=kerbside.example" != before["host-subject"]


def test_consoles_come_and_go(make, server):
    kerbside = make()
    with Session(kerbside, server) as session:
        fresh = Server()
        lab = {"source": "lab", "type": "static", "tls": "plain",
               "consoles": [console("fresh", fresh)]}
        kerbside.reload(sources=[lab])
        kerbside.wait_audit("console.added", console="fresh")
        kerbside.wait_audit("console.removed", console="desk")
        with Session(kerbside, fresh, "fresh") as other:
            other.main.exchange()
        fresh.stop()
        # A live session has what it needs: it does not end because its console is not listed.
        session.channel(DISPLAY).exchange()
        assert kerbside.call("POST", "/api/v1/consoles/lab/desk/grants", {})[0] == 404


def test_many_reloads_at_once(make, server):
    kerbside = make()
    with Session(kerbside, server) as session:
        for _ in range(50):
            kerbside.process.signal(signal.SIGHUP)
            session.main.exchange()
        kerbside.reload()
        session.channel(DISPLAY).exchange()


# ---- stop ----

def test_draining_lets_a_session_end_by_itself(make, server):
    kerbside = make(drain="5m")
    address = kerbside.address
    with Session(kerbside, server) as session:
        session_id = session.id
        kerbside.process.signal(signal.SIGTERM)
        wait_until(lambda: kerbside.log("daemon.draining"), "it drains")
        wait_until(lambda: not can_connect(address), "nobody new is let in")
        assert kerbside.call("GET", "/readyz")[0] == 503
        session.main.exchange()
        session.main.client.leave()
        assert kerbside.process.wait() == 0
    ended = [e for e in kerbside.log("session.ended") if e["session_id"] == session_id]
    assert [e["reason"] for e in ended] == ["client_closed"]


def test_draining_has_an_end(make, server):
    kerbside = make(drain="200ms")
    with Session(kerbside, server) as session:
        display = session.channel(DISPLAY)
        session_id = session.id
        assert kerbside.drain() == 0
        assert "stopping" in last_notice(session.main.client)
        assert display.client.rest() == b""
        for channel in (session.main, display):
            assert channel.server.rest() == b""
    ended = [e for e in kerbside.log("session.ended") if e["session_id"] == session_id]
    assert [e["reason"] for e in ended] == ["drained"]
    kerbside.start()
    assert kerbside.audit("session.ended")[0]["reason"] == "drained"
    assert not kerbside.audit("session.ended", reason="node_restarted")


def test_asked_twice_it_stops_now(make, server):
    kerbside = make(drain="5m")
    with Session(kerbside, server):
        kerbside.process.signal(signal.SIGTERM)
        wait_until(lambda: kerbside.log("daemon.draining"), "it drains")
        kerbside.process.signal(signal.SIGTERM)
        assert kerbside.process.wait() == 0


def test_stopping_in_the_middle_of_everything(make, server):
    """Connections in every state; all of them end, and so does the daemon."""
    def stalls(leg):
        leg.read_link()
        leg.rest()

    kerbside = make(drain="0")
    tls = kerbside.client_tls()
    clients = [Client(kerbside.address, None), Client(kerbside.address, tls)]
    for text in (b"REDQ", Link().pack()):
        clients.append(Client(kerbside.address, tls))
        clients[-1].send(text)
    tokens = [kerbside.grant("desk").token for _ in range(3)]
    with Session(kerbside, server, token=tokens[0]) as session:
        server.behave = stalls
        told = []
        threads = []
        for token in tokens[1:]:
            clients.append(Client(kerbside.address, tls))
            threads.append(threading.Thread(
                target=lambda c=clients[-1], t=token: told.append(c.link(t))))
            threads[-1].start()
        wait_until(lambda: len(kerbside.audit("session.started")) == 3, "all have begun")
        assert kerbside.drain() == 0
        for thread in threads:
            thread.join()
        assert told and OK not in told
        for client in clients:
            client.rest()
            client.close()
        assert "stopping" in last_notice(session.main.client)
    reasons = {e["reason"] for e in kerbside.log("session.ended")}
    assert reasons == {"drained"}
    no_errors(kerbside)


# ---- the service manager ----

class Notified:
    """Where sd_notify(3) goes."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(PATIENCE)

    def next(self, wanted: str) -> dict:
        """The next message that says so."""
        while True:
            text = self.socket.recv(4096).decode()
            said = dict(line.split("=", 1) for line in text.splitlines())
            if wanted in said:
                return said


@pytest.fixture
def notified(make):
    # The folder of a test may be too long for a socket's name.
    with tempfile.TemporaryDirectory(prefix="kb-notify-") as folder:
        made = Notified(Path(folder))
        yield made
        made.socket.close()


def test_what_the_service_manager_is_told(make, notified):
    kerbside = make(env={"NOTIFY_SOCKET": notified.path})
    assert notified.next("READY")["READY"] == "1"
    kerbside.process.signal(signal.SIGHUP)
    said = notified.next("RELOADING")
    assert said["RELOADING"] == "1" and int(said["MONOTONIC_USEC"]) > 0
    assert notified.next("READY")["READY"] == "1"
    kerbside.process.signal(signal.SIGTERM)
    assert notified.next("STOPPING")["STOPPING"] == "1"
    assert kerbside.process.wait() == 0


def test_a_refused_reload_is_ready_again(make, notified):
    kerbside = make(env={"NOTIFY_SOCKET": notified.path})
    notified.next("READY")
    kerbside.reload(expect="config.rejected", nonsense=1)
    notified.next("RELOADING")
    notified.next("READY")


def test_the_watchdog_is_fed(make, notified):
    make(env={"NOTIFY_SOCKET": notified.path, "WATCHDOG_USEC": "200000"})
    for _ in range(3):
        notified.next("WATCHDOG")


ACTIVATE = """
import os, sys
for i, fd in enumerate(sys.argv[1].split(",")):
    os.dup2(int(fd), 3 + i)
os.environ["LISTEN_FDS"] = str(i + 1)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_socket_activation(make, server):
    """The sockets that were handed over are the listeners, for the life of the process; the
    configuration says what they accept."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    # Out of the way of the numbers that they get.
    moved = [socket.socket(fileno=os.dup(s.fileno())) for s in sockets]
    addresses = [s.getsockname() for s in sockets]
    listen = [{"address": "127.0.0.1:%d" % addresses[0][1], "accept": ["spice", "http"]},
              {"address": "127.0.0.1:%d" % addresses[1][1], "accept": ["redirect"]}]
    fds = tuple(s.fileno() for s in moved)
    assert min(fds) > 4
    kerbside = make(listen=listen, pass_fds=fds,
                    enter=[sys.executable, "-c", ACTIVATE, ",".join(map(str, fds))])
    for s in (*sockets, *moved):
        s.close()
    assert kerbside.addresses() == addresses
    with Session(kerbside, server) as session:
        session.main.exchange()
        client = Client(addresses[1], None)
        assert client.hello().error == 5
        client.close()
        kerbside.reload()
        kerbside.reload(listen=[{"address": "127.0.0.1:0"}])
        assert kerbside.addresses() == addresses
        client = Client(addresses[1], kerbside.client_tls())  # no word for it is the default
        assert client.hello().error == OK
        client.close()
        with Session(kerbside, server) as other:
            other.main.exchange()
        session.main.exchange()


def test_no_secret_in_the_log(make, server):
    """Neither a token nor a ticket, with everything logged that there is."""
    kerbside = make()
    grant = kerbside.grant("desk")
    with Session(kerbside, server, token=grant.token) as session:
        session.channel(DISPLAY).exchange()
    session.wait_end()
    kerbside.ask("GET", "/api/v1/sessions")
    kerbside.drain()
    log = kerbside.process.log()
    assert grant.token not in log and server.ticket not in log
    for path in kerbside.state_dir.iterdir():
        if path.name.startswith("kerbside.db"):
            data = path.read_bytes()
            assert grant.token.encode() not in data and server.ticket.encode() not in data
