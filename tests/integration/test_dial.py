"""Reaching the hypervisor and linking to it, with one that is not there, lies, stalls, or is not who
it should be. The client must be told the true code, the audit the true reason."""

import select
import shutil
import socket
import ssl
import struct
import tempfile
from pathlib import Path

import pytest
from common.pki import Authority
from conftest import World, console
from session import Session
from spice import (AUTH_SASL, AUTH_SELECTION, AUTH_SPICE, BAD_CONNECTION_ID,
                   CHANNEL_NOT_AVAILABLE, DISPLAY, DISPLAY_GL_SCANOUT, ERROR, HEADER, MAIN,
                   MINI_HEADER, NEED_SECURED, OK, REPLY, SPICEVMC_LZ4,
                   STOCK_SERVER, USBREDIR, Client, Link, LinkReply, Server, init, keep, seal)


class FullBacklog:
    """A port whose connections are never answered: the kernel drops what does not fit."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self._socket.getsockname()[1]
        self._waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", self.port))
            self._waiting.append(client)

    def stop(self):
        for client in (self._socket, *self._waiting):
            client.close()


def unused_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def source(name: str, *consoles, tls="plain", **more) -> dict:
    return {"source": name, "type": "static", "tls": tls, "consoles": list(consoles), **more}


# Names of the daemon's own, and nobody else asked for any.
PRIVATE_NAMES = ["unshare", "--mount", "--map-root-user", "sh", "-c",
                 'mount --bind "$0/hosts" /etc/hosts && '
                 'mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && exec "$@"']


class Dials(World):
    """A console for every way to be wrong."""

    def __init__(self, scratch: Path):
        self.folder = Path(tempfile.mkdtemp(prefix="kb-dial-"))  # short, for unix sockets
        ours, theirs = Authority(), Authority("C=AU,O=Other,CN=Other CA")
        subject = "C=AU,O=Lab,CN=host.example"
        good = ours.server_context(scratch / "good", subject)
        named = ours.server_context(scratch / "named", subject, names=("host.example",),
                                    addresses=())
        expired = ours.server_context(scratch / "expired", subject, expired=True)
        self.full = FullBacklog()
        self.plain = Server()
        self.secure, self.named = Server(tls=good), Server(tls=named)
        self.expired = Server(tls=expired)
        self.unix = Server(path=str(self.folder / "spice.sock"))
        self.six = Server(host="::1")
        more = [self.plain, self.secure, self.named, self.expired, self.unix, self.six]
        nothing = unused_port()
        two = {"insecure_port": self.plain.port, "secure_port": self.secure.port}
        name = {"hypervisor_ip": None, "insecure_port": self.plain.port}
        ca = {"ca_cert": ours.pem}
        pin = {"host_subject": subject}
        (scratch / "nsswitch.conf").write_text("hosts: files\n")
        (scratch / "hosts").write_text("".join(
            f"{line}\n" for line in (
                "127.0.0.1 localhost", "127.0.0.9 several.test", "127.0.0.1 several.test",
                "127.0.0.2 several.test", "::1 mixed.test", "127.0.0.1 mixed.test",
                "127.0.0.8 dead.test", "127.0.0.9 dead.test")))
        system_ca = scratch / "system-ca.pem"
        system_ca.write_text(ours.pem)
        super().__init__(scratch, [
            source("plain",
                   console("refused", self.plain, insecure_port=nothing),
                   console("dead", self.plain, insecure_port=self.full.port),
                   console("unresolved", self.plain, **{**name, "hypervisor": "nowhere.invalid"}),
                   console("localhost", self.plain, **{**name, "hypervisor": "localhost"}),
                   console("several", self.plain, **{**name, "hypervisor": "several.test"}),
                   console("mixed", self.plain, **{**name, "hypervisor": "mixed.test"}),
                   console("all-dead", self.plain, **{**name, "hypervisor": "dead.test"}),
                   console("six", self.six),
                   console("unix", self.unix),
                   console("no-socket", self.unix, unix_socket=str(self.folder / "nothing")),
                   console("wrong-ticket", self.plain, ticket="open barley"),
                   console("no-ticket", self.plain, ticket=None),
                   console("only-secure", self.secure),
                   console("secured", self.plain, **two)),
            source("require",
                   console("good", self.secure),
                   console("no-port", self.plain),
                   console("expired", self.expired),
                   console("other-name", self.named),
                   console("its-name", self.named, hypervisor="host.example"),
                   console("pinned", self.named, **pin),
                   console("pinned-wrong", self.secure, host_subject="C=AU,O=Lab,CN=other"),
                   console("pinned-part", self.secure, host_subject="CN=host.example"),
                   console("not-tls", self.plain, secure_port=self.plain.port),
                   console("refused", self.secure, secure_port=nothing), tls="require", **ca),
            source("stranger",
                   console("good", self.secure), console("pinned", self.secure, **pin),
                   tls="require", ca_cert=theirs.pem),
            source("system", console("good", self.secure), tls="require"),
            source("prefer", console("both", self.plain, **two),
                   console("plain", self.plain), tls="prefer"),
            source("prefer-proved", console("both", self.plain, **two), tls="prefer", **ca),
            source("prefer-stranger", console("both", self.plain, **two), tls="prefer",
                   ca_cert=theirs.pem),
        ], timeouts={"connect": "500ms", "link": "1500ms"},
            env={"SSL_CERT_FILE": system_ca}, enter=[*PRIVATE_NAMES, scratch])
        self.servers += more

    def stop(self):
        super().stop()
        self.full.stop()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = Dials(tmp_path_factory.mktemp("world"))
    yield world
    world.stop()


@pytest.fixture(autouse=True)
def well_behaved(undisturbed, world):
    yield
    for server in world.servers:
        server.behave = keep


def start(world, where, token=None) -> Client:
    """A main link up to the result, which is the hypervisor's matter."""
    name, uuid = where.split("/")
    return finish_link(world, token or world.kerbside.grant(uuid, name).token)


