"""Machines that announce themselves: leases over the API, what hostile agents may try, and the agent
`kerbside register` with and without a server of its own."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
import yaml
from api import Api
from common.port import Port
from common.process import Process, wait_until
from daemon import Kerbside, binary
from session import Session
from spice import Server

# Listens at PORT; what it was told as its ticket goes to FILE, and so does its end.
SERVER = """
import os, signal, socket, sys
ticket = os.environ.get("TICKET") or open(sys.argv[3]).read()
assert "KERBSIDE_API_KEY" not in os.environ
at = socket.socket()
at.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
at.bind(("127.0.0.1", int(sys.argv[1])))
at.listen(64)
with open(sys.argv[2], "a") as file:
    print(os.getpid(), ticket, file=file, flush=True)
while True:
    at.accept()[0].close()
"""


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.server, self.port = Server(), Port()
        self.kerbside = Kerbside(
            folder / "kerbside",
            [self.source(), {"source": "other", "type": "registered"},
             {"source": "lab", "type": "static", "consoles": []}],
            # The same port after a restart, so that an agent finds it.
            listen=[{"address": f"127.0.0.1:{self.port.number}", "accept": ["spice", "http"]}])
        self.processes = []

    def source(self, **more) -> dict:
        return {"source": "desks", "type": "registered", "tls": "plain", **more}

    def key(self, name: str, **more) -> str:
        wish = {"name": name, "role": "agent", **more}
        return json.loads(self.kerbside.ask("POST", "/api/v1/apikeys", wish)[1])["key"]

    def api(self, name: str, **more) -> Api:
        return Api(self.kerbside, self.key(name, **more))

    def machine(self, **more) -> dict:
        return {"insecure_port": self.server.port, "ticket": "sesame", "lease": "1h", **more}

    def consoles(self, source="desks") -> dict:
        rows = self.kerbside.items("/api/v1/consoles", source=source)
        return {row["uuid"]: row for row in rows}

    def wait_consoles(self, *uuids):
        wait_until(lambda: set(self.consoles()) == set(uuids), f"consoles {uuids}",
                   explain=lambda: f"{set(self.consoles())}\n"
                   + "\n".join(p.log() for p in self.processes))

    def settings(self, **change):
        rest = self.kerbside.configuration["sources"][1:]
        return self.kerbside.settings(sources=[self.source(**change), *rest])

    def agent(self, key: str, *words, env=None) -> Process:
        """`kerbside register`."""
        log = self.folder / f"agent-{len(self.processes)}.log"
        (self.folder / "agent.key").write_text(f"{key}\n")
        host, port = self.kerbside.address
        process = Process([binary(), "register", "--url", f"https://{host}:{port}",
                           "--cacert", self.kerbside.state_dir / "ca.pem",
                           "--key-file", self.folder / "agent.key", "--source", "desks", *words],
                          log=log, env=env)
        self.processes.append(process)
        return process

    def clear(self):
        for process in self.processes:
            process.stop()
        self.processes.clear()
        admin = self.api(f"admin {os.urandom(4).hex()}", role="admin")
        for source in ("desks", "other"):
            for uuid in self.consoles(source):
                answer = admin.ask("DELETE", path(uuid, source))
                assert answer.status in (204, 404), answer
        admin.close()

    def stop(self):
        self.kerbside.stop()
        self.server.stop()
        self.port.release()


def path(name: str, source="desks") -> str:
    return f"/api/v1/sources/{source}/machines/{name}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    held = Site(tmp_path_factory.mktemp("registered"))
    yield held
    held.stop()


@pytest.fixture(autouse=True)
def calm(site):
    yield
    site.clear()


def code(answer) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["code"]


# ---- the call ----

def test_a_machine_comes_and_goes(site):
    api = site.api("lab-3")
    mark = site.kerbside.mark()
    answer = api.ask("PUT", path("lab-3"), site.machine(owner="alice"))
    assert answer.status == 201
    assert {"source": "desks", "uuid": "lab-3", "lease": "1h"}.items() <= answer.json().items()
    assert api.ask("PUT", path("lab-3"), site.machine(owner="alice")).status == 200
    row = site.consoles()["lab-3"]
    assert (row["name"], row["owner"]) == ("lab-3", "alice")
    registered = site.kerbside.wait_audit("machine.registered", mark)
    assert {"actor": "apikey:lab-3", "client_address": "127.0.0.1", "source": "desks",
            "console": "lab-3"}.items() <= registered.items()
    with Session(site.kerbside, site.server, "lab-3", source_name="desks") as session:
        session.channel().exchange()
        assert api.ask("DELETE", path("lab-3")).status == 204
        session.channel().exchange()  # a session that runs is not touched
    assert site.consoles() == {}
    site.kerbside.wait_audit("machine.left", mark, console="lab-3")
    site.kerbside.wait_audit("console.removed", mark, console="lab-3")
    assert len(site.kerbside.audit("machine.registered", mark)) == 1
    assert code(api.ask("DELETE", path("lab-3"))) == (404, "machine_not_found")


def test_a_lease_runs_out(site):
    api = site.api("short")
    mark = site.kerbside.mark()
    assert api.ask("PUT", path("short"), site.machine(lease="1s")).status == 201
    assert api.ask("PUT", path("long"), site.machine()).status == 201
    site.kerbside.wait_audit("console.removed", mark, console="short")
    assert set(site.consoles()) == {"long"}
    wait_until(lambda: [row["console"] for row in site.kerbside.log("lease.expired")] == ["short"],
               "the log says so")


def test_what_it_says_may_change(site):
    """A new ticket counts for the next session; a renewal that says nothing new writes nothing."""
    api = site.api("changing")
    api.ask("PUT", path("box"), site.machine(ticket="wrong"))
    mark = site.kerbside.mark()
    for _ in range(2):
        assert api.ask("PUT", path("box"), site.machine(host_subject="CN=box")).status == 200
    site.kerbside.wait_audit("console.changed", mark, detail="host_subject")
    with Session(site.kerbside, site.server, "box", source_name="desks") as session:
        session.channel().exchange()
    assert len(site.kerbside.audit("console.changed", mark)) == 1


def test_a_reload_keeps_leases(site):
    api = site.api("kept")
    api.ask("PUT", path("kept"), site.machine())
    mark = site.kerbside.mark()
    with site.settings(lease_max="30m"):
        assert set(site.consoles()) == {"kept"}
        answer = api.ask("PUT", path("kept"), site.machine())
        assert (answer.status, answer.json()["lease"]) == (200, "30m")
        with Session(site.kerbside, site.server, "kept", source_name="desks") as session:
            session.channel().exchange()
    assert not site.kerbside.audit("console.removed", mark)


def test_a_restart_forgets(site):
    """No ticket is on any disk, so the agents have to come again."""
    api = site.api("again")
    api.ask("PUT", path("again"), site.machine(ticket="a ticket to find"))
    site.kerbside.drain()
    for file in site.kerbside.state_dir.rglob("*"):
        assert not file.is_file() or b"a ticket to find" not in file.read_bytes()
    site.kerbside.start()
    assert site.consoles() == {}
    fresh = Api(site.kerbside, api.token)
    assert fresh.ask("PUT", path("again"), site.machine()).status == 201
    fresh.close()


# ---- who may ----

def test_two_agents_one_name(site):
    """Who came first keeps the name, whatever the other one has in common with it."""
    one, two = site.api("one"), site.api("two")
    assert one.ask("PUT", path("desk"), site.machine(agent="first")).status == 201
    taken = (409, "machine_taken")
    assert code(one.ask("PUT", path("desk"), site.machine(agent="second"))) == taken
    assert code(two.ask("PUT", path("desk"), site.machine(agent="first"))) == taken
    assert code(two.ask("DELETE", path("desk"))) == taken
    assert code(one.ask("DELETE", path("desk") + "?agent=second")) == taken
    assert set(site.consoles()) == {"desk"}
    assert one.ask("DELETE", path("desk") + "?agent=first").status == 204
    assert two.ask("PUT", path("desk"), site.machine(agent="first")).status == 201


def test_keys_are_narrow(site):
    api = site.api("narrow", sources=["desks"], consoles=["lab-*"])
    assert api.ask("PUT", path("lab-1"), site.machine()).status == 201
    hidden = (404, "source_not_found")
    assert code(api.ask("PUT", path("office"), site.machine())) == hidden
    assert code(api.ask("PUT", path("lab-1", "other"), site.machine())) == hidden
    assert code(api.ask("PUT", path("lab-1", "none"), site.machine())) == hidden
    assert code(api.ask("DELETE", path("lab-1", "other"))) == hidden
    for target in ("consoles", "sources", "sessions", "grants", "audit", "users", "status"):
        assert code(api.ask("GET", f"/api/v1/{target}")) == (403, "forbidden"), target
    grants = "/api/v1/consoles/desks/lab-1/grants"
    assert code(api.ask("POST", grants, {})) == (403, "forbidden")
    user = site.api("a user", role="user")
    assert code(user.ask("PUT", path("lab-1"), site.machine())) == (403, "forbidden")


def test_only_to_such_sources(site):
    admin = site.api("some admin", role="admin")
    assert code(admin.ask("PUT", path("x", "lab"), site.machine())) == (
        409, "source_not_registered")
    assert code(admin.ask("PUT", path("x", "none"), site.machine())) == (404, "source_not_found")


def test_addresses(site):
    api = site.api("addresses")
    for address in ("127.0.0.1", "::ffff:127.0.0.1"):
        answer = api.ask("PUT", path("here"), site.machine(hypervisor_ip=address))
        assert answer.status in (200, 201), answer
    for address in ("192.0.2.1", "localhost"):
        assert code(api.ask("PUT", path("there"), site.machine(hypervisor_ip=address))) == (
            422, "invalid_machine")
    with site.settings(addresses="any"):
        assert api.ask("PUT", path("there"), site.machine(hypervisor_ip="192.0.2.1")).status == 201


@pytest.mark.parametrize("wish", [
    {}, {"insecure_port": 0}, {"insecure_port": 65536}, {"insecure_port": "5900"},
    {"insecure_port": 5900.0}, {"insecure_port": True}, {"secure_port": -1},
    {"insecure_port": 1, "ticket": "x" * 60}, {"insecure_port": 1, "lease": "soon"},
    {"insecure_port": 1, "lease": "-1s"}, {"insecure_port": 1, "hypervisor": "a b"},
    {"insecure_port": 1, "hypervisor": "http://a"}, {"insecure_port": 1, "hypervisor_ip": "::1%"},
    {"insecure_port": 1, "unix_socket": "/run/x"}, {"insecure_port": 1, "owner": "a\nb"},
    {"insecure_port": 1, "agent": "x" * 65}, {"insecure_port": 1, "host_subject": ["CN=a"]},
    [], "text", 7,
])
def test_hostile_wishes(site, wish):
    api = site.api(f"hostile {os.urandom(4).hex()}")
    assert api.ask("PUT", path("x"), wish).status in (400, 422)
    assert site.consoles() == {}
    api.close()


@pytest.mark.parametrize("name", ["%2e%2e", "a%2fb", "a%00b", "a%0ab", "%ff", "%e2%80%ae", "%20a",
                                  "x" * 256, "%"])
def test_hostile_names(site, name):
    api = site.api(f"names {os.urandom(4).hex()}")
    answer = api.ask("PUT", path(name), site.machine())
    assert answer.status in (400, 404, 422), answer
    assert site.consoles() == {}
    api.close()


# ---- kerbside register ----

def lines(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def gone(pid: int) -> bool:
    """Ended, if perhaps not yet buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_agent_of_a_server(site):
    """One that runs already, with a ticket in a file; it is taken back when the agent ends."""
    ticket = site.folder / "ticket"
    ticket.write_text("sesame\n")
    agent = site.agent(site.key("agent"), "--name", "box", "--port", site.server.port,
                       "--ticket-file", ticket, "--owner", "alice", "--lease", "5s")
    site.wait_consoles("box")
    with Session(site.kerbside, site.server, "box", source_name="desks") as session:
        session.channel().exchange()
    agent.signal(signal.SIGTERM)
    assert agent.popen.wait(60) == 0
    assert site.consoles() == {}
    assert "registered as box in desks" in agent.log()


