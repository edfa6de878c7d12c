/* Why a desktop does not open: the way to its hypervisor, hop by hop, with what to do. */

import * as api from "/web/api.js";
import { h, name, replace, visible } from "/web/dom.js";
import { advice, announce, badge, loading, problem, sentence } from "/web/parts.js";
import { dialog } from "/web/dialog.js";
import { explainPolicy } from "/web/policy.js";

const HOPS = {
  source: "The source's entry",
  resolve: "The hypervisor's name",
  connect: "The connection to the hypervisor",
  tls: "The encryption (TLS)",
  identity: "The hypervisor's certificate",
  link: "The answer of its SPICE server",
  ticket: "The ticket",
};

const RESULTS = {
  ok: ["ok", "Works"],
  failed: ["bad", "Failed"],
  not_needed: ["calm", "Not needed"],
  untried: ["calm", "Not tried"],
};

const tried = (hop) => hop.result === "ok" || hop.result === "failed";

function time(ms) {
  if (ms < 0.1) return "under 0.1 ms";
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

function hopElement(hop) {
  const [kind, text] = RESULTS[hop.result] ?? ["warn", hop.result];
  return h(
    "li",
    { "data-hop": hop.hop, class: hop.result },
    h(
      "div",
      { class: "hop-line" },
      h("span", { class: "hop-name" }, HOPS[hop.hop] ?? hop.hop),
      h("span", { class: "fine num" }, tried(hop) ? time(hop.ms) : ""),
      badge(kind, text),
    ),
    hop.text && h("p", { class: "error-text" }, sentence(hop.text)),
    hop.detail && h("p", { class: "fine" }, name(hop.detail)),
    hop.advice && h("p", {}, h("strong", {}, "What to do: "), sentence(hop.advice)),
  );
}

function verdict(answer) {
  if (answer.ok) return "The way is clear: this desktop can be opened right now.";
  const failed = answer.hops.find((hop) => hop.result === "failed");
  const where = HOPS[failed.hop] ?? failed.hop;
  return `It fails at this: ${where.charAt(0).toLowerCase()}${where.slice(1)}.`;
}

/* Nothing is opened and nobody is thrown out by it. */
export function diagnose(console) {
  const stop = new AbortController();
  const place = h("div", { class: "hops-place", "aria-busy": "true" });
  const title = visible(console.name ?? console.uuid);

  async function run() {
    place.setAttribute("aria-busy", "true");
    replace(place, loading("the way to the hypervisor"));
    again.hidden = true;
    try {
      const answer = await api.call("GET", api.consolePath(console, "/diagnosis"), {
        signal: stop.signal,
      });
      const words = verdict(answer);
      replace(
        place,
        h("p", { class: answer.ok ? "" : "error-text" }, h("strong", {}, words)),
        h("ol", { class: "hops" }, answer.hops.map(hopElement)),
      );
      announce(words);
    } catch (error) {
      if (stop.signal.aborted || error.status === 401) return;
      replace(place, problem(error), !advice(error) && h("p", {}, "Try again in a moment."));
    }
    place.setAttribute("aria-busy", "false");
    again.hidden = false;
  }

  const again = h(
    "button",
    { type: "button", hidden: true, on: { click: () => again.hidden || run() } },
    "Try again",
  );
  const policy = h(
    "button",
    { type: "button", title: "What may a session carry?", on: { click: () => explainPolicy(console) } },
    "Policy",
  );
  const shown = dialog({
    title: `Diagnosis of ${title}`,
    cancel: "Close",
    body: [place, h("div", { class: "row" }, again, policy)],
  });
  shown.closed.then(() => stop.abort());
  run();
}
