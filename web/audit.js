/* The audit: who did what, when and from where; filters, pages, and the way out as a file. */

import * as api from "/web/api.js";
import { h, icon, name, replace, setText, visible } from "/web/dom.js";
import { bytes, duration, local, number } from "/web/format.js";
import {
  announce,
  download,
  empty,
  field,
  header,
  loading,
  problemPlace,
  select,
} from "/web/parts.js";
import { cell, head, row } from "/web/table.js";

const PAGE = 100;

const EVENTS = [
  "login.ok",
  "login.failed",
  "login.ended",
  "login.limited",
  "grant.created",
  "grant.exchanged",
  "grant.redeemed",
  "grant.denied",
  "grant.expired",
  "grant.revoked",
  "session.started",
  "session.ended",
  "session.terminated",
  "session.migrated",
  "session.migration_failed",
  "channel.opened",
  "channel.refused",
  "channel.closed",
  "policy.blocked",
  "policy.observed",
  "clipboard.moved",
  "file.moved",
  "usb.plugged",
  "usb.refused",
  "usb.unplugged",
  "source.ok",
  "source.failed",
  "console.added",
  "console.changed",
  "console.removed",
  "console.direct",
  "machine.registered",
  "machine.left",
  "config.reloaded",
  "config.rejected",
  "apikey.created",
  "apikey.refused",
  "apikey.revoked",
  "user.added",
  "user.changed",
  "user.removed",
];

const FILTERS = ["event", "user", "console", "source", "since", "until"];

const COLUMNS = [
  { title: "More", class: "col-fold", unseen: true },
  { title: "Time", class: "col-time" },
  { title: "Event", class: "col-event" },
  { title: "By", class: "col-user" },
  { title: "User", class: "col-user" },
  { title: "Desktop", class: "col-name" },
  { title: "Client", class: "col-client" },
  { title: "What", class: "col-reason" },
];

/* Names for the foldout, which shows what the row does not. */
const LABELS = [
  ["id", "Event id"],
  ["time", "Time (UTC)"],
  ["node", "Node"],
  ["request_id", "Request"],
  ["session_id", "Session"],
  ["grant_id", "Grant"],
  ["source", "Source"],
  ["console", "Console"],
  ["channel", "Channel"],
  ["detail", "Detail"],
  ["bytes_from_server", "Bytes to the client"],
  ["bytes_from_client", "Bytes from the client"],
  ["duration", "Duration"],
];

