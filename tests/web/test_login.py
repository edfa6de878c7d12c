"""Logging in with single sign-on and with Keystone, in the real browser, against stand-ins of the
services that speak their protocols."""

import urllib.parse

import pytest
from clouds.keystone import Keystone
from clouds.oidc import Provider
from clouds.server import Answer
from common.pki import Authority
from lab.kerbside import Kerbside, source

DESK = {"uuid": "u-1", "name": "desk", "hypervisor_ip": "127.0.0.1", "insecure_port": 1}
PAGE = """<!DOCTYPE html><html lang="en"><title>Provider</title><body>
<h1>Who are you?</h1><p><a href="{alice}">alice</a> <a href="{carol}">carol</a>
<a href="{denied}">nobody</a></p></body></html>"""


class LoginPage(Provider):
    """The provider with the page on which people say who they are."""

    def handle(self, request):
        if request.path != "/authorize":
            return super().handle(request)
        location = f"{self.url}/authorize?{urllib.parse.urlencode(request.query)}"
        home = request.query["redirect_uri"]

        def after(sub):
            query = urllib.parse.urlsplit(self.consent(location, sub)).query
            return f"{home}?{query}".replace("&", "&amp;")

        denied = urllib.parse.urlencode({"error": "access_denied",
                                         "state": request.query["state"]})
        page = PAGE.format(alice=after("sub-alice"), carol=after("sub-carol"),
                           denied=f"{home}?{denied}".replace("&", "&amp;"))
        return Answer(200, page.encode(), {"Content-Type": "text/html"})


@pytest.fixture
def authority():
    return Authority("O=Login,CN=Login CA")


@pytest.fixture
def provider(tmp_path, authority):
    held = LoginPage(authority.server_context(tmp_path / "provider", "CN=localhost"))
    held.user("sub-alice", preferred_username="alice", groups=["staff"])
    held.user("sub-carol", preferred_username="carol", groups=["others"])
    yield held
    held.stop()


@pytest.fixture
def keystone(tmp_path, authority):
    held = Keystone(authority.server_context(tmp_path / "keystone", "CN=localhost"))
    held.user("olga", "olga's", ["desktops"])
    held.user("olga", "the other olga's", ["desktops"], "other")
    yield held
    held.stop()


@pytest.fixture
def kerbside(lab, tmp_path, authority, provider, keystone):
    secret = tmp_path / "secret"
    secret.write_text(provider.client_secret)
    identity = {
        "oidc": {"issuer": provider.issuer, "client_id": provider.client_id,
                 "client_secret": {"file": str(secret)}, "ca": authority.pem},
        "keystone": {"url": keystone.url, "access_group": "desktops", "ca": authority.pem},
        "roles": [{"role": "user", "groups": "staff"},
                  {"role": "operator", "users": ["keystone:olga"]},
                  {"role": "auditor", "users": ["keystone:other/olga"]}],
    }
    return lab._keep(Kerbside(tmp_path / "kerbside", [source("lab", [DESK])],
                              settings={"identity": identity},
                              environment={"NO_PROXY": "localhost"}))


def single_sign_on(browser, who):
    browser.click("Log in with single sign-on")
    browser.see("h1", "Who are you?")
    browser.click(who)


def test_single_sign_on_leads_back_to_where_one_was(kerbside, browser):
    browser.open(kerbside, "#/about?from=a%20mail")
    single_sign_on(browser, "alice")
    browser.title("About")
    assert browser.driver.current_url.endswith("/#/about?from=a%20mail")
    browser.click("Your account: oidc:alice, user")
    card = browser.see(".card", "oidc:alice").text
    assert "single sign-on" in card and "staff" in card
    kerbside.wait_audit("login.ok", user="oidc:alice", detail="oidc")
    # The login works for what changes something, too.
    browser.go("#/desktops")
    browser.click("Open desk")
    browser.download(".vv")
    browser.click("Log out")
    browser.see(".note", "You are logged out")
    browser.driver.refresh()
    browser.see("form input[name=username]")


def test_single_sign_on_without_a_role_or_a_consent(kerbside, browser):
    browser.open(kerbside)
    single_sign_on(browser, "carol")
    browser.see("h1", "You are not logged in")
    browser.click("Log in")
    single_sign_on(browser, "nobody")
    browser.see("h1", "You are not logged in")
    browser.click("Log in")
    browser.fill_login("admin", kerbside.password())  # the local ones still can
    browser.title("Desktops")


def test_keystone_with_and_without_a_domain(kerbside, browser):
    browser.open(kerbside)

    def log_in(password, domain=""):
        browser.see("form input[name=username]").clear()
        browser.field("User name").send_keys("olga")
        browser.field("Password").send_keys(password)
        browser.field("Keystone domain").send_keys(domain)
        browser.click("Log in with Keystone")

    log_in("wrong")
    browser.see(".login-error", "password is wrong")
    log_in("olga's")
    browser.see("a.who-name", "keystone:olga")
    browser.title("Desktops")
    browser.click("Log out")
    log_in("the other olga's", "other")
    browser.see("a.who-name", "keystone:other/olga")
    browser.title("Audit")


def test_provider_that_is_down(kerbside, provider, browser):
    browser.open(kerbside)
    provider.trouble = "500"
    browser.click("Log in with single sign-on")
    browser.see("h1", "You are not logged in")
    browser.see("p", "cannot be asked right now")
    browser.click("Log in")
    browser.fill_login("admin", kerbside.password())  # who is known here need not wait for it
    browser.title("Desktops")
