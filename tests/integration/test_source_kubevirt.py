"""Instances of KubeVirt: the list, the watch behind it, and what becomes of who opens one. The
cluster is a stand-in."""

import pytest
from clouds import server as faults
from clouds.kubevirt import LIST, KubeVirt
from common.process import wait_until
from source_site import SourceSite
from spice import CHANNEL_NOT_AVAILABLE


class Site(SourceSite):
    name = "kube"

    def make_cloud(self):
        cloud = KubeVirt(self.tls)
        self.token = cloud.account()
        return cloud

    def config(self, **more):
        wish = {"source": "kube", "type": "kubevirt", "url": self.cloud.url, "token": self.token,
                "ca_cert": self.authority.pem, "refresh": "0", "serial": False, **more}
        return {key: value for key, value in wish.items() if value is not None}

    def lists(self) -> int:
        return sum(r.path.endswith("virtualmachineinstances") and "watch" not in r.query
                   for r in list(self.cloud.requests))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("kube"))
    yield site
    site.stop()


@pytest.fixture
def site(shared):
    """No instance, listed, and watched or about to be."""
    cloud = shared.cloud
    cloud.reset()
    cloud.empty()
    cloud.accounts = {shared.token: "system:serviceaccount:kerbside:kerbside"}
    cloud.rights = {"get", "list", "watch", "vnc", "console"}
    cloud.page_size, cloud.bookmarks = 500, True
    cloud.expire_continue = cloud.error_in_watch = False
    cloud.expire_at_page = cloud._pages = 0
    assert shared.refresh()["error"] is None
    cloud.requests.clear()
    yield shared


# ---- the list ----


def test_what_is_listed(site):
    with site.settings(serial=True):
        site.cloud.vmi("web", "desks", node="worker-1")
        site.cloud.vmi("blind", devices={"autoattachGraphicsDevice": False})
        site.cloud.vmi("bare", devices={"autoattachGraphicsDevice": False,
                                        "autoattachSerialConsole": False})
        for phase in ("Pending", "Scheduling", "Scheduled", "Succeeded", "Failed", "Unknown"):
            site.cloud.vmi(phase.lower(), phase=phase)
        site.refresh()
        rows = {c["name"]: c for c in site.consoles().values()}
        assert set(rows) == {"web", "web (serial)", "blind (serial)"}
        for name, protocol in (("web", "vnc"), ("web (serial)", "serial")):
            row = rows[name]
            assert (row["project"], row["state"], row["hypervisor"], row["protocol"],
                    row["transport"]) == ("desks", "Running", "worker-1", protocol, "websocket")
    with site.settings(namespace="desks"):
        site.listed("web")


def test_pages(site):
    site.cloud.fill(25)
    site.cloud.page_size = 10
    site.cloud.requests.clear()
    assert site.refresh()["consoles"] == 25
    assert site.lists() >= 3


def test_pages_that_took_too_long(site):
    """410 for a page: the whole is asked for at once."""
    site.cloud.fill(25)
    site.cloud.page_size, site.cloud.expire_continue = 10, True
    assert site.refresh()["consoles"] == 25


def test_a_token_that_ends_between_pages(site):
    site.cloud.fill(25)
    assert site.refresh()["consoles"] == 25
    site.cloud.page_size, site.cloud._pages, site.cloud.expire_at_page = 10, 0, 1
    state = site.refresh()
    assert "Unauthorized" in state["error"] and state["consoles"] == 25
    assert site.token not in site.kerbside.process.log()


@pytest.mark.parametrize("trouble", ["500", "503", "429", "nonsense", "list", "empty", "cut",
                                     "drop", "elsewhere"])
def test_trouble_keeps_the_list(site, trouble):
    site.cloud.vmi("web")
    site.listed("web")
    site.cloud.trouble = trouble
    state = site.refresh()
    assert state["error"] and state["state"] == "stale" and state["consoles"] == 1


