/* One's own account: who one is to this kerbside, and the logins that live, one's own or, for
 * admins, another user's. */

import * as api from "/web/api.js";
import { h, name, replace, setText, visible } from "/web/dom.js";
import { ago, local, number, plural } from "/web/format.js";
import { announce, badge, empty, facts, header, loading, problemPlace } from "/web/parts.js";
import { cell, row, table } from "/web/table.js";
import { dialog } from "/web/dialog.js";

const ACTIONS = {
  list_consoles: "see desktops",
  open_console: "open desktops",
  grant_for_others: "make grants for others",
  list_grants: "see all grants",
  list_sources: "see sources",
  list_sessions: "watch sessions",
  end_session: "end sessions",
  read_audit: "read the audit",
  manage_users: "manage users and keys",
  open_direct: "get files that lead past kerbside",
};

const PROVIDERS = { local: "kerbside", keystone: "Keystone", oidc: "single sign-on" };

const COLUMNS = [
  { title: "From", class: "col-name" },
  { title: "With", class: "col-role" },
  { title: "Since", class: "col-time" },
  { title: "Ends", class: "col-time" },
  { title: "End", class: "col-action", unseen: true },
];

/* A role and where it holds. */
function roleText({ role, sources, consoles }) {
  const where = [
    sources.length && `on ${sources.map(visible).join(", ")}`,
    consoles.length &&
      `for desktops ${consoles.map((c) => (c === "owner" ? "of one's own" : visible(c))).join(", ")}`,
  ].filter(Boolean);
  return [role, ...where].join(" ");
}

export function accountView(context) {
  const { me, parameters, signal } = context;
  const user = (context.may("manage_users") && parameters.get("user")) || me.name;
  const own = user === me.name;
  const problems = problemPlace();
  const place = h("div");
  const count = h("span", { class: "count" });
  const everywhere = h(
    "button",
    { type: "button", hidden: true, on: { click: () => endAll() } },
    own ? "Log out everywhere" : "End all logins",
  );
  const view = header(own ? "Your account" : `Logins of ${visible(user)}`);

  function loginRow(login) {
    return row(
      { "data-login": login.id },
      cell(
        { class: "col-name" },
        h("span", { class: "main-line" }, name(login.client_address ?? "somewhere")),
        login.current && [" ", badge("live", "This one")],
      ),
      cell({ class: "col-role" }, PROVIDERS[login.provider] ?? login.provider),
      cell({ class: "col-time", title: local(login.created_at) }, ago(login.created_at)),
      cell({ class: "col-time", "data-label": "Ends" }, local(login.expires_at)),
      cell(
        { class: "col-action" },
        h(
          "button",
          {
            type: "button",
            class: "small",
            "aria-label": `End the login from ${visible(login.client_address)}, ${local(login.created_at)}`,
            on: { click: () => endOne(login) },
          },
          login.current ? "Log out" : "End",
        ),
      ),
    );
  }

  async function endOne(login) {
    if (login.current) {
      context.logOut();
      return;
    }
    try {
      await api.call("DELETE", `/api/v1/logins/${encodeURIComponent(login.id)}`);
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      if (error.code !== "login_not_found") {
        problems.show(error);
        return;
      }
    }
    announce("The login was ended.");
    await tryLoad();
    if (!signal.aborted) view.element.querySelector("h1").focus();
  }

  function endAll() {
    dialog({
      title: own ? "Log out everywhere?" : `End all logins of ${visible(user)}?`,
      danger: true,
      submit: own ? "Log out everywhere" : "End all logins",
      body: h(
        "p",
        {},
        own
          ? "All your logins end at once, this one included. Desktops that are open stay open."
          : "All of them end at once. Desktops that are open stay open; end those under Sessions.",
      ),
      act: async () => {
        const { ended } = await api.call(
          "DELETE",
          `/api/v1/logins?user=${encodeURIComponent(user)}`,
        );
        if (own) {
          context.loggedOut(`You are logged out, everywhere: ${plural(ended, "login", "logins")}.`);
          return;
        }
        announce(`${plural(ended, "login", "logins")} ended.`);
        await load();
      },
    });
  }

  async function load() {
    const { items } = await api.page("/api/v1/logins", { user }, signal);
    if (signal.aborted) return;
    problems.clear();
    items.sort((a, b) => b.current - a.current);
    setText(count, number(items.length));
    everywhere.hidden = !items.length;
    replace(
      place,
      items.length
        ? table("Logins", COLUMNS, items.map(loginRow), { class: "logins" })
        : empty("access", "Nobody is logged in by this name"),
    );
  }

  async function tryLoad() {
    try {
      await load();
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      replace(place);
      problems.show(error, () => {
        problems.clear();
        tryLoad();
      });
    }
  }

  replace(place, loading("logins"));
  tryLoad();
  return [
    view.element,
    problems.element,
    own &&
      h(
        "section",
        { class: "card alone-card" },
        h("h2", {}, "You"),
        facts([
          ["Name", name(me.name)],
          ["Known to", PROVIDERS[me.provider] ?? me.provider],
          me.groups?.length && ["Groups", name(me.groups.join(", "))],
          ["Roles", (me.roles ?? []).map(roleText).join("; ") || me.role],
          ["You may", me.may.map((action) => ACTIONS[action] ?? action).join(", ")],
          ["This login ends", me.expires_at ? local(me.expires_at) : "never"],
        ]),
      ),
    h(
      "section",
      {},
      h(
        "div",
        { class: "section-header" },
        h("h2", {}, own ? "Your logins" : "Logins"),
        count,
        h("div", { class: "actions" }, everywhere),
      ),
      place,
    ),
  ];
}
