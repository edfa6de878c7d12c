"""A headless Chromium on the page of a kerbside: what a person does and sees, as verbs."""

import json
import tempfile
from pathlib import Path

from lab import LabError, wait_until
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

AXE = Path(__file__).resolve().parent / "node_modules/axe-core/axe.min.js"
DESKTOP = (1280, 800)
PHONE = (390, 844)

# Runs before any script of a page: what goes wrong is kept until the test asks.
WATCH = """
window.wentWrong = [];
const note = (text) => window.wentWrong.push(text);
addEventListener("securitypolicyviolation",
  (e) => note(`CSP ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));
addEventListener("error", (e) => note(`error ${e.message} ${e.filename}:${e.lineno}`));
addEventListener("unhandledrejection", (e) => note(`rejection ${e.reason?.stack ?? e.reason}`));
"""


class Browser:
    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(prefix="kb-chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
                         "--no-first-run", "--disable-background-networking",
                         "--disable-component-update", "--disable-sync",
                         "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-GB",
                         "--force-color-profile=srgb", "--no-proxy-server",
                         f"--user-data-dir={self._profile.name}"):
            options.add_argument(argument)
        options.accept_insecure_certs = True  # kerbside made its own CA a moment ago
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        self.kerbside = None

    def quit(self):
        self.driver.quit()
        self._profile.cleanup()

    def cdp(self, command: str, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)

    def js(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    # ---- a fresh start for each test ----

    def begin(self, downloads: Path):
        self.downloads = downloads
        downloads.mkdir(exist_ok=True)
        self.cdp("Network.clearBrowserCookies")
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        self.look(DESKTOP)
        self.driver.get_log("browser")

    def end(self) -> list[str]:
        """What went wrong on the page while the test ran."""
        wrong = self.js("return window.wentWrong ?? []")
        for entry in self.driver.get_log("browser"):
            # Answers of 4xx and 5xx are the API's business; a view shows them.
            if entry["level"] != "DEBUG" and "Failed to load resource" not in entry["message"]:
                wrong.append(f"{entry['level']} {entry['message']}")
        self.driver.get("about:blank")
        return wrong

    def look(self, size=DESKTOP, dark=False):
        """How wide the window is, and which colours its person likes."""
        width, height = size
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=width < 700)
        self.cdp("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    # ---- going about ----

    def open(self, kerbside, place: str = ""):
        self.kerbside = kerbside
        self.driver.get(f"https://{kerbside.host}:{kerbside.port}/{place}")

    def go(self, place: str):
        """To a view, as a link does."""
        self.js("location.hash = arguments[0]", place)

    def log_in(self, kerbside, place: str = "", user: str | None = None, password=None):
        self.open(kerbside, place)
        self.fill_login(user or kerbside.USER, password or kerbside.password())
        self.see("nav a[aria-current]")

    def fill_login(self, user: str, password: str):
        self.see("form input[name=username]").send_keys(user)
        self.find("form input[name=password]").send_keys(password, Keys.ENTER)

    # ---- seeing ----

    def all(self, css: str):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def find(self, css: str):
        found = self.all(css)
        return found[0] if found else None

    def until(self, predicate, what: str):
        def tried():
            try:
                return predicate()
            except StaleElementReferenceException:  # a live view drew it anew just now
                return None

        return wait_until(tried, what, explain=self.describe)

    def see(self, css: str, text: str | None = None):
        """Waits for a visible element, with the text in it; gives it."""

        def seen():
            for element in self.all(css):
                if element.is_displayed() and (text is None or text in element.text):
                    return element
            return None

        return self.until(seen, f"the page shows {css} {text or ''}")

    def gone(self, css: str):
        self.until(lambda: not any(e.is_displayed() for e in self.all(css)), f"{css} is gone")

    def button(self, name: str, within: str = "body"):
        """The visible button or link with this accessible name, once it is there."""

        def seen():
            for element in self.all(f"{within} button, {within} a, {within} summary"):
                if element.accessible_name == name and element.is_displayed():
                    return element
            return None

        return self.until(seen, f"there is a button {name!r}")

    def click(self, name: str, within: str = "body"):
        def clicked():
            self.button(name, within).click()
            return True

        self.until(clicked, f"{name!r} can be clicked")

    def field(self, label: str, within: str = "body"):
        def seen():
            for element in self.all(f"{within} input, {within} select"):
                if element.accessible_name == label and element.is_displayed():
                    return element
            return None

        return self.until(seen, f"there is a field {label!r}")

    def title(self, text: str):
        """Waits until the view with this heading is shown."""
        return self.see("main h1", text)

    def said(self) -> str:
        return self.js("return document.getElementById('announcer').textContent")

    def texts(self, css: str) -> list[str]:
        return self.js("return [...document.querySelectorAll(arguments[0])]"
                       ".map((e) => e.textContent)", css)

    def press(self, *keys):
        """To whatever has the focus."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self):
        return self.driver.switch_to.active_element

    def describe(self) -> str:
        wrong = self.js("return window.wentWrong ?? []")
        text = self.js("return document.body.innerText.slice(0, 4000)")
        return f"{self.driver.current_url}\n{wrong}\n{text}"

    # ---- what a test takes away ----

    def download(self, suffix: str) -> Path:
        """The file that came, once it is whole."""

        def whole():
            files = [f for f in self.downloads.iterdir() if f.suffix == suffix]
            return files[0] if files else None

        return self.until(whole, f"a {suffix} file is downloaded")

    def screenshot(self, path: Path):
        self.driver.save_screenshot(str(path))

    def axe(self) -> list[str]:
        """What axe-core finds fault with, as lines."""
        if not AXE.exists():
            raise LabError(f"{AXE} is missing: npm ci in {AXE.parents[2]}")
        if not self.js("return typeof window.axe === 'object'"):
            self.js(AXE.read_text())
        result = self.driver.execute_async_script("""
            const done = arguments[arguments.length - 1];
            axe.run(document, {resultTypes: ["violations"]}).then(
              (r) => done({violations: r.violations}), (e) => done({error: String(e)}));
        """)
        if "error" in result:
            raise LabError(result["error"])
        return [f"{v['id']}: {v['help']}: {json.dumps([n['html'][:200] for n in v['nodes'][:4]])} "
                f"{v['nodes'][0]['failureSummary']}" for v in result["violations"]]