def finish_link(world, token) -> Client:
    client = Client(world.kerbside.address, world.tls)
    client.code = client.link(token)
    return client


def fails(world, where, code, reason, detail=None):
    """A session that ends before it has a channel, and says why."""
    client = start(world, where)
    assert client.code == code
    assert client.rest() == b""
    client.close()
    kerbside = world.kerbside
    row = kerbside.wait_audit("channel.refused", client_address=client.source)
    assert row["reason"] == reason
    assert detail is None or detail in row["detail"], row["detail"]
    end = kerbside.wait_audit("session.ended", session_id=row["session_id"])
    assert (end["reason"], end["bytes_from_client"], end["bytes_from_server"]) == (reason, 0, 0)
    assert not kerbside.audit("channel.opened", session_id=row["session_id"])
    return row


def works(world, where, server: Server):
    name, uuid = where.split("/")
    with Session(world.kerbside, server, uuid, source_name=name) as session:
        session.channel(DISPLAY).exchange()
        session.main.exchange()
        return session.main.server


# ---- connect ----

def test_refused_port(world):
    fails(world, "plain/refused", CHANNEL_NOT_AVAILABLE, "connect_failed", "Connection refused")


def test_dead_address(world):
    fails(world, "plain/dead", CHANNEL_NOT_AVAILABLE, "connect_timeout")


def test_name_that_does_not_resolve(world):
    fails(world, "plain/unresolved", CHANNEL_NOT_AVAILABLE, "resolve_failed", "nowhere.invalid")


def test_unix_socket(world):
    works(world, "plain/unix", world.unix)


def test_unix_socket_that_is_not_there(world):
    fails(world, "plain/no-socket", CHANNEL_NOT_AVAILABLE, "connect_failed", "/nothing")


def test_ipv6(world):
    works(world, "plain/six", world.six)


@pytest.mark.parametrize("uuid", ["localhost", "several", "mixed"])
def test_several_addresses_of_a_name(world, uuid):
    """The server listens on one of them, and not on the first."""
    works(world, f"plain/{uuid}", world.plain)


def test_several_addresses_and_none_answers(world):
    fails(world, "plain/all-dead", CHANNEL_NOT_AVAILABLE, "connect_failed", "127.0.0.")


def test_a_console_that_cannot_be_reached_as_its_source_wants(world):
    fails(world, "plain/only-secure", ERROR, "server_no_address")


# ---- link ----

def reply_of(leg) -> bytes:
    return LinkReply(OK, leg.server.public_key).pack()


REPLY_SIZE = HEADER.size + REPLY.size + 4


def cut(leg, count: int):
    """Sends so many bytes of all that a server says in a link, and closes."""
    leg.read_link()
    leg.send(reply_of(leg)[:count])
    if count >= REPLY_SIZE:
        leg.read_ticket()
        leg.send(bytes(count - REPLY_SIZE))