def test_agent_without_a_server(site):
    """Nothing is announced that nobody could open."""
    port = Port()
    agent = site.agent(site.key("early"), "--name", "early", "--port", port.number,
                       "--lease", "5s")
    wait_until(lambda: "nobody listens" in agent.log(), "the agent says so", explain=agent.log)
    assert site.consoles() == {}
    late = Process([sys.executable, "-c", SERVER, port.number, site.folder / "late"],
                   log=site.folder / "late.log", env={"TICKET": "x"})
    site.wait_consoles("early")
    late.stop()
    site.wait_consoles()
    agent.signal(signal.SIGINT)
    assert agent.popen.wait(60) == 0
    port.release()


def command(site, port: Port, name: str, *words) -> tuple[list, Path]:
    program, told = site.folder / "server.py", site.folder / f"{name}.told"
    program.write_text(SERVER)
    return ["--", sys.executable, program, port.number, told, *words], told


@pytest.mark.parametrize("how", ["variable", "file"])
def test_agent_with_a_command(site, how):
    """The server gets a ticket of its own, not on its command line; a new one in its next run; and it
    ends with the agent."""
    port = Port()
    words, told = command(site, port, how, *(["{ticket_file}"] if how == "file" else []))
    given = ["--ticket-env", "TICKET"] if how == "variable" else []
    agent = site.agent(site.key(how), "--name", how, "--port", port.number, "--restart", *given,
                       *words)
    site.wait_consoles(how)
    ((pid, ticket),) = lines(told)
    assert len(ticket) == 43 and ticket not in agent.log()
    for who in (int(pid), agent.pid):
        assert ticket not in Path(f"/proc/{who}/cmdline").read_text()
    os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: len(lines(told)) == 2, "the next run", explain=agent.log)
    assert "ended by signal 9" in agent.log()
    site.wait_consoles(how)
    (_, (second, other)) = lines(told)
    assert other != ticket
    agent.signal(signal.SIGTERM)
    assert agent.popen.wait(60) == 0
    assert gone(int(second)) and site.consoles() == {}
    port.release()