@pytest.mark.parametrize("odd, left", [
    (faults.nulls("labels", "annotations", "nodeName", "interfaces", "devices"), 1),
    (faults.without("spec", "generation"), 1), (faults.as_odd(7, "nodeName", "labels"), 1),
    (faults.as_odd({}, "uid"), 0), (faults.nulls("namespace"), 0), (faults.as_odd("a/b", "name"), 0),
    (faults.without("status"), 0),
])
def test_odd_instances(site, odd, left):
    site.cloud.vmi("web")
    site.listed("web")
    site.cloud.alter = odd
    state = site.refresh()
    assert (state["error"], state["consoles"]) == (None, left)


def test_lists_without_items(site):
    site.cloud.vmi("web")
    site.listed("web")
    site.cloud.alter = faults.nulls("items")  # Go's way to write an empty list
    assert site.refresh()["consoles"] == 0
    site.cloud.alter = faults.without("items")
    assert site.refresh()["error"]


def test_hostile_names(site):
    names = [name for name in faults.HOSTILE_NAMES if "/" not in name and len(name) < 240]
    for name in names:
        site.cloud.vmi(name)
    assert site.refresh()["consoles"] == len(names)


def test_ten_thousand(site):
    site.cloud.fill(10000)
    assert site.refresh()["consoles"] == 10000


# ---- the watch ----


def test_a_watch_tells(site):
    """Added, changed and removed are seen without a further list."""
    first = site.cloud.vmi("first")
    site.listed("first")
    mark = site.kerbside.mark()
    second = site.cloud.vmi("second")
    site.listed("first", "second")
    site.cloud.migrate(first, "worker-9")
    wait_until(lambda: site.consoles()[first.uuid]["hypervisor"] == "worker-9", "it moved")
    site.cloud.change(second, phase="Succeeded")
    site.listed("first")
    site.cloud.vanish(first)
    site.listed()
    assert len(site.kerbside.audit("console.removed", mark)) == 2
    assert site.lists() == 0


def test_watches_end_and_go_on(site):
    """As a server ends them all; what happened meanwhile is told by the next one."""
    site.cloud.vmi("web")
    site.listed("web")
    site.cloud.end_watches()
    site.cloud.vmi("next")
    site.listed("web", "next")
    assert site.lists() == 0


def test_a_version_that_was_forgotten(site):
    """410 for a watch, or in one: listed anew, and watched from there."""
    with site.settings():  # whose troubles end with it
        for site.cloud.error_in_watch in (False, True):
            site.cloud.requests.clear()
            site.cloud.compact()
            site.cloud.end_watches()
            wait_until(lambda: site.lists() >= 1, "it is listed anew",
                       explain=site.kerbside.last_words)
        site.cloud.error_in_watch = False
        site.cloud.vmi("web")
        site.listed("web")


def test_without_bookmarks(site):
    site.cloud.bookmarks = False
    site.cloud.end_watches()
    site.cloud.vmi("web")
    site.listed("web")


def test_a_watch_within_a_namespace(site):
    with site.settings(namespace="desks"):
        site.listed()
        site.cloud.vmi("elsewhere")
        site.cloud.vmi("here", "desks")
        site.listed("here")


def test_nonsense_in_a_watch(site):
    """It is begun anew from where it made sense."""
    site.cloud.vmi("web")
    site.listed("web")
    good = KubeVirt._watching

    def nonsense(self, *args):
        yield b'{"type": "ADDED", "object"\n'

    try:
        KubeVirt._watching = nonsense
        site.cloud.end_watches()
        wait_until(lambda: site.kerbside.log("source.not_watched"), "the log says so")
    finally:
        KubeVirt._watching = good
    site.cloud.vmi("next")
    site.listed("web", "next")


