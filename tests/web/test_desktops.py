"""Desktops: found, sorted, opened; many of them; and names that mean harm."""

import configparser

from browser import PHONE
from lab.kerbside import Kerbside, source
from selenium.webdriver.common.keys import Keys

HOSTILE = {
    "h-html": "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "h-rtl": "invoice\u202efdp.exe",
    "h-quote": "\"'`]&lt;%s%n${1}",
    "h-long": "w" * 200,
    "h-joined": "خانه\u200cها",
    "h-formula": "=HYPERLINK(\"http://example.org\")",
}
PASSWORD = "correct horse"


def console(uuid, name, **more):
    return {"uuid": uuid, "name": name, "hypervisor_ip": "127.0.0.1", "insecure_port": 1, **more}


def names(browser):
    return browser.texts("table.desktops .main-line")


def search(browser, text):
    field = browser.field("Search by name, user, host or id")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.BACKSPACE, text)


def test_open_downloads_a_file_that_a_viewer_can_use(lab, browser):
    server = lab.spice_server()
    kerbside = lab.kerbside(server)
    browser.log_in(kerbside)
    browser.click("Open server")
    browser.see(".note", "Open it within 60 seconds; it works once.")
    file = browser.download(".vv")
    assert file.name == "server.vv"
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(file.read_text())
    section = parsed["virt-viewer"]
    assert section["type"] == "spice"
    assert section["host"] == kerbside.host
    assert section["tls-port"] == str(kerbside.port)
    assert len(section["password"]) >= 43
    # Parsing proves little: a client must get to the desktop with it.
    lab.client(vv=file).wait_picture()
    assert kerbside.wait_sessions(1)[0]["user"] == "admin"
    browser.see("table.desktops .badge.live", "In use")
    browser.see("table.desktops .users", "admin")


def test_plain_user_sees_what_is_in_use(lab, browser):
    server = lab.spice_server()
    free = console("free", "spare")
    kerbside = lab.kerbside(consoles=[server.endpoint.console(), free])
    kerbside.ask("POST", "/api/v1/users", {"name": "alice", "role": "user", "password": PASSWORD})
    browser.log_in(kerbside, "", "alice", PASSWORD)
    browser.until(lambda: browser.texts("table.desktops .badge") == ["Free", "Free"], "both free")
    client = lab.client_through(kerbside, server.endpoint.uuid, grant={"user": "bob"})
    client.wait_picture()
    browser.until(lambda: browser.texts("table.desktops .badge") == ["In use", "Free"], "in use")
    assert "bob" not in browser.find("table.desktops").text  # by whom is not for users
    browser.field("State").send_keys("In use")
    browser.until(lambda: names(browser) == ["server"], "those in use")
    browser.click("Open server")
    assert "Somebody is connected" in browser.see("dialog").text
    browser.click("Cancel", "dialog")
    client.disconnect()
    browser.see(".empty", "No desktop fits")


def test_diagnosis(lab, browser):
    server = lab.spice_server()
    gone = console("gone", "gone", hypervisor="hv1")
    kerbside = lab.kerbside(consoles=[server.endpoint.console(), gone])
    browser.log_in(kerbside)
    browser.click("Diagnose server")
    browser.see("dialog", "The way is clear")
    assert browser.find("[data-hop=ticket] .badge").text == "Works"
    browser.press(Keys.ESCAPE)
    browser.gone("dialog")
    assert browser.focused().accessible_name == "Diagnose server"
    browser.click("Diagnose gone")
    browser.see("dialog", "It fails at this: the connection to the hypervisor.")
    (hop,) = [h for h in kerbside.ask("GET", "/api/v1/consoles/lab/gone/diagnosis")["hops"]
              if h["result"] == "failed"]
    shown = browser.find("[data-hop=connect]").text
    assert "Failed" in shown and "What to do:" in shown and hop["detail"] in shown
    assert browser.find("[data-hop=ticket] .badge").text == "Not tried"
    assert "It fails at this" in browser.said()
    kerbside.configuration["sources"][0]["consoles"].pop()
    kerbside.write_configuration()
    kerbside.reload()
    kerbside.wait_audit("console.removed")
    browser.click("Try again", "dialog")
    browser.see("dialog .problem", "Its source does not list it any more")


