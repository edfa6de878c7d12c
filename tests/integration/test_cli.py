"""Every subcommand, against the admin socket and against a URL with a key: what it does, what it
prints on a terminal and for programs, and how it exits."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

import pytest
from common.process import PATIENCE, wait_until
from daemon import binary
from session import Session
from spice import DISPLAY

DONE, REFUSED, USAGE, UNREACHABLE = range(4)
WIDTH = 80
LONG = PATIENCE * 2


class Cli:
    """The program as somebody calls it who has one way to the daemon."""

    def __init__(self, kerbside, way: str, key: str, scratch):
        self.kerbside, self.way, self.scratch = kerbside, way, scratch
        self.environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8", "CURL_CA_BUNDLE": "",
                            "PATH": f"{scratch}:{os.environ['PATH']}", "TMPDIR": str(scratch),
                            "XDG_RUNTIME_DIR": str(scratch)}
        for name in ("KERBSIDE_URL", "KERBSIDE_API_KEY", "CURL_CA_BUNDLE"):
            self.environment.pop(name, None)
        if way == "url":
            self.environment["KERBSIDE_API_KEY"] = key
            host, port = kerbside.address
            ca = next(kerbside.state_dir.rglob("ca.pem"))
            self.there = ["--url", f"https://{host}:{port}", "--cacert", str(ca)]
        else:
            self.there = ["-c", str(kerbside.config_path)]

    def command(self, *words) -> list[str]:
        return [str(word) for word in (binary(), *words, *self.there)]

    def run(self, *words, stdin="", status=DONE):
        done = subprocess.run(self.command(*words), input=stdin, capture_output=True, text=True,
                              env=self.environment, timeout=LONG)
        assert done.returncode == status, f"{words}: {done}"
        assert bool(done.stderr) == (status != DONE) or words[:2] == ("console", "diagnose"), done
        return done.stdout

    def json(self, *words, stdin=""):
        return json.loads(self.run(*words, "--json", stdin=stdin))

    def terminal(self, *words) -> list[str]:
        """The lines that a terminal of 80 columns gets."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
        process = subprocess.Popen(self.command(*words), stdin=theirs, stdout=theirs,
                                   stderr=subprocess.PIPE, env=self.environment)
        os.close(theirs)
        text = b""
        try:
            while more := os.read(ours, 1 << 16):
                text += more
        except OSError:  # the last of the other end is closed
            pass
        finally:
            os.close(ours)
        assert process.wait(LONG) == DONE, process.stderr.read()
        process.stderr.close()
        lines = text.decode().replace("\r\n", "\n").splitlines()
        assert all(len(line) <= WIDTH for line in lines), "\n".join(lines)
        return lines