def test_an_account_that_may_not_watch(site):
    site.cloud.rights.remove("watch")
    with site.settings(refresh="200ms"):
        site.cloud.vmi("web")
        site.listed("web")
        wait_until(lambda: any("cannot watch" in line["why"]
                               for line in site.kerbside.log("source.not_watched")),
                   "the log says so")
        assert site.state()["error"] is None


def test_listed_by_the_clock_while_all_is_told(site):
    """A cluster in which something always happens is listed as a whole too."""
    machine = site.cloud.vmi("web")
    with site.settings(refresh="300ms"):
        site.listed("web")
        site.cloud.requests.clear()
        wait_until(lambda: site.cloud.change(machine, node="x" * (site.lists() + 1)) or
                   site.lists() >= 3, "it is listed by the clock")


def test_ends_while_it_watches(site):
    wait_until(lambda: site.cloud.watches, "there is a watch")
    assert site.kerbside.drain() == 0
    site.kerbside.start()
    wait_until(lambda: site.state()["state"] == "ok", "it is listed")


# ---- opening ----


@pytest.mark.parametrize("kind", ["vnc", "serial"])
def test_what_cannot_be_opened_yet_says_so(site, kind):
    machine = site.cloud.vmi("web")
    with site.settings(serial=True):
        site.listed("web", "web (serial)")
        denied = site.denied(machine.uuid + ("-serial" if kind == "serial" else ""))
        assert denied["reason"] == "server_not_spice"
        assert denied["code"] == CHANNEL_NOT_AVAILABLE
    assert site.cloud.streams == []


@pytest.mark.parametrize("change", [
    lambda cloud, m: cloud.vanish(m), lambda cloud, m: m.more.update(phase="Succeeded"),
    lambda cloud, m: (cloud.machines.pop(m.uuid), cloud.add("web", more=m.more)),
])
def test_gone_between_list_and_open(site, change):
    """An instance of the same name is another machine."""
    site.cloud.rights.remove("watch")
    site.kerbside.reload()
    machine = site.cloud.vmi("web")
    site.refresh()
    change(site.cloud, machine)
    assert site.denied(machine.uuid)["reason"] == "console_gone"


def test_opening_that_is_not_allowed(site):
    machine = site.cloud.vmi("web")
    site.listed("web")
    site.cloud.rights.remove("get")
    denied = site.denied(machine.uuid)
    assert denied["reason"] == "source_failed" and "cannot get" in denied["detail"]


# ---- the configuration ----


def test_a_token_in_a_file(site):
    """It is renewed in its place, as kubelet does it."""
    path = site.folder / "token"
    path.write_text(site.token + "\n")
    with site.settings(token=None, token_file=str(path)):
        assert site.refresh()["error"] is None
        site.cloud.expire_tokens()
        assert "Unauthorized" in site.refresh()["error"]
        path.write_text(site.cloud.account())
        assert site.refresh()["error"] is None
        path.unlink()
        assert "holds no token" in site.refresh()["error"]


def test_source_check(site):
    site.cloud.vmi("web")
    steps = site.check()
    assert [s["step"] for s in steps] == ["configuration", "resolve", "connect", "tls", "login",
                                          "rights", "list"]
    assert all(s["result"] == "ok" for s in steps), steps
    assert steps[-2]["detail"] == "get, list, watch, vnc, console"
    site.cloud.rights -= {"vnc"}
    assert site.check()[-2]["detail"] == "get, list, watch; not vnc, console"
    site.cloud.rights -= {"watch"}
    last = site.check()[-1]
    assert (last["step"], last["result"]) == ("rights", "failed")
    assert "may not watch" in last["detail"] and "ClusterRole" in last["advice"]
    site.cloud.expire_tokens()
    last = site.check()[-1]
    assert last["step"] == "login" and "token" in last["advice"]


def test_the_page_of_the_source(site):
    example = site.page_example()
    del example["token_file"]
    with site.kerbside.settings(sources=[{**example, "token": site.token}]):
        assert site.refresh()["error"] is None
    assert LIST in {r.path for r in site.cloud.requests}
