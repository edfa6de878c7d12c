"""A real session, seen live and ended from the page; the audit, which shows it; sources."""

import collections
import csv
import json

import pytest
from lab import wait_until
from lab.kerbside import Kerbside, source
from selenium.webdriver.common.keys import Keys


def bytes_of(browser, channel):
    return browser.js("""const row = document.querySelector(`[data-channel="${arguments[0]}"]`);
        return row ? Number(row.dataset.bytes) : null""", channel)


@pytest.fixture(params=["qemu", "spice_server"])
def session(request, lab):
    """(kerbside, client, session) with alice on a real desktop."""
    server = getattr(lab, request.param)()
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid, grant={"user": "alice"})
    client.wait_picture()
    client.wait_channel("inputs")
    (seen,) = kerbside.wait_sessions(1)
    return kerbside, client, seen


def test_live_then_ended_with_a_reason(session, browser):
    kerbside, client, seen = session
    browser.log_in(kerbside, "#/sessions")
    row = browser.see(f"tbody[data-session='{seen['id']}']", "alice")
    assert "127.0.0.1" in row.text
    browser.until(lambda: {"main:0", "display:0", "inputs:0"} <= set(
        browser.js("return [...document.querySelectorAll('[data-channel]')]"
                   ".map((e) => e.dataset.channel)")), "its channels")
    # Bytes move: keys go in, and the picture changes.
    inputs, display = bytes_of(browser, "inputs:0"), bytes_of(browser, "display:0")
    for _ in range(5):
        client.key()
    browser.until(lambda: bytes_of(browser, "inputs:0") > inputs, "keys are counted")
    browser.until(lambda: bytes_of(browser, "display:0") > display, "pictures are counted")
    browser.until(lambda: "L" in browser.js(
        "return document.querySelector('.session .spark .line').getAttribute('d')"), "a sparkline")
    browser.see("tr.channel .col-rtt", "ms")
    # A reason is needed.
    browser.click(f"End the session of alice on {seen['console']}")
    browser.click("End session", "dialog")
    browser.see("dialog .field-error", "Please fill this in")
    browser.press("maintenance of <b>hv1</b>", Keys.ENTER)
    client.wait_over()
    browser.see(".empty", "Nobody is connected")
    browser.gone("dialog")
    assert browser.focused().tag_name == "h1"
    kerbside.wait_sessions(0)
    event = kerbside.wait_audit("session.terminated", session_id=seen["id"])
    assert event["actor"] == "admin" and event["detail"] == "maintenance of <b>hv1</b>"
    browser.go("#/audit?event=session.terminated")
    browser.see("table.audit", "maintenance of <b>hv1</b>")


def test_session_that_ends_while_one_looks(session, browser):
    kerbside, client, seen = session
    browser.log_in(kerbside, "#/sessions")
    browser.click(f"End the session of alice on {seen['console']}")
    browser.see("dialog")
    client.disconnect()
    browser.see(".empty", "Nobody is connected")
    browser.gone("dialog")  # there is nothing left to end
    assert "The session of alice" in browser.said()


@pytest.fixture
def one(lab):
    server = lab.spice_server()
    kerbside = lab.kerbside(server)
    client = lab.client_through(kerbside, server.endpoint.uuid, grant={"user": "alice"})
    client.wait_picture()
    return lab, kerbside, client


def test_pause_fold_and_search(one, browser):
    _, kerbside, client = one
    browser.log_in(kerbside, "#/sessions")
    browser.see("tr.channel")
    fold = browser.button("Channels of server")
    assert fold.get_attribute("aria-expanded") == "true"
    fold.click()
    browser.gone("tr.channel")
    browser.click("Channels of server")
    browser.see("tr.channel")
    browser.field("Search by user, desktop, address or id").send_keys("bob")
    browser.see(".empty", "No live session fits")
    browser.press(Keys.BACKSPACE, Keys.BACKSPACE, Keys.BACKSPACE, "ali")
    browser.see("tr.session", "alice")
    browser.click("Pause")
    browser.see(".pulse", "Paused")
    client.disconnect()
    kerbside.wait_sessions(0)
    browser.see("tr.session", "alice")  # as it was
    browser.click("Go on")
    browser.gone("tr.session")


def test_operator_may_end_but_not_open(one, browser):
    _, kerbside, client = one
    kerbside.ask("POST", "/api/v1/users",
                 {"name": "olga", "role": "operator", "password": "correct horse"})
    browser.log_in(kerbside, "#/desktops", "olga", "correct horse")
    browser.see("table.desktops .badge", "In use")
    assert {b.accessible_name for b in browser.all("table.desktops td button")} == {
        "Diagnose server"}
    browser.find("table.desktops .users a").click()
    browser.title("Sessions")
    browser.click("End the session of alice on server")
    assert "The user is told it" in browser.see("dialog").text
    browser.field("Reason", "dialog").send_keys("Security", Keys.ENTER)
    client.wait_over()
    kerbside.wait_audit("session.terminated", actor="olga")


