/* What a session on a desktop may carry, for operators: each rule and the policies that decide it. */

import * as api from "/web/api.js";
import { h, name, replace, visible } from "/web/dom.js";
import { announce, loading, problem } from "/web/parts.js";
import { dialog } from "/web/dialog.js";

const BECAUSE = {
  default: "every session",
  source: "the source",
  console: "the desktop",
  role: "a role",
  group: "a group",
  grant: "the grant",
};

/* Lists have a text for each policy that has one. */
function value(v) {
  if (v === true) return "yes";
  if (v === false) return "no";
  if (Array.isArray(v)) return v.length ? v.map((text) => text || "none").join("; ") : "all";
  return String(v);
}

function ruleRow(rule) {
  return h(
    "tr",
    { "data-rule": rule.rule },
    h("th", { scope: "row" }, rule.rule),
    h(
      "td",
      {},
      name(value(rule.value)),
      rule.observed &&
        h(
          "p",
          { class: "fine" },
          `${value(rule.observed.value)} would be: ${rule.observed.policies.join(", ")} only observes`,
        ),
    ),
    h("td", {}, rule.policies.join(", ") || "–"),
  );
}

function sum(answer) {
  return [
    h(
      "p",
      {},
      "These policies hold: ",
      answer.policies.map((p, i) => [
        i ? ", " : "",
        h("strong", {}, p.name),
        ` (${BECAUSE[p.because] ?? p.because}${p.mode === "observe" ? ", only observes" : ""})`,
      ]),
    ),
    h(
      "table",
      { class: "rules", "aria-label": "Rules" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["Rule", "Value", "Decided by"].map((t) => h("th", { scope: "col" }, t)),
        ),
      ),
      h("tbody", {}, answer.rules.map(ruleRow)),
    ),
  ];
}

/* Nothing is opened by it. */
export function explainPolicy(console) {
  const stop = new AbortController();
  const place = h("div", { class: "rules-place", "aria-busy": "true" });
  const user = h("input", { id: "policy-user", name: "user", autocomplete: "off" });

  async function ask() {
    place.setAttribute("aria-busy", "true");
    replace(place, loading("the policy"));
    try {
      const query = user.value ? `?user=${encodeURIComponent(user.value)}` : "";
      const answer = await api.call("GET", api.consolePath(console, `/policy${query}`), {
        signal: stop.signal,
      });
      replace(place, sum(answer));
      announce(`${answer.policies.length} policies hold`);
    } catch (error) {
      if (stop.signal.aborted || error.status === 401) return;
      replace(place, problem(error));
    }
    place.setAttribute("aria-busy", "false");
  }

  const shown = dialog({
    title: `Policy of ${visible(console.name ?? console.uuid)}`,
    cancel: "Close",
    body: [
      h(
        "div",
        { class: "row" },
        h("label", { for: "policy-user" }, "For the user"),
        user,
        h("button", { type: "button", on: { click: ask } }, "Show"),
      ),
      place,
    ],
  });
  user.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    ask();
  });
  shown.closed.then(() => stop.abort());
  ask();
}