@pytest.fixture(scope="module")
def ways(world, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("cli")
    viewer = scratch / "remote-viewer"
    viewer.write_text(f'#!/bin/sh\nmv "$1" {scratch}/opened.vv\n')
    viewer.chmod(0o755)
    body = {"name": "a key with a name that is not short", "role": "admin"}
    key = json.loads(world.kerbside.ask("POST", "/api/v1/apikeys", body)[1])["key"]
    return {way: Cli(world.kerbside, way, key, scratch) for way in ("socket", "url")}


@pytest.fixture(params=["socket", "url"])
def cli(request, ways):
    return ways[request.param]


# ---- what each does ----

def a_list(*words, has):
    def check(cli, world):
        head, *rows = cli.terminal(*words)
        assert re.match(r"[A-Z]", head) and rows
        assert has in " ".join(rows)
        found = cli.json(*words)
        assert isinstance(found, list) and has in json.dumps(found)
        # Nobody reads the width of a pipe.
        assert len(cli.run(*words).splitlines()) == len(found) + 1
    return check


def status(cli, world):
    assert any(re.match(r"version +\d", line) for line in cli.terminal("status"))
    found = cli.json("status")
    assert found["ready"] is True and found["sessions"] >= 1


def version(cli, world):
    done = subprocess.run([binary(), "version"], capture_output=True, text=True)
    assert re.fullmatch(r"kerbside \d+\.\d+\.\d+\n", done.stdout) and done.returncode == DONE


def source_refresh(cli, world):
    assert "lab" in cli.terminal("source", "refresh", "lab")[1]
    assert cli.json("source", "refresh", "lab")["state"] == "ok"


def console_show(cli, world):
    for words in (("lab", "desk"), ("desk",)):
        assert cli.json("console", "show", *words)["uuid"] == "desk"
        assert re.match("name +desk", cli.terminal("console", "show", *words)[0])


def console_vv(cli, world):
    path = cli.scratch / f"{cli.way}.vv"
    assert cli.run("console", "vv", "desk", "-o", path, "--user", "zoe", "--max-session", "1h",
                   "--start-within", "5m", "--client-address", "192.0.2.1") == ""
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("[virt-viewer]")
    assert "password=" in cli.run("console", "vv", "lab", "desk", "--reusable")
    grant = next(g for g in world.kerbside.items("/api/v1/grants") if g["user"] == "zoe")
    assert (grant["client_address"], grant["max_session"]) == ("192.0.2.1", "1h")


def console_open(cli, world):
    opened = cli.scratch / "opened.vv"
    opened.unlink(missing_ok=True)
    cli.run("console", "open", "desk")
    assert opened.read_text().startswith("[virt-viewer]")


def console_diagnose(cli, world):
    assert cli.terminal("console", "diagnose", "lab", "desk")[0].startswith("HOP")
    assert cli.json("console", "diagnose", "desk")["ok"] is True


def session_show(cli, world):
    one = world.bystander.session.id
    lines = cli.terminal("session", "show", one)
    assert any(line.startswith("main:0") for line in lines)
    assert {c["channel"] for c in cli.json("session", "show", one)["channels"]} == {"main:0",
                                                                                "display:0"}


def session_terminate(cli, world):
    for words in (lambda s: (s.id,), lambda s: ("--grant", cli.json("session", "show", s.id)
                                                ["grant_id"]),
                  lambda s: ("--source", "lab", "--console", "desk"), lambda s: ("--user", "uma")):
        session = Session(world.kerbside, world.server, user="uma")
        session.channel(DISPLAY)
        assert cli.json("session", "terminate", *words(session), "--reason", "tea")["terminated"]
        for channel in session.channels:
            channel.client.rest()  # it is cut
        ended = cli.json("session", "show", session.id)
        assert (ended["reason"], ended["termination"]["detail"]) == ("terminated", "tea")
        assert bool(ended["termination"]["apikey_id"]) == (cli.way == "url")
        assert {c["channel"] for c in ended["closed_channels"]} == {"main:0", "display:0"}
        lines = cli.terminal("session", "show", session.id)
        assert any(re.match("because +tea", line) for line in lines)
        session.close()


def audit(cli, world):
    cli.run("console", "vv", "desk")
    head, *rows = cli.terminal("audit", "--since", "1h", "--limit", "5")
    assert head.startswith("TIME") and len(rows) in (5, 6)
    found = cli.json("audit", "--event", "grant.created", "--limit", "3")
    assert {row["event"] for row in found} == {"grant.created"}
    times = [row["time"] for row in found]
    assert times == sorted(times)
    assert cli.json("audit", "--until", "2001-01-01T00:00:00Z") == []


def user_words(cli, world):
    name = f"vera-{cli.way}"
    assert cli.run("user", "add", name, "--role", "user", "--password-stdin",
                   stdin="a long enough one\n") == ""
    assert name in [user["name"] for user in cli.json("user", "list")]
    assert cli.run("user", "passwd", name, "--password-stdin", stdin="another long one\n") == ""
    body = {"username": name, "password": "another long one"}
    assert world.kerbside.call("POST", "/api/v1/login", body)[0] == 200
    assert cli.run("user", "role", name, "auditor") == ""
    assert {"name": name, "role": "auditor"}.items() <= next(
        user for user in cli.json("user", "list") if user["name"] == name).items()
    cli.run("user", "role", name, "emperor", status=REFUSED)
    assert cli.run("user", "remove", name) == ""
    assert name not in cli.run("user", "list")


def apikey_words(cli, world):
    key = cli.run("apikey", "create", "some key", "--role", "broker", "--expires-in", "1h",
                  "--cidr", "192.0.2.0/24,2001:db8::/32", "--source", "lab", "--console", "d*")
    assert re.fullmatch(r"kbk_\S+\n", key)
    mine = [k for k in cli.json("apikey", "list")
            if k["name"] == "some key" and not k["revoked_at"]]
    assert len(mine) == 1 and mine[0]["consoles"] == ["d*"]
    assert cli.run("apikey", "revoke", mine[0]["id"]) == ""
    cli.run("apikey", "revoke", mine[0]["id"], status=REFUSED)
    made = cli.json("apikey", "create", "other key", "--role", "user")
    assert made["key"].startswith("kbk_")


def source_check(cli, world):
    steps = cli.json("source", "check", "lab")
    assert "lab" in json.dumps(steps)
    assert cli.terminal("source", "check", "lab")
    cli.run("source", "check", "nowhere", status=REFUSED)


def policy_show(cli, world):
    assert cli.json("policy", "show", "default")["name"] == "default"
    assert "default" in " ".join(cli.terminal("policy", "show", "default"))
    cli.run("policy", "show", "nowhere", status=REFUSED)


def policy_explain(cli, world):
    found = cli.json("policy", "explain", "admin", "desk")
    assert "default" in json.dumps(found["policies"])
    assert "default" in " ".join(cli.terminal("policy", "explain", "admin", "desk"))


WORDS = {
    "status": status,
    "version": version,
    "source list": a_list("source", "list", has="lab"),
    "source refresh": source_refresh,
    "source check": source_check,
    "policy list": a_list("policy", "list", has="default"),
    "policy show": policy_show,
    "policy explain": policy_explain,
    "console list": a_list("console", "list", has="desk"),
    "console show": console_show,
    "console vv": console_vv,
    "console open": console_open,
    "console diagnose": console_diagnose,
    "session list": a_list("session", "list", has="beside"),
    "session show": session_show,
    "session terminate": session_terminate,
    "audit": audit,
    "user add": user_words,
    "user list": a_list("user", "list", has="admin"),
    "user passwd": user_words,
    "user role": user_words,
    "user remove": user_words,
    "apikey create": apikey_words,
    "apikey list": a_list("apikey", "list", has="a key w"),
    "apikey revoke": apikey_words,
}


def test_all_are_here():
    text = subprocess.run([binary(), "--help"], capture_output=True, text=True).stdout
    there = set(re.findall(r"^  ([a-z]+(?: [a-z]+)?)  ", text, re.MULTILINE))
    # Not of the daemon's clients that ask once: test_daemon.py and test_source_registered.py.
    assert there - {"serve", "check", "register"} == set(WORDS)


@pytest.mark.parametrize("words", list(WORDS))
def test_command(cli, world, words):
    WORDS[words](cli, world)


# ---- tables ----

def test_what_does_not_fit_is_named(cli, world):
    """Long names everywhere: the table still fits, says what it left out, and JSON has it."""
    cli.run("console", "vv", "desk", "--user", "somebody-with-quite-a-name@directory.example.org")
    lines = cli.terminal("audit", "--limit", "50")
    assert re.match(r"\(no room for .*", lines[-1])
    assert "DETAIL" not in lines[0] and "detail" in cli.json("audit", "--limit", "1")[0]
    wide = cli.run("audit", "--limit", "50").splitlines()
    assert "DETAIL" in wide[0] and "no room" not in wide[-1]


# ---- follow ----

@pytest.mark.parametrize("as_json", [True, False], ids=["json", "table"])
def test_follow(cli, world, as_json):
    words = ["audit", "--follow", "--limit", "1", "--event", "grant.created"]
    world.kerbside.grant("desk", user="before")
    process = subprocess.Popen(cli.command(*words, *(["--json"] if as_json else [])),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=cli.environment)
    watchdog = threading.Timer(LONG, process.kill)
    watchdog.start()
    try:
        if not as_json:
            assert process.stdout.readline().startswith("TIME")
        assert "before" in process.stdout.readline()
        users = [f"follower-{number}" for number in range(3)]
        for user in users:  # each in a batch of its own, or not: once each, in order
            world.kerbside.grant("desk", user=user)
            line = process.stdout.readline()
            assert (json.loads(line)["user"] == user) if as_json else (user in line)
        process.stdout.close()  # the reader goes, and the program with it
        world.kerbside.grant("desk", user="unread")
        status = process.wait(LONG)
        # Found out before writing, or by writing.
        assert status in (DONE, REFUSED, -signal.SIGPIPE), process.stderr.read()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stderr.close()


# ---- how it exits ----

def test_refused(cli):
    cli.run("console", "show", "lab", "nothing", status=REFUSED)
    cli.run("console", "show", "no such name", status=REFUSED)
    cli.run("session", "show", "0000000000000000", status=REFUSED)
    cli.run("session", "terminate", "0000000000000000", status=REFUSED)
    cli.run("source", "refresh", "nothing", status=REFUSED)
    cli.run("user", "remove", "nobody", status=REFUSED)
    cli.run("user", "add", "xavier", "--role", "user", "--password-stdin", stdin="short\n",
            status=REFUSED)
    cli.run("apikey", "create", "x", "--role", "emperor", status=REFUSED)
    cli.run("audit", "--since", "last week", status=REFUSED)


@pytest.mark.parametrize("words", [
    ["nothing"], ["console"], ["console", "nothing"], ["console", "show"],
    ["console", "list", "too", "many"], ["status", "--reason", "x"], ["status", "--nothing"],
    ["user", "add", "xavier"], ["apikey", "create", "x"], ["session", "terminate"],
    ["session", "terminate", "id", "--user", "both"], ["session", "terminate", "--console", "x"],
    ["audit", "--limit", "0"], ["audit", "--limit", "many"]], ids=" ".join)
def test_misused(cli, words):
    cli.run(*words, status=USAGE)


def test_wrong_way(ways, tmp_path):
    """What stands before any daemon: no key, no TLS, no configuration."""
    url, socket = ways["url"], ways["socket"]

    def run(*words, status, **environment):
        done = subprocess.run([binary(), "status", *map(str, words)], capture_output=True,
                              text=True, env={**socket.environment, **environment}, timeout=LONG)
        assert done.returncode == status and done.stderr.startswith("kerbside: "), done

    key = url.environment["KERBSIDE_API_KEY"]
    run(*url.there, status=USAGE)
    run("--url", "http://127.0.0.1:1", status=USAGE, KERBSIDE_API_KEY=key)
    run("-c", tmp_path / "nothing.yaml", status=USAGE)
    (tmp_path / "broken.yaml").write_text("runtime_dir: [")
    run("-c", tmp_path / "broken.yaml", status=USAGE)
    # The daemon says no:
    run(*url.there, status=REFUSED, KERBSIDE_API_KEY="kbk_unknown")
    # There is none, or one that cannot be trusted:
    (tmp_path / "other.yaml").write_text(f"runtime_dir: {tmp_path}")
    run("-c", tmp_path / "other.yaml", status=UNREACHABLE)
    run("--url", "https://127.0.0.1:1", status=UNREACHABLE, KERBSIDE_API_KEY=key)
    run(*url.there[:2], status=UNREACHABLE, KERBSIDE_API_KEY=key)
    # The environment may name it too; -c goes before that.
    done = subprocess.run([binary(), "status", "--json", *url.there[2:]], capture_output=True,
                          text=True, env={**url.environment, "KERBSIDE_URL": url.there[1]})
    assert json.loads(done.stdout)["node"] == socket.json("status")["node"], done.stderr
