"""Debian's own spice-vdagent and spice-webdavd in a Linux guest, spice-gtk at the other end, and a
policy between them: what it forbids does not get across, all the rest does, and the session lives.

One guest serves the whole file: each test is a session of its own, as of users who follow one
another at a desktop."""

import hashlib
import itertools
import os
import re

import pytest
from lab import Lab, wait_until

UTF8_TEXT = 1
# As the agent tells of it. spice-vdagent 0.22 does not know the message of spice-gtk 0.42, which
# has the monitors' physical sizes too, and this is all that it does with it, kerbside or not.
CLIENTS_CLIPBOARD = r"spice-vdagent\[\d+\]: \w+ received clipboard grab"
WINDOW_SIZE = "invalid message size for VDAgentMonitorsConfig"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    held = Lab(tmp_path_factory.mktemp("linux"))
    try:
        yield held.linux()
    finally:
        held.stop()


class Desk:
    """A user at the guest's desktop: the things that can be tried, and whether they worked."""

    def __init__(self, lab, guest, folder, policy=None):
        self.guest, self.folder = guest, folder
        self.shared = folder / "shared"
        self.shared.mkdir()
        (self.shared / "file.txt").write_text("shared by the client")
        guest.run("rm -rf /root/Downloads/*")
        self.kerbside = None
        if policy is None:
            self.client = lab.client(endpoint=guest.endpoint, shared_dir=self.shared)
        else:
            self.kerbside = lab.kerbside(guest, settings={"policies": {"default": policy}})
            self.client = lab.client_through(self.kerbside, guest.endpoint.uuid,
                                             shared_dir=self.shared)
        self.client.wait_event("agent_known")

    def blocked(self, rule):
        self.kerbside.wait_audit("policy.blocked", reason=rule)

    def heard(self, what) -> int:
        """How often the agent, which tells all that it gets, has told of that."""
        return len(re.findall(what, self.guest.desktop_log()))

    # ---- clipboard ----

    def offer(self) -> str:
        text = f"from the client {next(numbers)}"
        self.client.command(f"clipboard-offer 0 {UTF8_TEXT} {text}")
        return text

    def paste(self) -> str:
        """What a program in the guest gets; it may be told that there is nothing."""
        return self.guest.run("timeout 20 xclip -selection clipboard -o", check=False)

    def pastes(self):
        text = self.offer()
        wait_until(lambda: self.paste() == text, "the client's text in the guest",
                   explain=self.guest.desktop_log)
        assert self.heard(CLIENTS_CLIPBOARD)

    def put(self) -> str:
        """A program in the guest takes the clipboard."""
        text = f"from the guest {next(numbers)}"
        self.guest.run(f"printf '{text}' | xclip -selection clipboard -i > /dev/null 2>&1")
        return text

    def copies(self):
        since = self.client.position()
        text = self.put()
        self.client.wait_event("clipboard_grab", since=since)
        self.client.command(f"clipboard-ask 0 {UTF8_TEXT}")
        self.client.wait_event("clipboard", since=since, text=text)

    # ---- files ----

    def send(self, size) -> tuple[bool, str]:
        """Whether the client says that it was sent, and its name."""
        name = f"file {next(numbers)}.bin"
        content = os.urandom(size)
        (self.folder / name).write_bytes(content)
        since = self.client.position()
        self.client.command(f"send-file {self.folder}/{name}")
        sent = self.client.wait_event("file_sent", since=since)["sent"]
        there = self.guest.run("cd /root/Downloads && ls && cat * | sha256sum", check=False)
        assert (name in there) == sent, there
        assert not sent or hashlib.sha256(content).hexdigest() in there
        self.guest.run("rm -rf /root/Downloads/*")
        return sent

    # ---- the window's size ----

    def resize(self):
        self.client.command("resize 800 600")

    def resizes(self):
        before = self.heard(WINDOW_SIZE)
        self.resize()
        wait_until(lambda: self.heard(WINDOW_SIZE) > before, "the agent hears of the window's size",
                   explain=self.guest.desktop_log)

    # ---- the shared folder ----

    def ask(self, method, name, body="", patience=30) -> int:
        """The guest's HTTP with the client's own server: the status, 0 if there is no answer."""
        data = f"--data-binary '{body}'" if body else ""
        return int(self.guest.run(
            f"curl -s -o /run/body -w '%{{http_code}}' -X {method} {data} --max-time {patience} "
            f"{self.guest.FOLDER_URL}/{name}", check=False) or 0)

    def reads(self):
        wait_until(lambda: self.ask("GET", "file.txt", patience=10) == 200, "the shared folder",
                   explain=self.guest.desktop_log)
        assert self.guest.run("cat /run/body") == "shared by the client"

    def writes(self):
        assert self.ask("PUT", "new.txt", "from the guest") in (200, 201, 204)
        assert (self.shared / "new.txt").read_text() == "from the guest"

    # ---- together ----

    def all_but(self, *forbidden):
        """Everything else works, in the session that has just seen something blocked."""
        for name in ("pastes", "copies", "sends", "resizes", "reads", "writes"):
            if name not in forbidden:
                getattr(self, name)()
        assert not self.client.find_all("channel", state=lambda s: "error" in s or s == "closed")
        self.client.disconnect()

    def sends(self):
        assert self.send(12_000)


