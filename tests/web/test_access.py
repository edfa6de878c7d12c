"""Users, roles, API keys and logins: who may what, and that a change holds at once."""

from selenium.webdriver.common.keys import Keys

PASSWORD = "correct horse"
DESK = {"uuid": "u-1", "name": "desk", "hypervisor_ip": "127.0.0.1", "insecure_port": 1}


def add_user(kerbside, name, role):
    kerbside.ask("POST", "/api/v1/users", {"name": name, "role": role, "password": PASSWORD})


def log_in(kerbside, name, password=PASSWORD) -> str:
    """A login beside the browser's; its token."""
    answer = kerbside.call("POST", "/api/v1/login", {"username": name, "password": password},
                           login=False)
    assert answer.status == 200, answer.body
    return answer.json()["access_token"]


def status(kerbside, token, path="/api/v1/me"):
    return kerbside.call("GET", path, login=False,
                         headers={"Authorization": f"Bearer {token}"}).status


def shown_views(browser):
    return browser.texts("nav a .long-label")


def test_users_and_keys(lab, browser):
    kerbside = lab.kerbside(consoles=[])
    browser.log_in(kerbside, "#/access")
    browser.click("Add user")
    browser.field("User name", "dialog").send_keys("alice")
    browser.field("Role", "dialog").send_keys("operator")
    browser.field("New password", "dialog").send_keys("short")
    browser.click("Add user", "dialog")
    browser.see("dialog .field-error", "At least 8 characters")
    browser.field("New password", "dialog").send_keys(" but longer", Keys.ENTER)
    browser.see("table.users [data-user=alice]", "operator")
    browser.gone("dialog")
    # The same again is refused, with what to do, and the dialog stays.
    browser.click("Add user")
    browser.field("User name", "dialog").send_keys("alice")
    browser.field("New password", "dialog").send_keys("short but longer", Keys.ENTER)
    browser.see("dialog .problem", "Choose another name")
    browser.click("Cancel", "dialog")

    def logs_in(password):
        return kerbside.call("POST", "/api/v1/login", {"username": "alice", "password": password},
                             login=False).status == 200

    assert logs_in("short but longer")
    browser.click("Change the password of alice")
    browser.field("New password", "dialog").send_keys("another one", Keys.ENTER)
    browser.gone("dialog")
    assert logs_in("another one") and not logs_in("short but longer")
    browser.click("Remove alice")
    browser.click("Remove user", "dialog")
    browser.gone("[data-user=alice]")
    assert not logs_in("another one")

    browser.click("Create key")
    browser.field("Name", "dialog").send_keys("portal", Keys.ENTER)
    key = browser.see("dialog input.secret").get_attribute("value")
    assert key.startswith("kbk_")

    def status():
        return kerbside.call("GET", "/api/v1/me", login=False,
                             headers={"Authorization": f"Bearer {key}"}).status

    assert status() == 200
    browser.click("Done", "dialog")
    assert key not in browser.js("return document.documentElement.outerHTML")
    browser.click("Revoke portal")
    browser.click("Revoke key", "dialog")
    browser.see("table.keys", "Revoked")
    assert status() == 401


def test_role_is_changed_and_the_last_admin_stays(lab, browser):
    kerbside = lab.kerbside(consoles=[DESK])
    add_user(kerbside, "olga", "user")
    token = log_in(kerbside, "olga")
    assert status(kerbside, token, "/api/v1/sessions") == 403
    browser.log_in(kerbside, "#/access")
    browser.click("Change the role of olga")
    browser.field("Role", "dialog").send_keys("operator")
    browser.click("Change role", "dialog")
    browser.see("table.users [data-user=olga] .col-role", "operator")
    browser.gone("dialog")
    assert status(kerbside, token, "/api/v1/sessions") == 200  # the login from before
    event = kerbside.wait_audit("user.changed", user="olga")
    assert event["actor"] == "admin" and event["detail"] == "role operator, was user"
    assert event["request_id"] and event["client_address"] == "127.0.0.1"
    # Nobody takes the last admin away, not even it itself.
    browser.click("Change the role of admin")
    browser.field("Role", "dialog").send_keys("none")
    browser.click("Change role", "dialog")
    browser.see("dialog .problem", "last user with the role admin")
    browser.click("Cancel", "dialog")
    assert shown_views(browser)[-2] == "Users and keys"


def test_ones_own_role_changes_while_one_looks(lab, browser):
    kerbside = lab.kerbside(consoles=[DESK])
    add_user(kerbside, "olga", "operator")
    browser.log_in(kerbside, "#/sessions", "olga", PASSWORD)
    browser.see(".empty", "Nobody is connected")
    kerbside.ask("PATCH", "/api/v1/users/olga", {"role": "user"})
    browser.title("Desktops")  # the view is not for users
    assert shown_views(browser) == ["Desktops", "About"]
    browser.see("table.desktops", "desk")
    kerbside.ask("PATCH", "/api/v1/users/olga", {"role": "none"})
    browser.see(".note", "no role any more")  # the list asks again by itself