def test_audit_filters_pages_and_files(one, browser):
    lab, kerbside, client = one
    for number in range(60):
        kerbside.ask("POST", "/api/v1/apikeys", {"name": f"key-{number}", "role": "broker"})
    for _ in range(3):
        kerbside.call("POST", "/api/v1/login", {"username": "=cmd", "password": "x"}, login=False)
    browser.log_in(kerbside, "#/audit")
    browser.see("table.audit")
    # Nothing more shall come while files are compared with lists.
    client.disconnect()
    kerbside.wait_audit("session.ended")

    def quiet():
        count = collections.Counter(e["event"] for e in kerbside.audit())
        return (count["login.failed"] == 3 and count["login.ok"] == 2
                and count["channel.closed"] == count["channel.opened"])

    wait_until(quiet, "events that come after the answers are there")
    browser.field("Event").send_keys("apikey.created")
    browser.until(lambda: set(browser.texts("table.audit code")) == {"apikey.created"}, "one kind")
    browser.until(lambda: browser.find(".count").text == "60", "sixty of them")
    # Both files hold what the API holds.
    browser.click("JSON lines")
    lines = [json.loads(line) for line in browser.download(".jsonl").read_text().splitlines()]
    assert lines == kerbside.items("/api/v1/audit", event="apikey.created")
    browser.click("Clear")
    browser.until(lambda: len(set(browser.texts("table.audit code"))) > 1, "all kinds")
    browser.click("CSV")
    with open(browser.download(".csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = kerbside.items("/api/v1/audit")
    assert [r["id"] for r in rows] == [e["id"] for e in wanted]
    assert rows[0]["time"] == wanted[0]["time"]
    # A name that begins like a formula is none in a spreadsheet.
    failed = [r for r in rows if r["event"] == "login.failed"]
    assert failed and all(r["user"] == "'=cmd" for r in failed)


def test_audit_goes_to_older_pages_and_back(lab, browser):
    kerbside = lab.kerbside(consoles=[{"uuid": f"u-{i}", "name": f"desk-{i}",
                                       "hypervisor_ip": "127.0.0.1", "insecure_port": 1}
                                      for i in range(3)])
    for number in range(120):
        kerbside.ask("POST", "/api/v1/consoles/lab/u-0/grants", {})
    browser.log_in(kerbside, "#/audit?event=grant.created")
    browser.see("table.audit")
    newest = browser.texts("table.audit time")
    assert len(newest) == 100
    assert browser.button("Newer").get_property("disabled")
    browser.click("Older")
    browser.until(lambda: len(browser.texts("table.audit time")) == 20, "the rest")
    browser.driver.refresh()  # the page is in the address
    browser.until(lambda: len(browser.texts("table.audit time")) == 20, "the rest again")
    browser.click("Newer")
    browser.until(lambda: browser.texts("table.audit time") == newest, "the newest again")
    fold = browser.find("table.audit .fold")
    fold.click()
    assert "Request" in browser.see("tr.detail dl").text


def test_source_that_fails_says_why(lab, browser):
    good = {"uuid": "a", "name": "desk", "hypervisor_ip": "127.0.0.1", "insecure_port": 1}
    kerbside = lab._keep(Kerbside(lab._folder("kerbside"), [
        source("bad", [{**good, "name": "two\nlines"}]), source("good", [good])]))
    browser.log_in(kerbside, "#/sources")
    row = browser.see("tr[data-source=bad]", "Failed")
    assert "never" in row.text and "since" in row.text
    (state,) = [s for s in kerbside.items("/api/v1/sources") if s["source"] == "bad"]
    assert state["error"] in row.text
    assert browser.find(".count").text == "2, 1 not fresh"
    browser.see("tr[data-source=good]", "Fresh")


def test_source_that_was_good_is_stale(lab, browser):
    good = {"uuid": "a", "name": "desk", "hypervisor_ip": "127.0.0.1", "insecure_port": 1}
    kerbside = lab._keep(Kerbside(lab._folder("kerbside"), [
        source("lab", [good]), source("other", [{**good, "name": "spare"}])]))
    browser.log_in(kerbside, "#/sources")
    browser.see("tr[data-source=lab]", "Fresh")
    consoles = kerbside.configuration["sources"][0]["consoles"]
    kerbside.configuration["sources"][0]["consoles"] = [{"name": "without an id"}]
    kerbside.write_configuration()
    kerbside.reload()
    row = browser.see("tr[data-source=lab]", "Stale")
    (state,) = [s for s in kerbside.items("/api/v1/sources") if s["source"] == "lab"]
    assert state["state"] == "stale" and state["stale_since"] and state["error"] in row.text
    assert all(part in row.text for part in ("since", "can still be opened", "tried", "took"))
    assert row.find_element("css selector", ".col-count").text == "1"  # what it had
    # Asking again changes nothing, and says so.
    browser.click("Refresh lab")
    browser.until(lambda: "lab was refreshed: Stale." in browser.said(), "it is said")
    browser.go("#/desktops?state=stale")
    browser.until(lambda: browser.texts("table.desktops .main-line") == ["desk"], "the stale one")
    browser.go("#/sources")
    kerbside.configuration["sources"][0]["consoles"] = consoles
    kerbside.write_configuration()
    kerbside.reload()
    browser.see("tr[data-source=lab]", "Fresh")
    assert "since" not in browser.find("tr[data-source=lab]").text


def test_about_and_sources(one, browser):
    _, kerbside, _client = one
    status = kerbside.ask("GET", "/api/v1/status")
    browser.log_in(kerbside, "#/about")
    card = browser.see(".card", "This kerbside")
    wait_until(lambda: "Store works" in card.text, "the status")
    assert status["version"] in card.text and status["node"] in card.text
    assert "60 seconds" in browser.see(".card:nth-child(2)").text
    browser.go("#/sources")
    row = browser.see("tr[data-source=lab]", "Fresh")
    assert "static" in row.text
    row.find_element("css selector", ".col-count a").click()
    browser.title("Desktops")
    assert "source=lab" in browser.driver.current_url