def test_a_server_that_leaves_at_any_byte(world):
    counts = iter(range(REPLY_SIZE + 4))
    world.plain.behave = lambda leg: cut(leg, next(counts))
    token = world.kerbside.grant("secured", "plain", reusable=True).token
    mark = world.kerbside.mark()
    clients = []
    for _ in range(REPLY_SIZE + 4):
        client = finish_link(world, token)
        assert client.code == CHANNEL_NOT_AVAILABLE
        assert client.rest() == b""
        client.close()
        clients.append(client)
    reasons = world.kerbside.why_refused(clients, mark)
    assert set(reasons.values()) == {"server_link_closed"}
    ends = world.kerbside.audit("session.ended", mark, reason="server_link_closed")
    assert len(ends) == len(clients)


def stall(count: int):
    """A server that says so many bytes of its link, and then nothing until it is left."""
    def behave(leg):
        leg.read_link()
        leg.send(reply_of(leg)[:count])
        if count >= REPLY_SIZE:
            leg.read_ticket()
            leg.send(bytes(count - REPLY_SIZE))
        leg.rest()
    return behave


STALLS = {"at once": stall(0), "in the header": stall(4), "in the reply": stall(100),
          "before the result": stall(REPLY_SIZE), "in the result": stall(REPLY_SIZE + 2)}


@pytest.mark.parametrize("where", STALLS)
def test_a_server_that_stalls(world, where):
    world.plain.behave = STALLS[where]
    fails(world, "plain/secured", CHANNEL_NOT_AVAILABLE, "server_link_timeout")


def drip(leg):
    """Its reply comes, but not before the link's time is over."""
    leg.read_link()
    for byte in reply_of(leg):
        leg.send(bytes([byte]))
        if select.select([leg.sock], [], [], 0.05)[0]:
            return


def test_a_server_that_drips(world):
    world.plain.behave = drip
    fails(world, "plain/secured", CHANNEL_NOT_AVAILABLE, "server_link_timeout")