def test_key_with_limits(lab, browser):
    kerbside = lab.kerbside(consoles=[DESK, {**DESK, "uuid": "u-2", "name": "other"}])
    browser.log_in(kerbside, "#/access")
    browser.click("Create key")
    browser.field("Name", "dialog").send_keys("narrow")
    browser.field("Role", "dialog").send_keys("broker")
    browser.field("Expires after", "dialog").send_keys("30")
    browser.field("Sources", "dialog").send_keys("lab, cellar")
    browser.field("Desktops", "dialog").send_keys("de*,")
    browser.field("From networks", "dialog").send_keys("127.0.0.0/8, nonsense")
    browser.click("Create key", "dialog")
    browser.see("dialog .problem", "must be networks")
    browser.field("From networks", "dialog").clear()
    browser.field("From networks", "dialog").send_keys("127.0.0.0/8, 2001:db8::/32", Keys.ENTER)
    key = browser.see("dialog input.secret").get_attribute("value")
    browser.click("Done", "dialog")
    row = browser.see("table.keys tbody tr", "narrow").text
    assert all(part in row for part in ("lab, cellar", "de*", "127.0.0.0/8, 2001:db8::/32"))
    seen = kerbside.call("GET", "/api/v1/consoles", login=False,
                         headers={"Authorization": f"Bearer {key}"}).json()
    assert [c["name"] for c in seen["items"]] == ["desk"]


def test_key_without_a_role_is_copied(lab, browser):
    kerbside = lab.kerbside(consoles=[])
    browser.log_in(kerbside, "#/access")
    browser.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite",
                                                         "clipboardSanitizedWrite"])
    browser.click("Create key")
    browser.field("Name", "dialog").send_keys("ruled")
    browser.field("Role", "dialog").send_keys("none")
    browser.click("Create key", "dialog")
    key = browser.see("dialog input.secret").get_attribute("value")
    browser.click("Copy", "dialog")
    browser.see("dialog .row", "Copied")
    assert browser.driver.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], (e) => arguments[0](String(e)))") == key
    assert status(kerbside, key) == 403  # nothing until identity.roles names it


def test_own_logins(lab, browser):
    kerbside = lab.kerbside(consoles=[DESK])
    add_user(kerbside, "alice", "user")
    others = [log_in(kerbside, "alice") for _ in range(3)]
    log_in(kerbside, "admin", kerbside.password())
    browser.log_in(kerbside, "", "alice", PASSWORD)
    browser.click("Your account: alice, user")
    browser.title("Your account")
    browser.until(lambda: len(browser.all("table.logins tbody tr")) == 4, "alice's alone")
    assert "This one" in browser.find("table.logins tbody tr").text
    assert browser.axe() == []
    # One of the others: the newest stands behind this one.
    row = browser.all("table.logins tbody tr")[1]
    row.find_element("css selector", "button").click()
    browser.until(lambda: len(browser.all("table.logins tbody tr")) == 3, "one less")
    assert sorted(status(kerbside, token) for token in others) == [200, 200, 401]
    browser.click("Log out everywhere")
    browser.click("Log out everywhere", "dialog")
    browser.see(".note", "You are logged out, everywhere: 3 logins.")
    assert [status(kerbside, token) for token in others] == [401] * 3
    browser.driver.refresh()
    browser.see("form input[name=username]")
    # This login alone.
    browser.fill_login("alice", PASSWORD)
    browser.title("Desktops")
    browser.go("#/account")
    token = log_in(kerbside, "alice")
    browser.driver.refresh()
    browser.until(lambda: len(browser.all("table.logins tbody tr")) == 2, "both")
    browser.find("table.logins tbody tr button").click()
    browser.see(".note", "You are logged out.")
    assert status(kerbside, token) == 200


def test_logins_of_others(lab, browser):
    kerbside = lab.kerbside(consoles=[])
    add_user(kerbside, "alice", "user")
    token = log_in(kerbside, "alice")
    browser.log_in(kerbside, "#/access")
    browser.click("Logins of alice")
    browser.title("Logins of alice")
    browser.until(lambda: len(browser.all("table.logins tbody tr")) == 1, "the one")
    browser.click("End all logins")
    browser.click("End all logins", "dialog")
    browser.see(".empty", "Nobody is logged in by this name")
    assert status(kerbside, token) == 401
    kerbside.wait_audit("login.ended", user="alice", actor="admin")
