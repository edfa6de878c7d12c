/* The frame: who is logged in, which view is shown, the way between them. The place is in the
 * address after #, so that it can be kept, sent and returned to: #/audit?console=... */

import * as api from "/web/api.js";
import { h, icon, replace, name, visible } from "/web/dom.js";
import { announce, problem } from "/web/parts.js";
import { closeDialog } from "/web/dialog.js";
import { loginView } from "/web/login.js";
import { desktopsView } from "/web/desktops.js";
import { sessionsView } from "/web/sessions.js";
import { sourcesView } from "/web/sources.js";
import { auditView } from "/web/audit.js";
import { accessView } from "/web/access.js";
import { aboutView } from "/web/about.js";
import { accountView } from "/web/account.js";

/* A view is a function of its context that gives its element. `may`: the action it is for. */
const VIEWS = [
  { path: "desktops", title: "Desktops", may: "list_consoles", show: desktopsView },
  { path: "sessions", title: "Sessions", may: "list_sessions", show: sessionsView },
  { path: "sources", title: "Sources", may: "list_sources", show: sourcesView },
  { path: "audit", title: "Audit", may: "read_audit", show: auditView },
  {
    path: "access",
    title: "Users and keys",
    short: "Users",
    may: "manage_users",
    show: accessView,
  },
  { path: "about", title: "About", show: aboutView },
  /* Behind one's own name. */
  { path: "account", title: "Your account", show: accountView, aside: true },
];

const page = document.getElementById("page");
let me = null;
let frame = null; /* {main, links} */
let current = null; /* {view, controller} */
let expiry = null;

function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { path, parameters: new URLSearchParams(query ?? "") };
}

function allowed() {
  return VIEWS.filter((view) => !view.may || me.may.includes(view.may));
}

/* --- in and out --- */

function leave() {
  current?.controller.abort();
  current = null;
  clearTimeout(expiry);
  closeDialog();
}

function showLogin(message) {
  leave();
  me = null;
  frame = null;
  document.title = "Log in – Kerbside";
  replace(page, loginView({ message, entered: start }));
}

async function start() {
  try {
    me = await api.me({ anonymous: true });
  } catch (error) {
    if (error.status === 401) showLogin();
    else replace(page, h("main", { class: "alone" }, problem(error, start)));
    return;
  }
  watchExpiry();
  buildFrame();
  route();
}

/* A view that asks for nothing would not notice that the login is over. */
function watchExpiry() {
  clearTimeout(expiry);
  if (!me.expires_at) return;
  const left = Date.parse(me.expires_at) - Date.now();
  expiry = setTimeout(
    () => {
      if (left > 2 ** 30) watchExpiry();
      else api.me().catch(() => {});
    },
    Math.min(Math.max(left, 0) + 1000, 2 ** 30),
  );
}

async function logOut() {
  try {
    await api.logout();
  } catch (error) {
    announce(error.message);
    frame.main.prepend(problem(error));
    return;
  }
  loggedOut("You are logged out.");
}

function loggedOut(text) {
  history.replaceState(null, "", "#/");
  showLogin({ kind: "ok", text });
}

api.onExpired(() => {
  if (me)
    showLogin({
      kind: "warn",
      text: "Your login has ended. Log in again to go on where you were.",
    });
});

/* Something was refused: one's roles may have changed since the page asked for them. */
let asking = false;
api.onForbidden(async () => {
  if (!me || asking) return;
  asking = true;
  try {
    const now = await api.me();
    if (!me || now.may.join() === me.may.join()) return;
    me = now;
    announce(`Your role is ${me.role} now.`);
    closeDialog();
    buildFrame();
    route();
  } catch (error) {
    if (error.code === "forbidden")
      showLogin({ kind: "warn", text: "Your account has no role any more. Ask an administrator." });
  } finally {
    asking = false;
  }
});

/* --- the frame --- */

function buildFrame() {
  const links = new Map();
  for (const view of allowed()) {
    if (view.aside) continue;
    links.set(
      view.path,
      h(
        "a",
        { href: `#/${view.path}` },
        icon(view.path),
        h("span", { class: "long-label" }, view.title),
        h("span", { class: "short-label", "aria-hidden": "true" }, view.short ?? view.title),
      ),
    );
  }
  const main = h("main", { id: "main", tabindex: "-1" });
  const skip = h(
    "a",
    {
      class: "skip",
      href: "#main",
      on: {
        click: (event) => {
          event.preventDefault();
          main.querySelector("h1")?.focus();
        },
      },
    },
    "Skip to the content",
  );
  replace(
    page,
    skip,
    h(
      "div",
      { class: "frame" },
      h(
        "header",
        { class: "bar" },
        h(
          "a",
          { class: "brand", href: "#/" },
          h("img", { src: "/web/icon.svg", alt: "", width: "24", height: "24" }),
          h("span", {}, "Kerbside"),
        ),
        h(
          "nav",
          { "aria-label": "Views" },
          h(
            "ul",
            {},
            [...links.values()].map((link) => h("li", {}, link)),
          ),
        ),
        h(
          "div",
          { class: "who" },
          h(
            "a",
            {
              class: "who-name",
              href: "#/account",
              title: "Your account and logins",
              "aria-label": `Your account: ${visible(me.name)}, ${me.role}`,
            },
            name(me.name),
            h("span", { class: "fine" }, me.role),
          ),
          h(
            "button",
            {
              type: "button",
              class: "plain",
              "aria-label": "Log out",
              title: "Log out",
              on: { click: logOut },
            },
            icon("logout"),
          ),
        ),
      ),
      main,
    ),
  );
  frame = { main, links };
}

/* --- the way --- */

function route() {
  if (!me) return;
  const { path, parameters } = place();
  const views = allowed();
  const view = views.find((v) => v.path === path);
  if (!view) {
    const known = VIEWS.find((v) => v.path === path);
    history.replaceState(null, "", `#/${views[0].path}`);
    if (known) announce(`The role ${me.role} has no view “${known.title}”.`);
    route();
    return;
  }
  leave();
  watchExpiry();
  const controller = new AbortController();
  current = { view, controller };
  for (const [key, link] of frame.links) {
    if (key === view.path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${view.title} – Kerbside`;
  replace(
    frame.main,
    view.show({
      me,
      parameters,
      signal: controller.signal,
      may: (action) => me.may.includes(action),
      logOut,
      loggedOut,
      /* Keeps what is set in the address, without a step in the history. */
      keep(values) {
        for (const [key, value] of Object.entries(values)) {
          if (value) parameters.set(key, value);
          else parameters.delete(key);
        }
        const query = parameters.toString();
        history.replaceState(null, "", `#/${view.path}${query ? `?${query}` : ""}`);
      },
    }),
  );
  scrollTo(0, 0);
  frame.main.querySelector("h1")?.focus({ preventScroll: true });
}

addEventListener("hashchange", route);
start();