def test_policy(lab, browser):
    """From the diagnosis: what holds for whom, and who decided."""
    kerbside = lab.kerbside(
        consoles=[console("gone", "gone", policy="guarded")],
        settings={"policies": {"default": {"sound": False},
                               "guarded": {"clipboard": {"max_bytes": "4KiB"}},
                               "trial": {"mode": "observe", "sound": False, "cursor": False},
                               "staff": {"usb": {"enabled": False}}},
                  "identity": {"roles": [{"role": "user", "users": "ann", "policy": "staff"},
                                         {"role": "user", "users": "ann", "policy": "trial"}]}})
    browser.log_in(kerbside)
    browser.click("Diagnose gone")
    browser.click("Policy", "dialog")
    browser.see("dialog [data-rule='clipboard.max_bytes']", "4096")
    assert "guarded (the desktop)" in browser.find("dialog").text
    assert browser.find("[data-rule='usb.enabled']").text.split() == ["usb.enabled", "yes", "–"]
    assert "policies hold" in browser.said()
    assert browser.axe() == []
    browser.field("For the user", "dialog").send_keys("ann", Keys.ENTER)
    browser.see("[data-rule='usb.enabled']", "staff")
    assert "no would be: trial only observes" in browser.find("[data-rule='cursor']").text
    assert "trial (a role, only observes)" in browser.find("dialog").text
    browser.press(Keys.ESCAPE)
    browser.gone("dialog")


def test_viewer_hint(lab, browser):
    browser.log_in(lab.kerbside(consoles=[console("a", "desk")]))
    browser.click("Get a viewer")
    assert "sudo apt install virt-viewer" in browser.see("dialog").text
    browser.press(Keys.ESCAPE)
    browser.gone("dialog")
    assert browser.focused().accessible_name == "Get a viewer"


def test_keyboard_alone_logs_in_searches_and_opens(lab, browser):
    kerbside = lab.kerbside(consoles=[console(f"u-{i}", f"desk-{i}") for i in range(30)])
    browser.open(kerbside)
    browser.until(lambda: browser.focused().get_attribute("name") == "username", "the name's field")
    browser.press("admin", Keys.TAB, kerbside.password(), Keys.ENTER)
    browser.title("Desktops")
    browser.see("table.desktops", "desk-7")

    def tab_to(wanted):
        for _ in range(60):
            browser.press(Keys.TAB)
            if browser.focused().accessible_name == wanted:
                return
        raise AssertionError(f"Tab does not reach {wanted}")

    tab_to("Search by name, user, host or id")
    browser.press("desk-1")
    browser.until(lambda: len(names(browser)) == 11, "eleven fit")
    assert "11 desktops" in browser.said()
    browser.press(Keys.ARROW_DOWN)
    assert browser.focused().accessible_name == "Open desk-1"
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert browser.focused().accessible_name == "Open desk-11"
    browser.press(Keys.END)
    assert browser.focused().accessible_name == "Open desk-19"
    browser.press(Keys.ENTER)
    assert browser.download(".vv").name == "desk-19.vv"


def test_filters_are_in_the_address(lab, browser):
    kerbside = lab._keep(Kerbside(lab._folder("kerbside"), [
        source("north", [console("n-1", "alpha"), console("n-2", "beta")]),
        source("south", [console("s-1", "gamma"), console("s-2", "Alpha 10"),
                         console("s-3", "alpha 9")])]))
    browser.log_in(kerbside)
    browser.until(lambda: names(browser) == ["alpha", "alpha 9", "Alpha 10", "beta", "gamma"],
                  "names in the order people count in")
    browser.field("Source").send_keys("south")
    browser.until(lambda: names(browser) == ["alpha 9", "Alpha 10", "gamma"], "the source's")
    browser.click("Desktop")
    browser.until(lambda: names(browser) == ["gamma", "Alpha 10", "alpha 9"], "downwards")
    search(browser, "ALPHA")
    browser.until(lambda: names(browser) == ["Alpha 10", "alpha 9"], "those that fit")
    browser.driver.refresh()
    browser.until(lambda: names(browser) == ["Alpha 10", "alpha 9"], "the same after a reload")
    search(browser, "nothing like it")
    browser.see(".empty", "No desktop fits")
    browser.click("Show all")
    browser.until(lambda: len(names(browser)) == 5, "all again")
    browser.field("State").send_keys("In use")
    browser.see(".empty", "No desktop fits")


