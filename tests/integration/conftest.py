"""Fixtures of the integration tests: a kerbside for each file of tests, with a session beside the
tests that must not notice them, and a look at what each test left behind."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.process import wait_until  # noqa: E402
from daemon import Kerbside, is_sanitized  # noqa: E402
from session import Bystander  # noqa: E402
from spice import Client, Server  # noqa: E402

# What stays after a storm, when the daemon has given back what it can: mostly the database's cache,
# 8 MiB for each of two connections. Leaks that are smaller than this are what
# test_memory_does_not_grow_with_the_number_of_connections is for.
RSS_SLACK = 40 << 20


def console(uuid: str, server: Server, **more) -> dict:
    """A static console on a scripted server, for the configuration."""
    way = ({"unix_socket": server.path} if server.path else
           {"hypervisor_ip": server.host,
            "secure_port" if server.tls else "insecure_port": server.port})
    return {"uuid": uuid, "name": uuid, "ticket": server.ticket, **way, **more}


class World:
    """A kerbside, the server behind its console `desk`, and the session beside."""

    def __init__(self, scratch: Path, sources=(), **options):
        self.servers = [Server(), Server()]
        self.server, beside = self.servers
        lab = {"source": "lab", "type": "static", "tls": "plain",
               "consoles": [console("desk", self.server), console("beside", beside)]}
        self.kerbside = Kerbside(scratch, [lab, *sources], **options)
        self.tls = self.kerbside.client_tls()
        self.bystander = Bystander(self.kerbside, beside, "beside")
        self.kerbside.mark()  # what the first request opens stays open
        self.start = self.kerbside.footprint()
        self.files = self.kerbside.open_files()

    def check(self):
        """Nothing is left of what was, and the session beside has not noticed."""
        self.bystander.check()
        found = None

        def back():
            nonlocal found
            found = self.kerbside.footprint()
            return (found.fds <= self.start.fds
                    and (is_sanitized() or found.rss <= self.start.rss + RSS_SLACK))

        def explain():
            more = list(self.kerbside.open_files())
            for name in self.files:
                if name in more:
                    more.remove(name)
            return f"from {self.start} to {found}; open: {more}"

        wait_until(back, "descriptors and memory are back at the start", explain=explain)

    def stop(self):
        self.bystander.stop()
        for server in self.servers:
            server.stop()
        self.kerbside.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory, request):
    """The policies are the file's POLICIES, if it has any."""
    policies = getattr(request.module, "POLICIES", {})
    world = World(tmp_path_factory.mktemp("world"), policies=policies)
    yield world
    world.stop()


@pytest.fixture(autouse=True)
def undisturbed(request):
    """For every test of a file that has a world."""
    world = request.getfixturevalue("world") if "world" in request.fixturenames else None
    Client.opened.clear()
    yield
    for client in Client.opened:  # of a test that failed
        client.close()
    if world:
        for server in world.servers:
            while not server.legs.empty():
                server.legs.get().close()
        world.check()


@pytest.fixture
def kerbside(world):
    return world.kerbside


@pytest.fixture
def server(world):
    return world.server