def test_a_server_that_stalls_before_tls(world):
    """It takes the connection and never answers the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        lab = world.kerbside.configuration["sources"]
        stalled = source("stalled", {"uuid": "x", "hypervisor_ip": "127.0.0.1",
                                     "secure_port": silent.getsockname()[1]}, tls="require")
        with world.kerbside.settings(sources=[*lab, stalled]):
            fails(world, "stalled/x", CHANNEL_NOT_AVAILABLE, "server_link_timeout")


ERRORS = {
    1: ("server_link_refused", ERROR), 2: ("server_link_refused", ERROR),
    3: ("server_link_refused", ERROR), 4: ("server_version", ERROR),
    5: ("server_needs_tls", ERROR), 6: ("server_needs_plain", ERROR),
    7: ("server_ticket", ERROR), 8: ("server_connection_id", BAD_CONNECTION_ID),
    9: ("server_no_channel", CHANNEL_NOT_AVAILABLE), 10: ("server_link_refused", ERROR),
    0xffffffff: ("server_link_refused", ERROR),
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", ["reply", "result"])
def test_a_server_that_says_no(world, where, error):
    """Early it says so in its reply, late in the result."""
    if where == "reply":
        world.plain.behave = lambda leg: leg.answer(LinkReply(error, common=()))
    else:
        world.plain.behave = lambda leg: leg.answer(result=error)
    reason, code = ERRORS[error]
    fails(world, "plain/secured", code, reason)


def header(world, **wrong) -> bytes:
    fields = {"magic": b"REDQ", "major": 2, "minor": 2, "size": REPLY.size + 4, **wrong}
    return HEADER.pack(*fields.values()) + body(world)[HEADER.size:]


def body(world, key=None, counts=(1, 0), offset=REPLY.size, words=(STOCK_SERVER,)) -> bytes:
    text = REPLY.pack(OK, world.plain.public_key if key is None else key, *counts, offset)
    text += struct.pack(f"<{len(words)}I", *words)
    return HEADER.pack(b"REDQ", 2, 2, len(text)) + text


GARBAGE = {
    "HTTP": (lambda w: b"HTTP/1.1 400 Bad Request\r\n\r\n", "server_link_malformed"),
    "RFB": (lambda w: b"RFB 003.008\n", "server_link_malformed"),
    "a byte": (lambda w: b"\0", "server_link_malformed"),
    "magic": (lambda w: header(w, magic=b"REDX"), "server_link_malformed"),
    "version 1": (lambda w: header(w, major=1), "server_version"),
    "size 177": (lambda w: header(w, size=177), "server_link_malformed"),
    "size 4097": (lambda w: header(w, size=4097), "server_link_malformed"),
    "size 2^32-1": (lambda w: header(w, size=2**32 - 1), "server_link_malformed"),
    "17 words": (lambda w: body(w, counts=(17, 0), words=(STOCK_SERVER,) * 17),
                 "server_link_malformed"),
    "2^32-1 words": (lambda w: body(w, counts=(1, 2**32 - 1)), "server_link_malformed"),
    "offset": (lambda w: body(w, offset=REPLY.size + 1), "server_link_malformed"),
    "offset 0": (lambda w: body(w, offset=0), "server_link_malformed"),
    "no key": (lambda w: body(w, key=bytes(162)), "server_link_malformed"),
    "half a key": (lambda w: body(w, key=w.plain.public_key[:100] + bytes(62)),
                   "server_link_malformed"),
    "no mini header": (lambda w: body(w, words=(AUTH_SELECTION | AUTH_SPICE,)),
                       "server_capabilities"),
    "no auth selection": (lambda w: body(w, words=(MINI_HEADER | AUTH_SPICE,)),
                          "server_capabilities"),
    "SASL only": (lambda w: body(w, words=(MINI_HEADER | AUTH_SELECTION | AUTH_SASL,)),
                  "server_capabilities"),
    "no capabilities": (lambda w: body(w, counts=(0, 0), words=()), "server_capabilities"),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_a_server_that_says_nonsense(world, what):
    make, reason = GARBAGE[what]

    def behave(leg):
        leg.read_link()
        leg.send(make(world))
        leg.rest()

    world.plain.behave = behave
    fails(world, "plain/secured", ERROR, reason)


def test_a_reply_that_comes_byte_by_byte(world):
    def behave(leg):
        leg.read_link()
        for byte in reply_of(leg):
            leg.send(bytes([byte]))
        leg.read_ticket()
        for byte in bytes(4):
            leg.send(bytes([byte]))
        leg.send(init(9))
        return True

    world.plain.behave = behave
    with Session(world.kerbside, world.plain, "secured", source_name="plain") as session:
        session.main.exchange()
        assert session.connection_id == 9


@pytest.mark.parametrize("uuid", ["wrong-ticket", "no-ticket"])
def test_wrong_ticket(world, uuid):
    fails(world, f"plain/{uuid}", ERROR, "server_ticket")


def test_a_channel_that_the_server_lacks(world):
    """Such a server closes before it replies, or says so; main and the rest live on."""
    with Session(world.kerbside, world.plain, "secured", source_name="plain") as session:
        for behave, code, reason in [
                (lambda leg: leg.read_link() and None, CHANNEL_NOT_AVAILABLE,
                 "server_link_closed"),
                (lambda leg: leg.answer(LinkReply(CHANNEL_NOT_AVAILABLE, common=())),
                 CHANNEL_NOT_AVAILABLE, "server_no_channel"),
                (lambda leg: leg.answer(LinkReply(BAD_CONNECTION_ID, common=())),
                 BAD_CONNECTION_ID, "server_connection_id")]:
            world.plain.behave = behave
            mark = world.kerbside.mark()
            client = session.client()
            assert client.link(session.token, Link(DISPLAY, 1, session.connection_id)) == code
            client.close()
            row = world.kerbside.wait_audit("channel.refused", mark, session_id=session.id)
            assert (row["reason"], row["channel"]) == (reason, "display:1")
            world.plain.behave = keep
            session.channel(DISPLAY, 2).exchange()
            session.main.exchange()


def test_what_the_server_hears_of_the_client(world):
    """Its own capabilities, but for what kerbside must not pass on."""
    everything = 0xffffffff
    with Session(world.kerbside, world.server) as session:
        for kind, hidden in ((DISPLAY, DISPLAY_GL_SCANOUT), (USBREDIR, SPICEVMC_LZ4)):
            client = session.client()
            link = Link(kind, 7, session.connection_id, common=(everything, 5),
                        channel=(everything,))
            assert client.link(session.token, link) == OK
            leg = world.server.take()
            assert leg.link.common == (everything & ~AUTH_SASL, 5)
            assert leg.link.channel == (everything & ~hidden,)
            client.close()
            leg.close()
    client = Client(world.kerbside.address, world.tls)
    token = world.kerbside.grant("desk").token
    assert client.link(token, Link(MAIN, channel=(everything,))) == OK
    leg = world.server.take()
    assert leg.link.channel == (everything,)
    assert leg.link.common[0] & AUTH_SPICE  # which stock clients do not say
    assert leg.password == "sesame"
    client.close()
    leg.close()


# ---- TLS ----

@pytest.mark.parametrize("where", ["require/good", "system/good", "prefer-proved/both"])
def test_tls(world, where):
    leg = works(world, where, world.secure)
    assert isinstance(leg.sock, ssl.SSLSocket)


@pytest.mark.parametrize("where", ["require/its-name", "require/pinned"])
def test_tls_with_another_name(world, where):
    works(world, where, world.named)


@pytest.mark.parametrize("where, reason", [
    ("stranger/good", "server_certificate"), ("stranger/pinned", "server_certificate"),
    ("prefer-stranger/both", "server_certificate"), ("require/expired", "server_certificate"),
    ("require/other-name", "server_name"), ("require/pinned-wrong", "server_subject"),
    ("require/pinned-part", "server_subject"), ("require/no-port", "server_no_tls_port"),
    ("require/not-tls", "server_tls_failed"),
])
def test_tls_that_must_not_be(world, where, reason):
    fails(world, where, ERROR, reason)
    # Nobody has heard a ticket, and nothing was tried in clear.
    for server in world.servers[1:]:
        assert server.legs.empty()


def test_tls_port_refused(world):
    fails(world, "require/refused", CHANNEL_NOT_AVAILABLE, "connect_failed")


def needs_tls(leg):
    leg.answer(LinkReply(NEED_SECURED, common=()))


def test_prefer_follows_the_redirect(world):
    """The source names both ports but no way to prove who answers; the server insists on TLS, and
    the system's CAs prove it then."""
    world.plain.behave = needs_tls
    leg = works(world, "prefer/both", world.secure)
    assert isinstance(leg.sock, ssl.SSLSocket)
    world.plain.behave = lambda leg: leg.answer(result=NEED_SECURED)
    works(world, "prefer/both", world.secure)


