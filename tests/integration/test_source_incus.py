"""Consoles of Incus and LXD: instances, and SPICE over the WebSockets of an operation. The cloud is a
stand-in that carries the bytes of a scripted SPICE server."""

import ssl

import pytest
from clouds import server as faults
from clouds.incus import Incus
from common.process import wait_until
from source_site import SourceSite
from speech import open_port
from spice import PORT, Server, message

DATA = 101  # of a port


class Site(SourceSite):
    name = "incus"

    def __init__(self, folder):
        super().__init__(folder)
        self.listed("web")

    def make_server(self):
        return Server(ticket="")

    def make_cloud(self):
        cloud = Incus(self.tls)
        self.token = cloud.token()
        self.web = cloud.instance("web", port=self.behind.port)
        return cloud

    def config(self, **more) -> dict:
        return {"source": "incus", "type": "incus", "url": self.cloud.url, "token": self.token,
                "ca_cert": self.authority.pem, "refresh": "0", **more}

    def instance(self, name, **more):
        return self.cloud.instance(name, **{"port": self.behind.port, **more})

    def quiet(self):
        """No operation is left at the cloud."""
        wait_until(lambda: not self.cloud.running(), "no operation is left")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("incus"))
    yield site
    site.stop()


@pytest.fixture
def site(shared):
    """As new: one instance, listed, nobody there."""
    cloud = shared.cloud
    cloud.reset()
    cloud.projects_hidden = cloud.no_text_end = cloud.wrong_accept = False
    cloud.refuse_upgrade = cloud.cut_streams = 0
    cloud.tokens = {shared.token: "kerbside"}
    cloud.machines = {shared.web.uuid: shared.web}
    shared.web.running, shared.web.name, shared.web.node = True, "web", "hv1"
    shared.web.more.pop("frozen", None)
    assert shared.refresh()["error"] is None
    shared.listed("web")
    yield shared
    while not shared.behind.legs.empty():
        shared.behind.legs.get().close()
    shared.quiet()


# ---- the list ----


def test_what_is_listed(site):
    site.instance("box", kind="container")
    site.instance("off", running=False)
    site.instance("cold", more={"frozen": True})
    site.instance("other", project="desks")
    site.refresh()
    site.listed("web", "other")
    (other,) = [c for c in site.consoles().values() if c["name"] == "other"]
    assert (other["project"], other["hypervisor"]) == ("desks", "hv1")
    with site.kerbside.settings(sources=[site.config(project="desks")]):
        site.listed("other")
    site.cloud.empty()
    assert site.refresh()["consoles"] == 0


def test_an_account_of_one_project(site):
    site.cloud.projects_hidden = True
    assert "restricted" in site.refresh()["error"]
    with site.kerbside.settings(sources=[site.config(project="default")]):
        assert site.refresh()["error"] is None


def test_a_token_that_is_no_good_any_more(site):
    site.cloud.expire_tokens()
    view = site.refresh()
    assert "not authorized" in view["error"] and view["consoles"] == 1 and view["stale_since"]
    assert site.token not in site.kerbside.process.log()


@pytest.mark.parametrize("trouble", ["500", "503", "429", "nonsense", "list", "empty", "cut",
                                     "drop", "elsewhere"])
def test_trouble_keeps_the_list(site, trouble):
    site.cloud.trouble = trouble
    view = site.refresh()
    assert view["error"] and view["stale_since"] and view["consoles"] == 1


@pytest.mark.parametrize("odd", [
    faults.nulls("location", "project"), faults.as_text("status_code"),
    faults.without("description", "created_at", "status"), faults.as_odd(7, "description"),
])
def test_odd_types(site, odd):
    site.cloud.alter = odd
    assert site.refresh()["error"] is None
    assert site.names() == {"web"}


@pytest.mark.parametrize("odd", [
    faults.nulls("volatile.uuid"), faults.without("config"), faults.as_odd("a/b", "volatile.uuid"),
    faults.nulls("type"), faults.as_odd({}, "status_code"),
])
def test_unusable_instances_are_left_out(site, odd):
    site.cloud.alter = odd
    assert site.refresh()["error"] is None
    assert site.names() == set()


@pytest.mark.parametrize("name", faults.HOSTILE_NAMES)
def test_hostile_names(site, name):
    site.instance(name)
    assert site.refresh()["error"] is None
    assert len(site.names()) == 2


def test_ten_thousand(site):
    site.cloud.fill(10000)
    view = site.refresh()
    assert (view["error"], view["consoles"]) == (None, 10001)


# ---- sessions ----


def test_a_desktop_opens(site):
    with site.open() as session:
        session.main.exchange()
        channels = [session.channel(channel_id=i) for i in range(4)]
        for channel in channels:
            channel.exchange()
        assert len(site.cloud.running()) == 1  # one operation for all channels
        assert session.main.server.password == ""
    site.quiet()  # and it ends with them


def test_many_bytes_both_ways(site):
    with site.open() as session:
        channel = session.channel(PORT)
        open_port(channel)
        for size in (1, 100, 126, 4000, 65535, 65536, 300000):
            body = bytes(i & 0xFF for i in range(size))
            channel.server.send(message(DATA, body))
            assert channel.client.message() == (DATA, body)
            channel.client.send(message(DATA, body[:1000]))
            assert channel.server.message() == (DATA, body[:1000])


