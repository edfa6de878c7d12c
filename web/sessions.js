/* Sessions, live: who is on which desktop, what moves and how far away the client is; ends one. */

import * as api from "/web/api.js";
import { h, icon, name, replace, setAttribute, setText, visible } from "/web/dom.js";
import { bytes, compare, local, number, plural, rate, rtt, since } from "/web/format.js";
import { announce, empty, field, header, loading, problemPlace, searchBox } from "/web/parts.js";
import { arrange, cell, head, row } from "/web/table.js";
import { History, spark } from "/web/spark.js";
import { dialog } from "/web/dialog.js";

const EVERY = 1500;
const LIMIT = 1000;
const UNFOLDED = 3; /* so few sessions show their channels from the start */
const REASON_MAX = 200;

const COLUMNS = [
  { title: "Desktop", class: "col-name" },
  { title: "User", class: "col-user" },
  { title: "Client", class: "col-client" },
  { title: "Since", class: "col-since num" },
  { title: "To the client", class: "col-rate num" },
  { title: "From the client", class: "col-rate num" },
  { title: "Round trip", class: "col-rtt num" },
  { title: "End", class: "col-action", unseen: true },
];

export function sessionsView(context) {
  const { parameters, signal, keep } = context;
  const mayEnd = context.may("end_session");
  const problems = problemPlace();
  const place = h("div");
  const held = new Map(); /* id: what is shown of the session */
  const columns = mayEnd ? COLUMNS : COLUMNS.slice(0, -1);
  const table = h(
    "table",
    { role: "table", class: "sessions", "aria-label": "Live sessions" },
    head(columns),
  );
  let sessions = null;
  let more = false;
  let paused = false;
  let ending = null; /* {id, close} of the open dialog */

  const pause = h("button", {
    type: "button",
    on: {
      click: () => {
        paused = !paused;
        showPause();
        if (!paused) now();
      },
    },
  });
  function showPause() {
    replace(pause, icon(paused ? "play" : "pause"), paused ? "Go on" : "Pause");
    pulse.classList.toggle("off", paused);
    setText(pulse, paused ? "Paused" : "Live");
  }
  const pulse = h("span", { class: "pulse" });
  const view = header("Sessions", pulse, pause);
  const search = searchBox("Search by user, desktop, address or id", parameters.get("q"), (q) => {
    keep({ q });
    draw(true);
  });

  /* Only rows near the window are drawn anew. */
  const near = new Set();
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) near.add(entry.target);
        else near.delete(entry.target);
      }
    },
    { rootMargin: "200px" },
  );
  signal.addEventListener("abort", () => watcher.disconnect());

  function matches(session, words) {
    const text = [
      session.id,
      session.user,
      session.console,
      session.uuid,
      session.source,
      session.client_address,
    ]
      .filter(Boolean)
      .join("\n")
      .toLowerCase();
    return words.every((w) => text.includes(w));
  }

  function take(items) {
    const living = new Set(items.map((s) => s.id));
    for (const [id, shown] of held) {
      if (living.has(id)) continue;
      held.delete(id);
      shown.gone();
    }
    for (const session of items) {
      if (!held.has(session.id))
        held.set(session.id, shownSession(session, items.length <= UNFOLDED));
      held.get(session.id).sample(session);
    }
    sessions = items;
  }

  function draw(byPerson) {
    if (!sessions) return;
    const words = (parameters.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const shown = sessions.filter((s) => matches(s, words));
    const all = `${number(sessions.length)}${more ? "+" : ""}`;
    setText(view.count, words.length ? `${number(shown.length)} of ${all}` : all);
    if (byPerson) announce(plural(shown.length, "session", "sessions"));
    const focused = place.contains(document.activeElement);
    if (!shown.length) {
      replace(
        place,
        words.length
          ? empty("search", "No live session fits")
          : empty(
              "sessions",
              "Nobody is connected",
              "A session appears here as soon as a viewer opens a desktop.",
            ),
      );
    } else {
      if (!table.isConnected) replace(place, table);
      arrange(table, [table.tHead, ...shown.map((s) => held.get(s.id).body)]);
    }
    /* What had the focus may have ended. */
    if (focused && !place.contains(document.activeElement))
      view.element.querySelector("h1").focus();
    for (const session of shown) {
      const one = held.get(session.id);
      if (near.has(one.body) || !one.drawn) one.draw();
    }
  }

  /* --- one session --- */

  function shownSession(first, unfolded) {
    let session = first;
    const title = session.console ?? session.uuid;
    const channels = new Map(); /* name: its row */
    const parts = { since: h("span"), down: figure(), up: figure(), rtt: figure() };
    const facts = h("p", { class: "fine session-facts" });
    const detail = row(
      { class: "detail", hidden: !unfolded },
      cell({ colspan: columns.length }, facts),
    );
    const fold = h(
      "button",
      {
        type: "button",
        class: "fold",
        "aria-expanded": String(unfolded),
        "aria-label": `Channels of ${visible(title)}`,
        on: {
          click: () => {
            detail.hidden = !detail.hidden;
            fold.setAttribute("aria-expanded", String(!detail.hidden));
            one.draw();
          },
        },
      },
      icon("chevron"),
    );
    const line = row(
      { class: "session" },
      cell(
        { class: "col-name" },
        fold,
        h(
          "span",
          { class: "two-lines" },
          h("span", { class: "main-line", title: visible(title) }, name(title)),
          h("span", { class: "id-line" }, name(session.source)),
        ),
      ),
      cell({ class: "col-user" }, name(session.user)),
      cell({ class: "col-client" }, session.client_address),
      cell({ class: "col-since num", title: local(session.started_at) }, parts.since),
      ...figures(parts),
      mayEnd &&
        cell(
          { class: "col-action" },
          h(
            "button",
            {
              type: "button",
              class: "small",
              "aria-label": `End the session of ${visible(session.user)} on ${visible(title)}`,
              on: { click: () => end(session) },
            },
            "End",
          ),
        ),
    );
    const body = h("tbody", { role: "rowgroup", "data-session": session.id }, line, detail);
    watcher.observe(body);

    const one = {
      body,
      drawn: false,
      sample(fresh) {
        session = fresh;
        const rtts = fresh.channels.map((c) => c.client_rtt_us).filter((v) => v !== null);
        parts.down.history.push(fresh.rate_from_server);
        parts.up.history.push(fresh.rate_from_client);
        parts.rtt.history.push(rtts.length ? Math.min(...rtts) : null);
        for (const channel of fresh.channels) {
          if (!channels.has(channel.channel))
            channels.set(channel.channel, shownChannel(channel, mayEnd));
          channels.get(channel.channel).sample(channel);
        }
        const open = new Set(fresh.channels.map((c) => c.channel));
        for (const key of channels.keys()) if (!open.has(key)) channels.delete(key);
      },
      draw() {
        one.drawn = true;
        setText(parts.since, since(session.started_at));
        parts.down.draw(rate(session.rate_from_server), bytes(session.bytes_from_server));
        parts.up.draw(rate(session.rate_from_client), bytes(session.bytes_from_client));
        parts.rtt.draw(rtt(parts.rtt.history.samples.at(-1)));
        if (detail.hidden) {
          arrange(body, [line, detail]);
          return;
        }
        const order = [...channels.keys()].sort(byImportance);
        arrange(body, [line, ...order.map((key) => channels.get(key).element), detail]);
        for (const channel of channels.values()) channel.draw();
        setText(
          facts,
          [
            `Session ${session.id}`,
            `console ${visible(session.uuid)}`,
            session.hypervisor && `on ${visible(session.hypervisor)}`,
            `since ${local(session.started_at)}`,
          ]
            .filter(Boolean)
            .join(" · "),
        );
      },
      gone() {
        watcher.unobserve(body);
        near.delete(body);
        announce(`The session of ${visible(session.user)} on ${visible(title)} has ended.`);
        if (ending?.id === session.id) ending.close();
      },
    };
    return one;
  }

  /* --- ending one --- */

  function end(session) {
    const reason = h("input", {
      required: true,
      maxlength: String(REASON_MAX),
      autocomplete: "off",
      list: "reasons",
      autofocus: true,
    });
    const shown = dialog({
      title: "End this session?",
      danger: true,
      submit: "End session",
      body: [
        h(
          "p",
          {},
          h("strong", {}, name(session.user)),
          " is connected to ",
          h("strong", {}, name(session.console ?? session.uuid)),
          ` from ${session.client_address}, since ${since(session.started_at)}.`,
        ),
        h("p", {}, "The viewer is cut off at once. The desktop itself goes on running."),
        field("Reason", reason, "The user is told it, where the viewer can show it; it goes into the audit with your name."),
        h(
          "datalist",
          { id: "reasons" },
          ["Maintenance", "Asked for by the user", "Left open", "Security"].map((r) =>
            h("option", { value: r }),
          ),
        ),
      ],
      act: async () => {
        const text = reason.value.trim();
        try {
          await api.call("POST", `/api/v1/sessions/${encodeURIComponent(session.id)}/terminate`, {
            body: { reason: text },
          });
        } catch (error) {
          if (error.code !== "session_not_found") throw error; /* then it is over, as was wanted */
        }
        ending = null;
        now();
      },
    });
    ending = { id: session.id, close: shown.close };
    shown.closed.then(() => {
      if (ending?.id === session.id) ending = null;
    });
  }

  /* --- live --- */

  async function load() {
    const answer = await api.page("/api/v1/sessions", { limit: LIMIT }, signal);
    if (signal.aborted) return;
    more = answer.next !== null;
    take(answer.items);
    problems.clear();
    setAttribute(table, "class", "sessions");
    draw();
  }

  replace(place, loading("sessions"));
  showPause();
  const now = api.poll(load, EVERY, signal, {
    resting: () => paused,
    failed: (error) => {
      if (!sessions) replace(place);
      else table.classList.add("outdated");
      problems.show(error, () => {
        problems.clear();
        now();
      });
    },
  });

  return [
    view.element,
    h("div", { class: "filters", role: "search" }, search.element),
    problems.element,
    place,
  ];
}