def test_agent_ends_with_its_command(site):
    port = Port()
    words, told = command(site, port, "once")
    agent = site.agent(site.key("once"), "--name", "once", "--port", port.number,
                       "--ticket-env", "TICKET", *words)
    site.wait_consoles("once")
    ((pid, _),) = lines(told)
    os.kill(int(pid), signal.SIGTERM)
    assert agent.popen.wait(60) == 1
    assert site.consoles() == {}
    port.release()


def test_agent_outlives_kerbside(site):
    """It comes back by itself, and its server is not touched."""
    port = Port()
    words, told = command(site, port, "patient")
    agent = site.agent(site.key("patient"), "--name", "patient", "--port", port.number,
                       "--lease", "5s", "--ticket-env", "TICKET", *words)
    site.wait_consoles("patient")
    site.kerbside.drain()
    wait_until(lambda: "cannot be reached" in agent.log(), "the agent notices", explain=agent.log)
    site.kerbside.start()
    site.wait_consoles("patient")
    assert len(lines(told)) == 1 and agent.alive
    port.release()


@pytest.mark.parametrize("key, words, status, says", [
    ({}, ["--port", "1", "--source", "other", "--lease", "1s"], 2, "--lease"),
    ({}, [], 2, "--port or --tls-port"),
    ({}, ["--port", "0"], 2, "a port is"),
    ({}, ["--port", "1", "--", "true"], 2, "how the command gets its ticket"),
    ({}, ["--port", "1", "--restart"], 2, "for a command"),
    ({"consoles": ["a"]}, ["--name", "b"], 1, "source_not_found"),
    ({"role": "user"}, ["--name", "b"], 1, "forbidden"),
])
def test_agent_is_refused(site, key, words, status, says):
    """What waiting does not mend ends it at once."""
    if status == 1:
        words = [*words, "--port", site.server.port]
    agent = site.agent(site.key(os.urandom(4).hex(), **key), *words)
    assert agent.popen.wait(60) == status, agent.log()
    assert says in agent.log()


def test_the_page_of_the_source(site):
    """Its example is a configuration that loads, and its options are those of the program."""
    page = (Path(__file__).parents[2] / "docs/sources/registered.md").read_text()
    block = "\n".join(line[4:] for line in re.search(r"\n((?:    .*\n)+)", page)[1].splitlines())
    (example,) = yaml.safe_load(block)["sources"]
    example.update(source="example", ca_cert=str(site.kerbside.state_dir / "ca.pem"))
    with site.kerbside.settings(sources=[*site.kerbside.configuration["sources"], example]):
        assert site.kerbside.log("config.reloaded")
    help_text = os.popen(f"{binary()} register --help").read()
    for call in re.findall(r"kerbside register ((?:.*\\\n)*.*)", page):
        for option in re.findall(r"--[a-z-]+", call.split(" -- ")[0]):
            assert f"{option} " in help_text, option