def test_prefer_follows_once(world):
    world.plain.behave = world.secure.behave = needs_tls
    fails(world, "prefer/both", ERROR, "server_needs_tls")


def test_prefer_without_a_tls_port(world):
    works(world, "prefer/plain", world.plain)
    world.plain.behave = needs_tls
    fails(world, "prefer/plain", ERROR, "server_needs_tls")


def test_plain_never_follows(world):
    world.plain.behave = needs_tls
    fails(world, "plain/secured", ERROR, "server_needs_tls")
    assert world.secure.legs.empty()


# ---- the client meanwhile ----

@pytest.mark.parametrize("end, reason", [(Client.leave, "client_closed"),
                                         (Client.reset, "client_lost")])
@pytest.mark.parametrize("where", ["dial", "link", "tls"])
def test_a_client_that_leaves_while_the_server_stalls(world, where, end, reason):
    """It is noticed at once, and the server is left too."""
    kerbside = world.kerbside
    with socket.create_server(("127.0.0.1", 0)) as silent, \
            kerbside.settings(timeouts={"connect": "5m", "link": "5m"}, sources=[
                *kerbside.configuration["sources"],
                source("silent", {"uuid": "desk", "hypervisor_ip": "127.0.0.1",
                                  "secure_port": silent.getsockname()[1]}, tls="require")]):
        world.plain.behave = STALLS["at once"]
        name, uuid = {"dial": ("plain", "dead"), "link": ("plain", "secured"),
                      "tls": ("silent", "desk")}[where]
        token = kerbside.grant(uuid, name).token
        client = Client(kerbside.address, world.tls)
        client.send(Link().pack())
        client.send(seal(client.reply().key, token.encode() + b"\0"))
        kerbside.wait_audit("session.started", client_address=client.source)
        end(client)
        row = kerbside.wait_audit("channel.refused", client_address=client.source)
        assert row["reason"] == reason
        ended = kerbside.wait_audit("session.ended", session_id=row["session_id"])
        assert ended["reason"] == reason