/* main, what one sees and types, then the rest by name. */
function byImportance(a, b) {
  const place = (key) =>
    ["main", "display", "cursor", "inputs"].indexOf(key.split(":")[0]) + 1 || 9;
  return place(a) - place(b) || compare(a, b);
}

/* A channel is a row below its session's, with the same columns. */
function shownChannel(first, mayEnd) {
  let channel = first;
  const parts = { down: figure(), up: figure(), rtt: figure() };
  const age = h("span");
  const element = row(
    { class: "channel", "data-channel": channel.channel },
    cell({ class: "col-name" }, channel.channel.replace(/:0$/, "").replace(":", " ")),
    cell({ class: "col-user" }),
    cell({ class: "col-client" }),
    cell({ class: "col-since num", title: local(channel.opened_at) }, age),
    ...figures(parts),
    mayEnd && cell({ class: "col-action" }),
  );
  return {
    element,
    sample(fresh) {
      channel = fresh;
      parts.down.history.push(fresh.rate_from_server);
      parts.up.history.push(fresh.rate_from_client);
      parts.rtt.history.push(fresh.client_rtt_us);
    },
    draw() {
      setText(age, since(channel.opened_at));
      parts.down.draw(rate(channel.rate_from_server), bytes(channel.bytes_from_server));
      parts.up.draw(rate(channel.rate_from_client), bytes(channel.bytes_from_client));
      parts.rtt.draw(rtt(channel.client_rtt_us));
      setAttribute(element, "data-bytes", channel.bytes_from_server + channel.bytes_from_client);
    },
  };
}

function figures({ down, up, rtt: trip }) {
  return [
    cell({ class: "col-rate num", "data-label": "To the client" }, down.element),
    cell({ class: "col-rate num", "data-label": "From the client" }, up.element),
    cell({ class: "col-rtt num", "data-label": "Round trip" }, trip.element),
  ];
}

/* A number with its last minute, and a second number below. */
function figure() {
  const text = h("span", { class: "figure-text" });
  const total = h("span", { class: "id-line" });
  const line = spark();
  const history = new History();
  return {
    element: h(
      "span",
      { class: "figure" },
      line.element,
      h("span", { class: "two-lines" }, text, total),
    ),
    history,
    draw(now, sum) {
      setText(text, now);
      setText(total, sum ?? "");
      total.hidden = !sum;
      line.update(history);
    },
  };
}