@pytest.mark.parametrize("policy", [None, {}], ids=["direct", "kerbside"])
def test_everything_without_a_rule(lab, guest, tmp_path, policy):
    """Direct too: what is asserted through kerbside is true of the parts themselves."""
    Desk(lab, guest, tmp_path, policy).all_but()


def test_paste_into_the_guest_never(lab, guest, tmp_path):
    desk = Desk(lab, guest, tmp_path, {"clipboard": {"in": False}})
    before = desk.heard(CLIENTS_CLIPBOARD)
    secret = desk.offer()
    desk.blocked("clipboard.in")
    assert secret not in desk.paste()
    desk.all_but("pastes")
    assert desk.heard(CLIENTS_CLIPBOARD) == before


def test_copy_out_of_the_guest_never(lab, guest, tmp_path):
    desk = Desk(lab, guest, tmp_path, {"clipboard": {"out": False}})
    desk.put()
    desk.blocked("clipboard.out")
    desk.all_but("copies")
    assert not desk.client.find("clipboard_grab") and not desk.client.find("clipboard")


def test_no_file_and_none_that_is_too_big(lab, guest, tmp_path):
    desk = Desk(lab, guest, tmp_path, {"files": {"in": False}})
    assert not desk.send(1000)
    desk.client.disconnect()
    (tmp_path / "second").mkdir()
    desk = Desk(lab, guest, tmp_path / "second", {"files": {"max_size": "100kB"}})
    assert not desk.send(200_000)
    desk.blocked("files.max_size")
    desk.all_but()
    row = desk.kerbside.wait_audit("file.moved")
    assert "12000" in row["detail"]


def test_the_window_does_not_resize_the_guest(lab, guest, tmp_path):
    desk = Desk(lab, guest, tmp_path, {"resize": False})
    before = desk.heard(WINDOW_SIZE)
    desk.resize()
    desk.blocked("resize")
    desk.all_but("resizes")
    assert desk.heard(WINDOW_SIZE) == before


def test_a_folder_to_read(lab, guest, tmp_path):
    desk = Desk(lab, guest, tmp_path, {"folders": "read_only"})
    desk.reads()
    for method in ("PUT", "DELETE", "MKCOL", "LOCK", "PROPPATCH"):
        assert desk.ask(method, "file.txt", "overwritten") == 403
    desk.blocked("folders")
    desk.all_but("writes")
    assert [p.name for p in desk.shared.iterdir()] == ["file.txt"]
    assert (desk.shared / "file.txt").read_text() == "shared by the client"


def test_no_folder(lab, guest, tmp_path):
    desk = Desk(lab, guest, tmp_path, {"folders": "off"})
    assert desk.ask("GET", "file.txt", patience=2) == 0
    desk.all_but("reads", "writes")
    assert not desk.client.find("port", name="org.spice-space.webdav.0")
