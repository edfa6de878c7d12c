/* Sources: whether each is reachable, since when it is not and why, and what it lists. */

import * as api from "/web/api.js";
import { h, icon, name, replace, setText, visible } from "/web/dom.js";
import { ago, brief, local, number } from "/web/format.js";
import { announce, badge, empty, header, loading, problemPlace } from "/web/parts.js";
import { arrange, cell, head, row } from "/web/table.js";

const EVERY = 4000;

const STATES = {
  ok: ["ok", "Fresh"],
  stale: ["warn", "Stale"],
  failed: ["bad", "Failed"],
};

export function sourcesView(context) {
  const { signal } = context;
  const problems = problemPlace();
  const place = h("div");
  const held = new Map();
  const view = header("Sources");

  const columns = [
    { title: "Source", class: "col-name" },
    { title: "State", class: "col-state" },
    { title: "Desktops", class: "col-count num" },
    { title: "Last good", class: "col-time" },
    { title: "Refresh", class: "col-action", unseen: true },
  ];
  const body = h("tbody", { role: "rowgroup" });
  const table = h(
    "table",
    { role: "table", class: "sources", "aria-label": "Sources" },
    head(columns),
    body,
  );

  function shownSource(first) {
    let source = first;
    const state = h("span");
    const why = h("span", { class: "why" });
    const count = h("a", { href: `#/desktops?source=${encodeURIComponent(source.source)}` });
    const lastGood = h("span");
    const took = h("span", { class: "id-line" });
    const button = h(
      "button",
      {
        type: "button",
        class: "small",
        "aria-label": `Refresh ${visible(source.source)}`,
        on: { click: () => refresh(source, button) },
      },
      icon("refresh"),
      "Refresh",
    );
    const element = row(
      { "data-source": source.source },
      cell(
        { class: "col-name" },
        h(
          "span",
          { class: "two-lines" },
          h("span", { class: "main-line" }, name(source.source)),
          h("span", { class: "id-line" }, source.type),
        ),
      ),
      cell({ class: "col-state" }, state, why),
      cell({ class: "col-count num" }, count),
      cell({ class: "col-time" }, h("span", { class: "two-lines" }, lastGood, took)),
      cell({ class: "col-action" }, button),
    );
    let drawn = null;
    return {
      element,
      update(fresh) {
        source = fresh;
        const key = `${source.state}\n${source.error}\n${source.stale_since}`;
        if (drawn !== key) {
          drawn = key;
          const [kind, text] = STATES[source.state] ?? ["warn", source.state];
          replace(state, badge(kind, text));
          replace(
            why,
            source.stale_since &&
              h("span", { title: local(source.stale_since) }, `since ${local(source.stale_since)}`),
            source.error && h("span", { class: "error-text" }, name(source.error)),
            source.state === "stale" &&
              h("span", {}, "Its last good list is kept and can still be opened."),
          );
        }
        setText(count, number(source.consoles));
        setText(lastGood, ago(source.last_good));
        lastGood.title = local(source.last_good);
        const failing = source.refreshed_at && source.state !== "ok";
        setText(
          took,
          source.refreshed_at
            ? `${failing ? `tried ${ago(source.refreshed_at)}, ` : ""}took ${brief(source.refresh_took)}`
            : "",
        );
      },
    };
  }

  async function refresh(source, button) {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      const path = `/api/v1/sources/${encodeURIComponent(source.source)}/refresh`;
      const fresh = await api.call("POST", path, { signal });
      held.get(fresh.source)?.update(fresh);
      const [, text] = STATES[fresh.state] ?? ["", fresh.state];
      announce(`${visible(fresh.source)} was refreshed: ${text}.`);
      problems.clear();
    } catch (error) {
      if (!signal.aborted && error.status !== 401) problems.show(error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  async function load() {
    const { items } = await api.page("/api/v1/sources", { limit: 1000 }, signal);
    if (signal.aborted) return;
    problems.clear();
    table.classList.remove("outdated");
    const bad = items.filter((s) => s.state !== "ok").length;
    setText(
      view.count,
      bad ? `${number(items.length)}, ${number(bad)} not fresh` : number(items.length),
    );
    if (!items.length) {
      replace(
        place,
        empty("sources", "No source is configured", [
          "Desktops come from sources. Add one below ",
          h("code", {}, "sources:"),
          " in the configuration and reload the daemon.",
        ]),
      );
      return;
    }
    for (const source of items) {
      if (!held.has(source.source)) held.set(source.source, shownSource(source));
      held.get(source.source).update(source);
    }
    arrange(
      body,
      items.map((s) => held.get(s.source).element),
    );
    if (!table.isConnected) replace(place, table);
  }

  replace(place, loading("sources"));
  const now = api.poll(load, EVERY, signal, {
    failed: (error) => {
      if (!table.isConnected) replace(place);
      table.classList.add("outdated");
      problems.show(error, () => {
        problems.clear();
        now();
      });
    },
  });

  return [view.element, problems.element, place];
}