export function auditView(context) {
  const { parameters, signal, keep } = context;
  const problems = problemPlace();
  const place = h("div", { "aria-busy": "true" });
  const exports = h("div", { class: "note-place" });
  const body = h("tbody", { role: "rowgroup" });
  const table = h(
    "table",
    { role: "table", class: "audit", "aria-label": "Audit events, newest first" },
    head(COLUMNS),
    body,
  );
  const trail = []; /* cursors of the newer pages */
  let next = null;
  let asked = 0;

  const exportButton = (kind, text) =>
    h("button", { type: "button", on: { click: () => writeOut(kind) } }, icon("download"), text);
  const view = header("Audit", exportButton("jsonl", "JSON lines"), exportButton("csv", "CSV"));

  /* --- filters --- */

  const controls = {
    event: select(
      [["", "All events"], ...EVENTS.map((e) => [e, e])],
      parameters.get("event") ?? "",
    ),
    user: text("user"),
    console: text("console"),
    source: text("source"),
    since: when("since"),
    until: when("until"),
  };
  const form = h(
    "form",
    {
      class: "filters labelled",
      role: "search",
      "aria-label": "Filter the audit",
      on: {
        submit: (event) => {
          event.preventDefault();
          take();
        },
        change: take,
      },
    },
    field("Event", controls.event),
    field("User", controls.user),
    field("Desktop", controls.console),
    field("Source", controls.source),
    field("From", controls.since),
    field("Until", controls.until),
    h("button", { type: "submit" }, "Filter"),
    h("button", { type: "button", class: "plain", on: { click: clear } }, "Clear"),
  );

  function text(key) {
    return h("input", {
      value: parameters.get(key) ?? "",
      autocomplete: "off",
      spellcheck: "false",
    });
  }

  function when(key) {
    return h("input", { type: "datetime-local", value: toLocal(parameters.get(key)) });
  }

  function take() {
    const values = Object.fromEntries(
      FILTERS.map((key) => [
        key,
        key === "since" || key === "until"
          ? fromLocal(controls[key].value)
          : controls[key].value.trim(),
      ]),
    );
    if (FILTERS.every((key) => (parameters.get(key) ?? "") === values[key])) return;
    keep({ ...values, cursor: "" });
    trail.length = 0;
    load();
  }

  function clear() {
    for (const control of Object.values(controls)) control.value = "";
    take();
    controls.event.focus();
  }

  function wanted() {
    return Object.fromEntries(FILTERS.map((key) => [key, parameters.get(key)]));
  }

  /* --- pages --- */

  const newer = h(
    "button",
    {
      type: "button",
      on: {
        click: () => {
          keep({ cursor: trail.pop() ?? "" });
          load(true);
        },
      },
    },
    "Newer",
  );
  const older = h(
    "button",
    {
      type: "button",
      on: {
        click: () => {
          trail.push(parameters.get("cursor") ?? "");
          keep({ cursor: next });
          load(true);
        },
      },
    },
    "Older",
  );
  const pager = h("nav", { class: "pager", "aria-label": "Pages" }, newer, older);

  async function load(turned) {
    asked += 1;
    const mine = asked;
    place.setAttribute("aria-busy", "true");
    let answer;
    try {
      answer = await api.page(
        "/api/v1/audit",
        { ...wanted(), cursor: parameters.get("cursor"), limit: PAGE },
        signal,
      );
    } catch (error) {
      if (signal.aborted || mine !== asked || error.status === 401) return;
      if (error.status === 422 && parameters.get("cursor")) {
        /* an old address, say */
        keep({ cursor: "" });
        load();
        return;
      }
      replace(place);
      problems.show(error, () => {
        problems.clear();
        load();
      });
      return;
    }
    if (mine !== asked) return;
    problems.clear();
    next = answer.next;
    place.setAttribute("aria-busy", "false");
    const filtered = FILTERS.some((key) => parameters.get(key));
    if (!answer.items.length) {
      replace(
        place,
        filtered
          ? empty("search", "No event fits", "Take a filter away, or widen the time.")
          : empty("audit", "Nothing has happened yet"),
      );
      setText(view.count, "");
      announce("No events");
      return;
    }
    replace(body, answer.items.map(rowsOf));
    newer.disabled = !parameters.get("cursor");
    older.disabled = !next;
    replace(place, table, (next || parameters.get("cursor")) && pager);
    setText(
      view.count,
      next || parameters.get("cursor")
        ? `${number(answer.items.length)} on this page`
        : number(answer.items.length),
    );
    announce(`${number(answer.items.length)} events`);
    if (turned) {
      scrollTo(0, 0);
      view.element.querySelector("h1").focus({ preventScroll: true });
    }
  }

  function rowsOf(event) {
    const facts = LABELS.filter(([key]) => event[key] !== null && event[key] !== undefined);
    const detail = h(
      "tr",
      { role: "row", class: "detail", hidden: true },
      h(
        "td",
        { role: "cell", colspan: COLUMNS.length },
        h(
          "dl",
          { class: "facts" },
          facts.map(([key, label]) => [h("dt", {}, label), h("dd", {}, factOf(key, event[key]))]),
        ),
      ),
    );
    const fold = h(
      "button",
      {
        type: "button",
        class: "fold",
        "aria-expanded": "false",
        "aria-label": `More about ${event.event}, ${local(event.time)}`,
        on: {
          click: () => {
            detail.hidden = !detail.hidden;
            fold.setAttribute("aria-expanded", String(!detail.hidden));
          },
        },
      },
      icon("chevron"),
    );
    const title = event.console_name ?? event.console;
    return [
      row(
        {},
        cell({ class: "col-fold" }, fold),
        cell(
          { class: "col-time" },
          h("time", { datetime: event.time, title: event.time }, local(event.time)),
        ),
        cell({ class: "col-event" }, h("code", { class: kindOf(event.event) }, event.event)),
        cell({ class: "col-user", "data-label": "By" }, name(event.actor)),
        cell({ class: "col-user", "data-label": "User" }, name(event.user)),
        cell({ class: "col-name", "data-label": "Desktop" }, title && name(title)),
        cell({ class: "col-client", "data-label": "Client" }, name(event.client_address)),
        cell({ class: "col-reason", "data-label": "What" }, reasonOf(event)),
      ),
      detail,
    ];
  }

  /* --- the way out --- */

  /* The browser takes the file from the daemon, which sends it as it is read: nothing is held here,
   * however long it is. A small question goes before it, because a download that is refused would
   * be a file with the refusal in it. */
  async function writeOut(kind) {
    try {
      await api.page("/api/v1/audit", { ...wanted(), limit: 1 }, signal);
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      replace(exports);
      problems.show(error, () => {
        problems.clear();
        writeOut(kind);
      });
      return;
    }
    problems.clear();
    const text = `Your browser downloads ${
      FILTERS.some((key) => parameters.get(key)) ? "the events that fit the filters" : "all events"
    }, newest first.`;
    download(api.query("/api/v1/audit", { ...wanted(), format: kind }));
    replace(
      exports,
      h(
        "div",
        { class: "note ok" },
        icon("download"),
        h("p", {}, h("strong", {}, `audit.${kind}`), ": ", text),
        h(
          "button",
          {
            type: "button",
            class: "plain",
            "aria-label": "Close this note",
            on: {
              click: () => {
                replace(exports);
                view.element.querySelector("h1").focus();
              },
            },
          },
          icon("close"),
        ),
      ),
    );
    announce(text);
  }

  replace(place, loading("events"));
  load();
  return [view.element, form, problems.element, exports, place];
}

function kindOf(event) {
  if (/\.(failed|denied|refused|rejected|blocked)$/.test(event)) return "event-bad";
  return /\.(terminated|revoked|removed|expired)$/.test(event) ? "event-warn" : "event";
}

function reasonOf(event) {
  const moved =
    /\.(closed|ended)$/.test(event.event) &&
    event.duration &&
    `${duration(event.duration, "an instant")}, ${bytes(event.bytes_from_server + event.bytes_from_client)}`;
  const told = [event.channel, event.reason, event.detail, moved]
    .filter(Boolean)
    .map(visible)
    .join(" · ");
  return told && h("bdi", { title: told }, told);
}

function factOf(key, value) {
  if (key.startsWith("bytes_")) return `${bytes(value)} (${number(value)})`;
  return name(value);
}

/* <input type="datetime-local"> speaks of local time without saying so; the API of UTC. */
function toLocal(time) {
  const date = new Date(time ?? "");
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

function fromLocal(value) {
  const date = new Date(value);
  return value && !Number.isNaN(date.getTime()) ? `${date.toISOString().slice(0, 19)}Z` : "";
}
