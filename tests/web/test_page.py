"""The page's frame: how its files come, logging in and out, roles, and what holds in every view."""

import http.client
import json
import ssl

import pytest
from browser import DESKTOP, PHONE
from selenium.webdriver.common.keys import Keys

VIEWS = {"desktops": "Desktops", "sessions": "Sessions", "sources": "Sources", "audit": "Audit",
         "access": "Users and keys", "about": "About"}
ASIDE = {"account": "Your account"}  # behind one's own name
PASSWORD = "correct horse"
LOGIN_FAILED = "The user name or the password is wrong."


def ask(kerbside, path, method="GET", **headers):
    connection = http.client.HTTPSConnection(
        kerbside.host, kerbside.port, timeout=40, context=ssl._create_unverified_context())
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def people(kerbside, **roles):
    for name, role in roles.items():
        kerbside.ask("POST", "/api/v1/users", {"name": name, "role": role, "password": PASSWORD})


def shown_views(browser):
    return browser.texts("nav a .long-label")


def settled(browser, view):
    browser.go(f"#/{view}")
    browser.title({**VIEWS, **ASIDE}[view])
    browser.gone(".loading")
    browser.see("main table, main .card, main .empty")


# ---- files ----

def test_files_are_kept_and_asked_about(lab):
    kerbside = lab.kerbside(consoles=[])
    for path, kind in (("/", "text/html"), ("/web/app.js", "text/javascript"),
                       ("/web/style.css", "text/css"), ("/web/icon.svg", "image/svg+xml")):
        answer, body = ask(kerbside, path)
        assert answer.status == 200 and body
        assert answer.getheader("Content-Type").startswith(kind)
        assert answer.getheader("Cache-Control") == "no-cache"
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        policy = answer.getheader("Content-Security-Policy")
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "require-trusted-types-for" in policy
        again, nothing = ask(kerbside, path, **{"If-None-Match": answer.getheader("ETag")})
        assert again.status == 304 and nothing == b""
        assert again.getheader("ETag") == answer.getheader("ETag")
        assert again.getheader("Content-Security-Policy") == policy
        head, nothing = ask(kerbside, path, "HEAD")
        assert head.status == 200 and nothing == b""
        assert head.getheader("Content-Length") == str(len(body))
    answer, _ = ask(kerbside, "/web/nothing.js")
    assert answer.status == 404
    answer, _ = ask(kerbside, "/web/..%2Findex.html")
    assert answer.status == 404


# ---- in and out ----

def test_wrong_password_then_right_one_then_out(lab, browser):
    kerbside = lab.kerbside(consoles=[])
    browser.open(kerbside, "#/about")
    browser.fill_login("admin", "wrong")
    browser.see(".login-error", "password is wrong")
    browser.fill_login("", kerbside.password())
    browser.title("About")
    assert "#/about" in browser.driver.current_url
    browser.click("Log out")
    browser.see(".note", "You are logged out")
    browser.driver.refresh()
    browser.see("form input[name=username]")
    kerbside.wait_audit("login.failed", user="admin")
    kerbside.wait_audit("login.ok", user="admin")


def test_empty_fields_are_said_beside_them(lab, browser):
    browser.open(lab.kerbside(consoles=[]))
    browser.see("form input[name=username]")
    browser.click("Log in")
    assert len(browser.all(".field-error")) == 2
    assert browser.focused().get_attribute("name") == "username"
    assert browser.focused().get_attribute("aria-invalid") == "true"


