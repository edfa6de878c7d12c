/* The parts that views are made of: states, empty states, errors, small pieces of forms. */

import { h, icon, replace, freshId } from "/web/dom.js";

/* Tells a screen reader, and nobody else. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  /* The same words twice are two announcements. */
  announcer.textContent = announcer.textContent === text ? `${text}\u00a0` : text;
}

export function badge(kind, text) {
  return h("span", { class: `badge ${kind}` }, text);
}

/* The head of a view: its title, how much there is, and what can be done. The title takes the focus
 * when the view opens. */
export function header(title, ...actions) {
  const count = h("span", { class: "count" });
  const element = h(
    "header",
    { class: "view-header" },
    h("h1", { tabindex: "-1" }, title),
    count,
    h("div", { class: "actions" }, actions),
  );
  return { element, count };
}

export function empty(iconName, title, ...more) {
  return h(
    "div",
    { class: "empty" },
    icon(iconName),
    h("h2", {}, title),
    more.map((m) => h("p", {}, m)),
  );
}

export function loading(what) {
  return h("p", { class: "loading", role: "status" }, `Loading ${what}…`);
}

/* What an error means to who sees it, and what to do. */
const ADVICE = {
  unreachable:
    "Check the network and whether the daemon runs; this page tries again by itself where it shows live data.",
  store_failed:
    "The daemon cannot read or write its store. Live sessions go on; look at its log and at the disk.",
  too_many_failures: "This protects the accounts here; nothing is locked for good.",
  forbidden: "Ask an administrator for a role that may.",
  console_not_found: "Its source does not list it any more. Reload the list.",
  session_not_found: "It has ended already.",
  user_exists: "Choose another name, or change that user's password.",
  apikey_exists: "Choose another name, or revoke that key first.",
  last_admin: "So nobody can be locked out from afar.",
  too_many_diagnoses: "Others are looking for faults right now.",
  provider_failed: "Try again, or log in another way.",
};

export function advice(error) {
  if (ADVICE[error.code]) return ADVICE[error.code];
  if (error.status >= 500) return "The daemon's log has more; search it for the request.";
  return "";
}

/* An error to stand where the data would, or above it; `again` makes a button. */
export function problem(error, again) {
  return h(
    "div",
    { class: "problem", role: "alert" },
    icon("warning"),
    h(
      "div",
      {},
      h("p", {}, h("strong", {}, sentence(error.message))),
      advice(error) && h("p", {}, advice(error)),
      error.requestId && h("p", { class: "fine" }, "Request ", h("code", {}, error.requestId)),
    ),
    again && h("button", { type: "button", on: { click: again } }, "Try again"),
  );
}

/* The API's messages are fragments such as "there is no such user". */
export function sentence(text) {
  const t = String(text ?? "").trim();
  const begun = t.charAt(0).toUpperCase() + t.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/* Labels and values: [[label, value], ...]; what is false is left out. */
export function facts(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows.filter(Boolean).map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)]),
  );
}

/* A place for a problem that comes and goes. */
export function problemPlace() {
  const element = h("div", { class: "problem-place" });
  let shown = null;
  return {
    element,
    show(error, again) {
      const key = `${error.code} ${error.message}`;
      if (shown === key) return; /* a screen reader hears it once */
      shown = key;
      replace(element, problem(error, again));
    },
    clear() {
      if (shown === null) return;
      shown = null;
      replace(element);
    },
  };
}

/* A labelled control: field("Role", select) */
export function field(label, control, hint) {
  const id = freshId("field");
  control.id = id;
  let described = null;
  if (hint) {
    described = h("span", { class: "hint", id: `${id}-hint` }, hint);
    control.setAttribute("aria-describedby", described.id);
  }
  return h("div", { class: "field" }, h("label", { for: id }, label), control, described);
}

export function select(options, value, more) {
  const element = h(
    "select",
    more,
    options.map(([v, text]) => h("option", { value: v }, text)),
  );
  element.value = value ?? options[0][0];
  return element;
}

export function searchBox(label, value, changed) {
  const input = h("input", {
    type: "search",
    value: value ?? "",
    placeholder: label,
    "aria-label": label,
    autocomplete: "off",
    spellcheck: "false",
    enterkeyhint: "search",
  });
  let timer = null;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => changed(input.value.trim()), 120);
  });
  return { element: h("div", { class: "search" }, icon("search"), input), input };
}

/* Lets the browser download what is there; the answer's own name for it counts. */
export function download(url, filename = "") {
  const link = h("a", { href: url, download: filename, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
}

/* Hands a blob to the browser's downloads. */
export function save(blob, filename) {
  const url = URL.createObjectURL(blob);
  download(url, filename);
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
