/* About: which kerbside this is, how it is, and what holds here. */

import * as api from "/web/api.js";
import { h, name, replace } from "/web/dom.js";
import { duration, number } from "/web/format.js";
import { badge, facts, header, problemPlace } from "/web/parts.js";

const EVERY = 5000;

export function aboutView(context) {
  const { me, signal } = context;
  const problems = problemPlace();
  const limits = me.limits ?? {};
  const daemon = h("div");

  function showDaemon(status) {
    replace(
      daemon,
      facts([
        ["Version", me.version ?? status?.version],
        ["Node", name(me.node ?? status?.node)],
        status && [
          "State",
          [
            status.ready ? badge("ok", "Ready") : badge("warn", "Starting or draining"),
            " ",
            status.store === "ok"
              ? badge("ok", "Store works")
              : badge("bad", "Store cannot be written"),
          ],
        ],
        status && ["Up for", duration(status.uptime, "less than a second")],
        status && [
          "Sources",
          `${number(status.sources_loaded)} of ${number(status.sources)} loaded`,
        ],
        status && ["Desktops", number(status.consoles)],
        status && [
          "Live",
          `${number(status.sessions)} sessions, ${number(status.channels)} channels`,
        ],
        status && ["Address", name(status.public_url)],
      ]),
    );
  }

  showDaemon(null);
  if (context.may("list_sessions")) {
    const now = api.poll(
      async () => {
        const status = await api.call("GET", "/api/v1/status", { signal });
        problems.clear();
        showDaemon(status);
      },
      EVERY,
      signal,
      { failed: (error) => problems.show(error, () => now()) },
    );
  }

  return [
    header("About").element,
    problems.element,
    h(
      "div",
      { class: "cards" },
      h("section", { class: "card" }, h("h2", {}, "This kerbside"), daemon),
      h(
        "section",
        { class: "card" },
        h("h2", {}, "Limits"),
        facts([
          ["A downloaded file starts a session within", duration(limits.start_within)],
          ["It starts", limits.reusable ? "several sessions" : "one session"],
          ["A link is good for", duration(limits.exchange_within)],
          ["A session lasts at most", duration(limits.max_session)],
          ["It ends without input after", duration(limits.idle_timeout)],
          ["A login lasts", duration(limits.login_lifetime)],
        ]),
      ),
    ),
  ];
}
