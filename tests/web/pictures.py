#!/usr/bin/python3
"""pictures.py [FOLDER]: draws the pictures of docs/page.md from a living kerbside.

Two real sessions run meanwhile. Needs what the web suite needs.
"""

import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent)]

from browser import DESKTOP, PHONE, Browser  # noqa: E402
from lab import Lab  # noqa: E402
from lab.kerbside import Kerbside, source  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

NAMES = ["accounts", "build", "cad", "desk", "finance", "kiosk", "library", "mail", "training",
         "web"]
VIEWS = ["desktops", "sessions", "sources", "audit", "access", "about", "account"]


def consoles(count, prefix):
    """Names that differ from source to source."""
    first = sum(map(ord, prefix)) % 7
    return [{"uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{prefix}-{i}")),
             "name": f"{NAMES[i % len(NAMES)]}-{first}{i // len(NAMES) + 1:02}",
             "hypervisor": f"hv{i % 7 + 1}.example.org", "hypervisor_ip": f"192.0.2.{i % 7 + 1}",
             "secure_port": 5900 + i} for i in range(count)]


def people(kerbside):
    for name, role in (("alice", "user"), ("bob", "user"), ("olga", "operator"),
                       ("sam", "auditor")):
        kerbside.ask("POST", "/api/v1/users",
                     {"name": name, "role": role, "password": "correct horse"})
    for name, role, more in (
            ("nova", "broker", {"cidrs": ["192.0.2.0/24"]}),
            ("portal", "broker", {"sources": ["office"], "consoles": ["kiosk-*", "web-*"]}),
            ("metrics", "operator", {})):
        kerbside.ask("POST", "/api/v1/apikeys",
                     {"name": name, "role": role, "expires_in": "720h", **more})


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parents[1] / "docs/images")
    with tempfile.TemporaryDirectory() as scratch:
        lab = Lab(Path(scratch))
        browser = Browser()
        try:
            draw(lab, browser, folder, Path(scratch))
        finally:
            browser.quit()
            lab.stop()


def draw(lab, browser, folder, scratch):
    server = lab.spice_server(name="architecture-2", fps=4)
    other = lab.qemu(name="browser-kiosk")
    held = [server.endpoint.console(), other.endpoint.console()]
    kerbside = Kerbside(scratch / "kerbside", [
        source("lab", held + consoles(38, "lab")), source("office", consoles(120, "off")),
        source("cellar", consoles(3, "cel"))])
    lab._keep(kerbside)
    # A source that was good and is not any more.
    kerbside.configuration["sources"][2]["consoles"][0]["name"] = "a name\nof two lines"
    kerbside.write_configuration()
    kerbside.reload()
    kerbside.wait_audit("source.failed")
    people(kerbside)
    clients = []
    for user, endpoint in (("alice", server.endpoint), ("bob", other.endpoint)):
        clients.append(lab.client_through(kerbside, endpoint.uuid, grant={"user": user}))
        clients[-1].wait_picture()

    browser.begin(scratch / "downloads")
    browser.open(kerbside)
    for suffix, size, dark in (("", DESKTOP, False), ("-dark", DESKTOP, True),
                               ("-phone", PHONE, False), ("-phone-dark", PHONE, True)):
        browser.look(size, dark)
        browser.see("form input[name=username]")
        browser.screenshot(folder / f"page-login{suffix}.png")
    browser.look(DESKTOP)
    browser.log_in(kerbside)
    for view in VIEWS:
        browser.go("#/desktops?sort=-users" if view == "desktops" else f"#/{view}")
        browser.gone(".loading")
        browser.see("main table, main .card")
        if view == "desktops":
            browser.see(".users", "alice")
        if view == "sessions":  # a line worth looking at
            for number in range(12):
                clients[0].key(0x10 + number)
                browser.until(lambda n=number: len(browser.js(
                    "return document.querySelector('.spark .line').getAttribute('d')"
                    ".split('L')")) > n + 1, "the line grows")
        for suffix, size, dark in (("", DESKTOP, False), ("-dark", DESKTOP, True),
                                   ("-phone", PHONE, False), ("-phone-dark", PHONE, True)):
            browser.look(size, dark)
            browser.screenshot(folder / f"page-{view}{suffix}.png")
    browser.look(DESKTOP)
    for place, button, until, name in (
            ("#/desktops?sort=-users", "Diagnose architecture-2", ".hops", "diagnosis"),
            ("#/sessions", "End the session of alice on architecture-2", "dialog", "end"),
            ("#/access", "Create key", "dialog", "key")):
        browser.go(place)
        browser.click(button)
        browser.see(until)
        browser.screenshot(folder / f"page-{name}.png")
        browser.press(Keys.ESCAPE)
        browser.gone("dialog")
    print(browser.end())
    subprocess.run(["mogrify", "-dither", "None", "-colors", "96", "-strip",
                    "-define", "png:compression-level=9",
                    *map(str, folder.glob("page-*.png"))], check=True)


if __name__ == "__main__":
    main()