def test_expired_login_leads_back(lab, browser):
    """The login ends on the daemon's side; after a new one, one is where one was."""
    kerbside = lab.kerbside(consoles=[])
    people(kerbside, olga="operator")
    kerbside.call("POST", "/api/v1/login", {"username": "olga", "password": PASSWORD}, login=False)
    kerbside.wait_audit("login.ok", user="olga")  # comes a moment after the answer
    browser.log_in(kerbside, "#/audit?event=login.ok&user=olga", "olga", PASSWORD)
    browser.see("table.audit code", "login.ok")
    kerbside.ask("POST", "/api/v1/users/olga/password", {"password": PASSWORD + "!"})
    browser.click("Filter")  # nothing has changed: no request yet
    browser.go("#/sessions?q=desk")
    browser.see(".note", "Your login has ended")
    browser.fill_login("olga", PASSWORD + "!")
    browser.title("Sessions")
    assert browser.field("Search by user, desktop, address or id").get_attribute("value") == "desk"


def test_expired_login_is_noticed_in_a_live_view_with_its_dialog_open(lab, browser):
    kerbside = lab.kerbside(consoles=[])
    people(kerbside, root="admin")
    browser.log_in(kerbside, "#/access", "root", PASSWORD)
    browser.click("Add user")
    browser.field("User name", "dialog").send_keys("eve")
    browser.field("New password", "dialog").send_keys(PASSWORD)
    kerbside.ask("POST", "/api/v1/users/root/password", {"password": PASSWORD + "!"})
    browser.click("Add user", "dialog")
    browser.see(".note", "Your login has ended")
    assert browser.find("dialog") is None
    browser.fill_login("root", PASSWORD + "!")
    browser.title("Users and keys")
    assert "eve" not in "".join(browser.texts("table.users"))


def test_another_tab_has_logged_in(lab, browser):
    """The cookie is another one than the page knows the CSRF token of."""
    kerbside = lab.kerbside(consoles=[])
    browser.log_in(kerbside, "#/access")
    browser.js("""return fetch("/api/v1/login", {method: "POST",
        headers: {"Content-Type": "application/json"}, body: JSON.stringify(
            {username: "admin", password: arguments[0], as_cookie: true})})
        .then((r) => r.status)""", kerbside.password())
    browser.click("Create key")
    browser.field("Name", "dialog").send_keys("portal")
    browser.click("Create key", "dialog")
    browser.see("dialog h2", "The key portal")


@pytest.mark.parametrize("methods, buttons, form", [
    ({"local": True, "keystone": False, "oidc": False}, ["Log in"], True),
    ({"local": True, "keystone": True, "oidc": True},
     ["Log in", "Log in with Keystone", "Log in with single sign-on"], True),
    ({"local": False, "keystone": True, "oidc": False}, ["Log in with Keystone"], True),
    ({"local": False, "keystone": False, "oidc": True}, ["Log in with single sign-on"], False),
])
def test_ways_to_log_in(lab, browser, methods, buttons, form):
    """The daemon's answer is pretended here: only what the page makes of it counts."""
    pretend = browser.cdp("Page.addScriptToEvaluateOnNewDocument", source="""
        const real = window.fetch;
        window.fetch = (path, options) => path === "/api/v1/login/methods"
          ? Promise.resolve(new Response(JSON.stringify(%s))) : real(path, options);
    """ % json.dumps(methods))
    try:
        browser.open(lab.kerbside(consoles=[]))
        browser.see(".login-card h1")

        def shown():
            return [e.text for e in browser.all(".login-card button, .login-card a")
                    if e.is_displayed()]

        browser.until(lambda: shown() == buttons, "the ways")
        assert browser.find("form input[name=password]").is_displayed() == form
        assert browser.axe() == []
        if methods["keystone"] and methods["local"]:
            # The daemon of this test knows no Keystone, and says so: the choice reached it.
            browser.find("input[name=username]").send_keys("admin")
            browser.find("input[name=password]").send_keys("x")
            browser.click("Log in with Keystone")
            browser.see(".login-error strong")
            assert browser.find(".login-error").text != LOGIN_FAILED
    finally:
        browser.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=pretend["identifier"])


# ---- roles ----

