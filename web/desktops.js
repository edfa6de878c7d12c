/* Desktops: what one may open, and which are in use; for operators by whom, and why one does not
 * open. The whole list is held here, so that search,
 * filters and sorting answer at once; only the rows near the window exist. */

import * as api from "/web/api.js";
import { h, icon, name, replace, setAttribute, setText, visible } from "/web/dom.js";
import { compare, duration, number, plural } from "/web/format.js";
import {
  announce,
  badge,
  empty,
  header,
  loading,
  problemPlace,
  save,
  searchBox,
  select,
} from "/web/parts.js";
import { diagnose } from "/web/diagnosis.js";
import { LongTable, cell, row } from "/web/table.js";
import { confirmTakeover, showViewers } from "/web/viewer.js";

const PAGE = 1000;
const HELD = 20000; /* a list longer than this is searched by the daemon */
const RELOAD = 60000;
const LIVE = 3000;
const IN_USE = 5000;
const VV = "application/x-virt-viewer";

const STATES = { used: ["In use", "live"], free: ["Free", "calm"], stale: ["Stale", "warn"] };

export function desktopsView(context) {
  const { parameters, signal, keep } = context;
  const seesSessions = context.may("list_sessions");
  const seesSources = context.may("list_sources");
  const mayOpen = context.may("open_console");
  const problems = problemPlace();
  const place = h("div");
  const note = h("div", { class: "note-place" });
  let consoles = null;
  let more = false; /* there are more than are held */
  let inUse = null; /* keys; null: not asked yet, the list itself says */
  let sessions = new Map(); /* "source/uuid": sessions */
  let sources = new Map(); /* name: the source */
  let sort = readSort(parameters.get("sort"));

  const keyOf = (c) => `${c.source}/${c.uuid}`;
  const usersOf = (c) => sessions.get(keyOf(c)) ?? [];

  function isUsed(console) {
    if (usersOf(console).length) return true;
    return inUse ? inUse.has(keyOf(console)) : console.in_use;
  }

  function stateOf(console) {
    if (isUsed(console)) return "used";
    return (sources.get(console.source)?.state ?? "ok") === "ok" ? "free" : "stale";
  }

  /* --- the head --- */

  const reload = h(
    "button",
    { type: "button", "aria-label": "Reload", on: { click: () => loadNow() } },
    icon("refresh"),
    h("span", { class: "wide-only" }, "Reload"),
  );
  const view = header(
    "Desktops",
    mayOpen &&
      h("button", { type: "button", on: { click: showViewers } }, icon("download"), "Get a viewer"),
    reload,
  );
  const search = searchBox(
    seesSessions ? "Search by name, user, host or id" : "Search by name or id",
    parameters.get("q"),
    (q) => {
      keep({ q });
      if (more || searched) loadNow();
      else filter(true);
    },
  );
  let searched = ""; /* what the daemon was asked for */
  const sourceSelect = select([["", "All sources"]], "", {
    "aria-label": "Source",
    on: {
      change: () => {
        keep({ source: sourceSelect.value });
        filter(true);
      },
    },
  });
  const stateSelect = select(
    [
      ["", "All states"],
      ...Object.entries(STATES)
        .filter(([key]) => key !== "stale" || seesSources)
        .map(([key, [text]]) => [key, text]),
    ],
    parameters.get("state") ?? "",
    {
      "aria-label": "State",
      on: {
        change: () => {
          keep({ state: stateSelect.value });
          filter(true);
        },
      },
    },
  );
  search.input.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    table.focus(0);
  });

  function listSources() {
    const names = [...new Set([...sources.keys(), ...(consoles ?? []).map((c) => c.source)])].sort(
      compare,
    );
    const wanted = parameters.get("source") ?? "";
    if (wanted && !names.includes(wanted)) names.push(wanted);
    const shown = [...sourceSelect.options].slice(1).map((o) => o.value);
    if (names.join("\n") !== shown.join("\n")) {
      replace(
        sourceSelect,
        h("option", { value: "" }, "All sources"),
        names.map((n) => h("option", { value: n }, visible(n))),
      );
    }
    sourceSelect.value = wanted;
    sourceSelect.hidden = names.length < 2;
  }

  /* --- the table --- */

  const columns = [
    { key: "name", title: "Desktop", class: "col-name", sortable: true },
    { key: "source", title: "Source", class: "col-source", sortable: true },
    { key: "state", title: "State", class: "col-state", sortable: true },
    seesSessions && { key: "users", title: "Connected", class: "col-users", sortable: true },
    seesSessions && { key: "hypervisor", title: "Hypervisor", class: "col-host", sortable: true },
    { key: "open", title: "Open", class: "col-action", unseen: true },
  ].filter(Boolean);

  const table = new LongTable({
    label: "Desktops",
    columns,
    key: keyOf,
    render: renderRow,
    signal,
    sorted: (wanted) => {
      sort = wanted;
      keep({
        sort: wanted.key === "name" && !wanted.down ? "" : `${wanted.down ? "-" : ""}${wanted.key}`,
      });
      filter(true);
    },
  });
  table.element.classList.add("desktops");
  if (seesSessions) table.element.classList.add("diagnosable");

  function renderRow(first) {
    let console = first;
    const title = console.name ?? console.uuid;
    const state = h("span");
    const users = h("span", { class: "users" });
    const held = { state: null, users: null };
    const element = row(
      {},
      cell(
        { class: "col-name" },
        h(
          "span",
          { class: "main-line", title: `${visible(title)}\n${visible(console.uuid)}` },
          name(title),
        ),
        h("span", { class: "id-line" }, visible(console.uuid)),
      ),
      cell({ class: "col-source" }, name(console.source)),
      cell({ class: "col-state" }, state),
      seesSessions && cell({ class: "col-users" }, users),
      seesSessions &&
        cell({ class: "col-host" }, name(console.hypervisor ?? console.hypervisor_ip ?? "")),
      cell(
        { class: "col-action" },
        seesSessions &&
          h(
            "button",
            {
              type: "button",
              class: "small",
              "aria-label": `Diagnose ${visible(title)}`,
              title: "Why does it not open?",
              on: { click: () => diagnose(console) },
            },
            icon("diagnose"),
            h("span", { class: "roomy-only" }, "Diagnose"),
          ),
        mayOpen &&
          h(
            "button",
            {
              type: "button",
              class: "primary small",
              "aria-label": `Open ${visible(title)}`,
              on: { click: () => open(console) },
            },
            "Open",
          ),
      ),
    );
    return {
      element,
      update(fresh) {
        console = fresh;
        const now = stateOf(console);
        if (held.state !== now) {
          held.state = now;
          replace(state, badge(STATES[now][1], STATES[now][0]));
          const source = sources.get(console.source);
          setAttribute(
            state,
            "title",
            now === "stale" ? visible(source?.error ?? "its source fails") : null,
          );
        }
        if (!seesSessions) return;
        const who = usersOf(console)
          .map((s) => visible(s.user))
          .join(", ");
        if (held.users !== who) {
          held.users = who;
          replace(
            users,
            who &&
              h(
                "a",
                {
                  href: `#/sessions?q=${encodeURIComponent(console.uuid)}`,
                  "aria-label": `${who}: show the session`,
                },
                h("bdi", {}, who),
              ),
          );
        }
      },
    };
  }

  const valueOf = {
    name: (c) => c.name ?? c.uuid,
    source: (c) => c.source,
    state: (c) => STATES[stateOf(c)][0],
    users: (c) =>
      usersOf(c)
        .map((s) => s.user)
        .join(", "),
    hypervisor: (c) => c.hypervisor ?? c.hypervisor_ip,
  };

  function matches(console, words) {
    const users = usersOf(console);
    if (!users.length) return words.every((w) => console.text.includes(w));
    const text = `${console.text}\n${users
      .map((s) => `${s.user} ${s.client_address}`)
      .join("\n")
      .toLowerCase()}`;
    return words.every((w) => text.includes(w));
  }

  let announced = null;
  function filter(byPerson) {
    if (!consoles) return;
    const q = (parameters.get("q") ?? "").toLowerCase();
    const words = q.split(/\s+/).filter(Boolean);
    const source = parameters.get("source");
    const state = parameters.get("state");
    const shown = consoles.filter(
      (c) =>
        (!source || c.source === source) &&
        (!state || stateOf(c) === state) &&
        (!words.length || q === searched || matches(c, words)),
    );
    const value = valueOf[sort.key] ?? valueOf.name;
    if (sort.key !== "name" || sort.down) {
      const turn = sort.down ? -1 : 1;
      shown.sort((a, b) => turn * compare(value(a), value(b)) || a.order - b.order);
    }
    const narrowed = words.length || source || state;
    setText(
      view.count,
      narrowed
        ? `${number(shown.length)} of ${number(consoles.length)}${more ? "+" : ""}`
        : `${number(consoles.length)}${more ? "+" : ""}`,
    );
    if (byPerson && announced !== shown.length) {
      announced = shown.length;
      announce(plural(shown.length, "desktop", "desktops"));
    }
    if (!shown.length) {
      replace(place, narrowed ? nothingFound() : nothingThere());
      return;
    }
    if (!table.element.isConnected) replace(place, table.element);
    table.set(shown, sort);
  }

  function nothingFound() {
    return empty(
      "search",
      "No desktop fits",
      h(
        "button",
        {
          type: "button",
          on: {
            click: () => {
              search.input.value = "";
              stateSelect.value = "";
              sourceSelect.value = "";
              keep({ q: "", source: "", state: "" });
              search.input.focus();
              if (searched) loadNow();
              else filter(true);
            },
          },
        },
        "Show all",
      ),
    );
  }

  function nothingThere() {
    return empty(
      "desktops",
      "No desktops yet",
      seesSources
        ? [
            "They appear here as soon as a source lists them. ",
            h("a", { href: "#/sources" }, "See how the sources are"),
          ]
        : "There is none that you may open. Ask whoever runs this kerbside.",
    );
  }

  /* --- opening --- */

  async function open(console) {
    const users = usersOf(console);
    if (isUsed(console) && !(await confirmTakeover(console, users))) return;
    const path = api.consolePath(console, "/grants");
    try {
      const { blob, filename } = await api.file("POST", path, { body: {}, accept: VV, signal });
      save(blob, filename);
      problems.clear();
      const within = duration(context.me.limits?.start_within, "a minute");
      const text = ` was downloaded. Open it within ${within}; it works once.`;
      replace(
        note,
        h(
          "div",
          { class: "note ok" },
          icon("download"),
          h(
            "p",
            {},
            h("strong", {}, name(filename)),
            text,
            " ",
            h(
              "button",
              { type: "button", class: "link", on: { click: showViewers } },
              "Nothing opens it?",
            ),
          ),
          h(
            "button",
            {
              type: "button",
              class: "plain",
              "aria-label": "Close this note",
              on: {
                click: () => {
                  replace(note);
                  search.input.focus();
                },
              },
            },
            icon("close"),
          ),
        ),
      );
      announce(`${visible(filename)}${text}`);
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      replace(note);
      problems.show(error, () => {
        problems.clear();
        open(console);
      });
      scrollTo(0, 0);
    }
  }

  /* --- loading --- */

  async function load() {
    const q = more || searched ? (parameters.get("q") ?? "").toLowerCase() : "";
    const found = [];
    let full = false;
    for await (const items of api.pages("/api/v1/consoles", { limit: PAGE, q }, signal)) {
      for (const item of items) {
        item.order = found.length;
        item.text = [item.name, item.uuid, item.source, item.hypervisor, item.hypervisor_ip]
          .filter(Boolean)
          .join("\n")
          .toLowerCase();
        found.push(item);
      }
      if (consoles === null || consoles.partial) {
        /* the first time, what is there is shown at once */
        consoles = found.slice();
        consoles.partial = true;
        listSources();
        filter();
      }
      full = found.length >= HELD;
      if (full) break;
    }
    found.sort((a, b) => compare(a.name ?? a.uuid, b.name ?? b.uuid) || a.order - b.order);
    found.forEach((c, i) => {
      c.order = i;
    });
    consoles = found;
    searched = q;
    more = full || (more && q !== "");
    if ((more || searched) && q !== (parameters.get("q") ?? "").toLowerCase())
      await load(); /* typed on meanwhile */
    problems.clear();
    listSources();
    filter();
  }

  async function loadSessions() {
    const fresh = new Map();
    for await (const items of api.pages("/api/v1/sessions", { limit: PAGE }, signal)) {
      for (const session of items)
        fresh.set(keyOf(session), [...(fresh.get(keyOf(session)) ?? []), session]);
    }
    sessions = fresh;
    filter();
  }

  /* Those in use alone: a short list, however long the whole one is. */
  async function loadInUse() {
    const fresh = new Set();
    const wanted = { limit: PAGE, in_use: true };
    for await (const items of api.pages("/api/v1/consoles", wanted, signal)) {
      for (const console of items) fresh.add(keyOf(console));
    }
    inUse = fresh;
    filter();
  }

  async function loadSources() {
    const { items } = await api.page("/api/v1/sources", { limit: PAGE }, signal);
    sources = new Map(items.map((s) => [s.source, s]));
    listSources();
    filter();
  }

  replace(place, loading("desktops"));
  const loadNow = api.poll(load, RELOAD, signal, {
    failed: (error) => {
      if (!consoles) replace(place);
      problems.show(error, () => {
        problems.clear();
        loadNow();
      });
    },
  });
  api.poll(loadInUse, IN_USE, signal);
  if (seesSessions) api.poll(loadSessions, LIVE, signal);
  if (seesSources) api.poll(loadSources, 5 * LIVE, signal);
  listSources();

  return [
    view.element,
    h("div", { class: "filters", role: "search" }, search.element, sourceSelect, stateSelect),
    problems.element,
    note,
    place,
  ];
}

function readSort(text) {
  const down = text?.startsWith("-") ?? false;
  return { key: (down ? text.slice(1) : text) || "name", down };
}