def test_no_desktops(lab, browser):
    browser.log_in(lab.kerbside(consoles=[]))
    browser.see(".empty", "No desktops yet")


def test_five_thousand(lab, browser):
    kerbside = lab.kerbside(consoles=[console(f"id-{i:05}", f"desk-{i:05}") for i in range(5000)])
    browser.log_in(kerbside)
    browser.until(lambda: browser.find(".count").text == "5,000", "all are counted")
    table = browser.find("table.desktops")
    assert table.get_attribute("aria-rowcount") == "5001"
    seen = set()
    height = browser.js("return document.scrollingElement.scrollHeight")
    for part in range(0, 11):
        browser.js("scrollTo(0, arguments[0])", height * part / 10)
        # The rows that fill the window are there once it has been drawn.
        browser.until(lambda: browser.js("""
            const rows = [...document.querySelectorAll("table.desktops tbody:not(.spacer) tr")];
            const box = document.querySelector("table.desktops").getBoundingClientRect();
            const top = Math.max(box.top + 40, 0), bottom = Math.min(box.bottom, innerHeight);
            return rows.length > 0 && rows[0].getBoundingClientRect().top <= top + 60
              && rows.at(-1).getBoundingClientRect().bottom >= bottom - 2;
            """), "rows fill the window")
        assert len(browser.all("table.desktops tbody tr")) < 100
        seen.update(names(browser))
    assert {"desk-00000", "desk-04999"} <= seen and len(seen) > 150
    # Each row stands at its place.
    last = browser.see("table.desktops tr[aria-rowindex='5001']")
    assert "desk-04999" in last.text
    browser.js("scrollTo(0, 0)")
    search(browser, "04321")
    browser.until(lambda: names(browser) == ["desk-04321"], "the one")
    assert browser.find(".count").text == "1 of 5,000"
    search(browser, "")
    browser.until(lambda: browser.find(".count").text == "5,000", "all again")
    browser.click("Desktop")
    browser.until(lambda: names(browser)[0] == "desk-04999", "sorted the other way")
    # The keyboard goes from one end to the other.
    browser.button("Open desk-04999").send_keys(Keys.END)
    browser.until(lambda: browser.focused().accessible_name == "Open desk-00000", "the last row")
    browser.press(Keys.HOME)
    browser.until(lambda: browser.focused().accessible_name == "Open desk-04999", "the first row")
    # The focus stays while live data is drawn anew and rows move.
    browser.press(Keys.ARROW_DOWN)
    assert browser.focused().accessible_name == "Open desk-04998"


def test_hostile_names_are_text(lab, browser):
    kerbside = lab.kerbside(consoles=[console(u, n) for u, n in HOSTILE.items()])
    kerbside.ask("POST", "/api/v1/users",
                 {"name": "<b onclick=x>eve", "role": "user", "password": PASSWORD})
    for size in ((1280, 800), PHONE):
        browser.look(size)
        browser.log_in(kerbside)
        browser.until(lambda: len(names(browser)) == len(HOSTILE), "all are shown")
        shown = "\n".join(names(browser))
        assert "<img src=x onerror=alert(1)>" in shown
        assert "invoice\\u202efdp.exe" in shown and "\u202e" not in shown
        assert "خانه\u200cها" in shown  # a joiner that Persian needs
        assert browser.js("return document.querySelectorAll('main img, main script').length") == 0
        width, wanted = browser.js("return [innerWidth, document.scrollingElement.scrollWidth]")
        assert wanted <= width
        browser.cdp("Network.clearBrowserCookies")
    browser.look()
    browser.log_in(kerbside)
    browser.click("Open " + HOSTILE["h-html"])
    file = browser.download(".vv")
    assert file.parent == browser.downloads  # whatever its name is
    browser.see(".note strong")
    browser.go("#/access")
    browser.see("table.users", "<b onclick=x>eve")
    browser.click("Remove <b onclick=x>eve")
    assert "<b onclick=x>eve" in browser.see("dialog").text
    browser.press(Keys.ESCAPE)
    browser.go("#/audit?event=grant.created")
    browser.see("table.audit", "<img src=x")