def test_two_sessions_share_the_console(site):
    first = site.open()
    second = site.open()
    assert len(site.cloud.running()) == 1
    first.close()
    second.main.exchange()
    second.close()
    site.quiet()


def test_the_server_ends_a_channel(site):
    for site.cloud.no_text_end in (False, True):  # Incus says it with a text message, LXD does not
        session = site.open()
        session.main.server.close()
        session.main.client.rest()
        session.main.client.close()
        site.quiet()


def test_somebody_takes_the_console(site):
    """By force, as `incus console --force` does; whoever opens it next begins anew."""
    session = site.open()
    with site.cloud._op_lock:
        for operation in site.cloud.running():
            site.cloud._end(operation, (401, "Canceled"))
    session.main.client.rest()
    session.close()
    with site.open() as session:
        session.main.exchange()


def test_a_console_that_somebody_has(site):
    elsewhere = site.cloud._console(site.web, {"type": "vga"}, "somebody").body["metadata"]["id"]
    denied = site.denied()
    assert denied["reason"] == "source_failed" and "already connected" in denied["detail"]
    with site.kerbside.settings(sources=[site.config(force=True)]):
        site.listed("web")
        with site.open() as session:
            session.main.exchange()
    assert site.cloud.operations[elsewhere].status[1] == "Canceled"


def test_sessions_outlive_a_reload(site):
    with site.open() as session:
        site.kerbside.reload(sources=[site.config(timeout="9s")])
        session.main.exchange()
        session.channel().exchange()
        assert len(site.cloud.running()) == 1
    site.kerbside.reload(sources=[site.config()])
    site.listed("web")


def test_an_instance_that_went(site):
    site.cloud.vanish(site.web)
    assert site.denied()["reason"] == "console_gone"


def test_another_instance_of_that_name(site):
    site.cloud.vanish(site.web)
    site.instance("web")
    assert site.denied()["reason"] == "console_gone"


@pytest.mark.parametrize("change", [{"running": False}, {"more": {"frozen": True}}])
def test_an_instance_that_is_off(site, change):
    site.web.running = change.get("running", True)
    site.web.more.update(change.get("more", {}))
    assert site.denied()["reason"] == "console_gone"


def test_an_instance_that_moved(site):
    """Within a cluster the API finds it, whoever is asked."""
    site.cloud.migrate(site.web, "hv2")
    with site.open() as session:
        session.main.exchange()


@pytest.mark.parametrize("switch, words", [
    ({"refuse_upgrade": 403}, "403"), ({"refuse_upgrade": 404}, "404"),
    ({"wrong_accept": True}, "WebSocket"),
])
def test_websockets_that_do_not_open(site, switch, words):
    for name, value in switch.items():
        setattr(site.cloud, name, value)
    denied = site.denied()
    assert denied["reason"] == "source_failed" and words in denied["detail"]


@pytest.mark.parametrize("trouble", ["500", "503", "nonsense", "list", "empty", "cut", "drop"])
def test_trouble_while_opening(site, trouble):
    site.cloud.trouble, site.cloud.where = trouble, "/console"
    assert site.denied()["reason"] == "source_failed"
    # An operation whose name got lost on the way is nobody's to end.
    site.cloud.operations.clear()


def test_a_cloud_that_hangs_while_opening(site):
    with site.kerbside.settings(sources=[site.config(timeout="1s")]):
        site.listed("web")
        for where in ("/console", "/websocket"):
            site.cloud.trouble, site.cloud.where = "hang", where
            assert site.denied()["reason"] == "source_failed"
            site.cloud.reset()


def test_streams_that_are_cut(site):
    site.cloud.cut_streams = 100
    site.denied()


# ---- who we are ----


def test_a_client_certificate(site):
    context = site.authority.server_context(site.folder / "ask", "CN=localhost")
    context.load_verify_locations(cadata=site.authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    before, site.cloud.tls = site.cloud.tls, context
    site.cloud.certificates.add("kerbside")
    certificate, key = site.authority.issue(site.folder / "client", "CN=kerbside", client=True)
    config = site.config(client_certificate=str(certificate), client_key=str(key))
    del config["token"]
    with site.kerbside.settings(sources=[config]):
        assert site.refresh()["error"] is None
        with site.open() as session:
            session.main.exchange()
            session.channel().exchange()
    site.cloud.tls = before


def test_source_check(site):
    steps = site.check()
    assert [s["step"] for s in steps] == ["configuration", "resolve", "connect", "tls", "login",
                                          "version", "list"]
    assert all(step["result"] == "ok" for step in steps), steps
    extensions, site.cloud.extensions = site.cloud.extensions, ["console"]
    assert site.check()[-1]["step"] == "version"
    site.cloud.extensions = extensions
    site.cloud.expire_tokens()
    failed = site.check()[-1]
    assert (failed["step"], failed["result"]) == ("login", "failed")
    assert "untrusted" in failed["detail"]


def test_the_page_of_the_source(site):
    """Its example is a configuration that loads."""
    example = {**site.page_example(), "source": "example"}
    with site.kerbside.settings(sources=[site.config(), example]):
        assert site.kerbside.log("config.reloaded")