@pytest.mark.parametrize("role, views", [
    ("user", ["Desktops", "About"]),
    ("broker", ["Desktops", "About"]),
    ("auditor", ["Audit", "About"]),
    ("operator", ["Desktops", "Sessions", "Sources", "Audit", "About"]),
    ("admin", list(VIEWS.values())),
])
def test_roles_see_what_they_may(lab, browser, role, views):
    kerbside = lab.kerbside(consoles=[{"uuid": "a-1", "name": "desk", "hypervisor_ip": "127.0.0.1",
                                       "insecure_port": 1}])
    people(kerbside, dana=role)
    browser.log_in(kerbside, "#/access", "dana", PASSWORD)  # leads elsewhere unless one may
    assert shown_views(browser) == views
    browser.title("Users and keys" if role == "admin" else views[0])
    if "Desktops" in views:
        browser.go("#/desktops")
        browser.see("table.desktops", "desk")
        buttons = [b.accessible_name for b in browser.all("table.desktops td button")]
        assert buttons == {"admin": ["Diagnose desk", "Open desk"],
                           "operator": ["Diagnose desk"]}.get(role, ["Open desk"])


# ---- in every view ----

@pytest.fixture
def full(lab):
    """A kerbside with something in every view."""
    server = lab.spice_server()
    kerbside = lab.kerbside(server)
    people(kerbside, alice="user")
    kerbside.ask("POST", "/api/v1/apikeys", {"name": "nova", "role": "broker"})
    client = lab.client_through(kerbside, server.endpoint.uuid, grant={"user": "alice"})
    client.wait_picture()
    return kerbside


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_and_nothing_sticks_out(full, browser, size, dark):
    browser.look(size, dark)

    def check():
        width, wanted = browser.js(
            "return [innerWidth, document.scrollingElement.scrollWidth]")
        assert wanted <= width == size[0]
        assert browser.axe() == []

    browser.open(full)
    browser.see("form input[name=username]")
    check()
    browser.click("Log in")
    check()  # with its errors
    browser.log_in(full)
    for view in [*VIEWS, *ASIDE]:
        settled(browser, view)
        if view == "audit":
            browser.find("table.audit .fold").click()
        check()
    browser.go("#/sessions")
    browser.click("End the session of alice on server")
    check()
    browser.press(Keys.ESCAPE)
    browser.gone("dialog")
    browser.go("#/access")
    browser.click("Create key")
    check()
    browser.click("Create key", "dialog")
    browser.see("dialog .field-error")
    check()
    browser.field("Name", "dialog").send_keys("portal")
    browser.click("Create key", "dialog")
    browser.see("dialog input.secret")
    check()
    browser.click("Done", "dialog")
    browser.click("Change the role of alice")
    check()
    browser.press(Keys.ESCAPE)
    browser.gone("dialog")
    browser.go("#/desktops")
    browser.click("Diagnose server")
    browser.see(".hops")
    check()
    browser.press(Keys.ESCAPE)
    browser.gone("dialog")
    browser.click("Open server")  # alice is there
    browser.see("dialog", "alice")
    check()
    browser.click("Open it", "dialog")
    browser.see(".note", "works once")
    check()
    browser.click("Nothing opens it?")
    check()


def test_daemon_that_goes_away_is_said_and_comes_back(full, browser):
    browser.log_in(full, "#/sources")
    browser.see("table.sources", "lab")
    full.process.kill()  # a stop would wait for the session
    browser.see(".problem", "Kerbside does not answer")
    assert browser.find("table.sources.outdated")
    full.start()
    browser.gone(".problem")
    browser.see("table.sources:not(.outdated)", "lab")


def test_skip_link_is_first_and_titles_take_the_focus(full, browser):
    browser.log_in(full, "#/about")
    browser.driver.refresh()
    browser.title("About")
    assert browser.focused().tag_name == "h1"
    for view in VIEWS:
        settled(browser, view)
        assert browser.focused().tag_name == "h1"
        assert VIEWS[view] in browser.driver.title
    browser.find(".skip").send_keys(Keys.ENTER)
    assert browser.focused().text == "About"
