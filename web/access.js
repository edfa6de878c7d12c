/* Users and keys: who may log in, and the keys that brokers and scripts use. */

import * as api from "/web/api.js";
import { h, icon, name, replace, setText, visible } from "/web/dom.js";
import { ago, local, number } from "/web/format.js";
import {
  announce,
  badge,
  empty,
  field,
  header,
  loading,
  problemPlace,
  select,
} from "/web/parts.js";
import { cell, row, table } from "/web/table.js";
import { dialog } from "/web/dialog.js";

const ROLES = [
  ["user", "user: sees and opens desktops"],
  ["broker", "broker: makes grants for others"],
  ["auditor", "auditor: reads the audit"],
  ["operator", "operator: watches and ends sessions"],
  ["admin", "admin: everything, and users and keys"],
  ["agent", "agent: announces machines, sees nothing"],
  ["none", "none: what identity.roles in the configuration gives"],
];
const PASSWORD_MIN = 8;

const USER_COLUMNS = [
  { title: "User", class: "col-name" },
  { title: "Role", class: "col-role" },
  { title: "Created", class: "col-time" },
  { title: "Change", class: "col-action wide", unseen: true },
];
const KEY_COLUMNS = [
  { title: "Key", class: "col-name" },
  { title: "Role", class: "col-role" },
  { title: "State", class: "col-state" },
  { title: "Created", class: "col-time" },
  { title: "Expires", class: "col-time" },
  { title: "Where", class: "col-where" },
  { title: "Change", class: "col-action", unseen: true },
];

/* A text as the list that the API wants; commas and line breaks part its entries. */
function listOf(text) {
  const entries = text
    .split(/[,\n]/)
    .map((entry) => entry.trim())
    .filter(Boolean);
  return entries.length ? entries : undefined;
}

/* Where a key holds and may be used from, as lines; nothing when that is everywhere. */
function limitsOf({ sources, consoles, cidrs }) {
  const line = (label, list) =>
    list.length && h("span", {}, `${label} `, name(list.join(", ")));
  return [line("sources", sources), line("desktops", consoles), line("from", cidrs)].filter(
    Boolean,
  );
}


export function accessView(context) {
  const { signal, me } = context;
  const problems = problemPlace();
  const userCount = h("span", { class: "count" });
  const keyCount = h("span", { class: "count" });
  const users = h("div");
  const keys = h("div");
  const view = header("Users and keys");

  /* --- users --- */

  function userRow(user) {
    const self = user.name === me.name;
    return row(
      { "data-user": user.name },
      cell(
        { class: "col-name" },
        h("span", { class: "main-line" }, name(user.name)),
        self && h("span", { class: "fine" }, " (you)"),
      ),
      cell({ class: "col-role" }, user.role),
      cell({ class: "col-time", title: local(user.created_at) }, ago(user.created_at)),
      cell(
        { class: "col-action wide" },
        h(
          "button",
          {
            type: "button",
            class: "small",
            "aria-label": `Change the role of ${visible(user.name)}`,
            on: { click: () => changeRole(user, self) },
          },
          "Role",
        ),
        h(
          "a",
          {
            class: "button small",
            href: self ? "#/account" : `#/account?user=${encodeURIComponent(user.name)}`,
            "aria-label": `Logins of ${visible(user.name)}`,
          },
          "Logins",
        ),
        h(
          "button",
          {
            type: "button",
            class: "small",
            "aria-label": `Change the password of ${visible(user.name)}`,
            on: { click: () => changePassword(user, self) },
          },
          "Password",
        ),
        h(
          "button",
          {
            type: "button",
            class: "small",
            disabled: self,
            "aria-label": `Remove ${visible(user.name)}`,
            title: self ? "Nobody removes himself here" : null,
            on: { click: () => removeUser(user) },
          },
          "Remove",
        ),
      ),
    );
  }

  function addUser() {
    const username = h("input", {
      required: true,
      maxlength: "128",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
      pattern: "[^:\\/]+",
      title: "A name without : and /.",
    });
    const role = select(ROLES, "user");
    const password = passwordField();
    dialog({
      title: "Add a user",
      submit: "Add user",
      body: [field("User name", username), field("Role", role), password.element],
      act: async () => {
        await api.call("POST", "/api/v1/users", {
          body: { name: username.value, role: role.value, password: password.input.value },
        });
        announce(`The user ${visible(username.value)} was added.`);
        await load();
      },
    });
  }

  function changeRole(user, self) {
    const role = select(ROLES, user.role);
    dialog({
      title: `Change the role of ${visible(user.name)}`,
      submit: "Change role",
      body: [
        field("Role", role),
        h(
          "p",
          {},
          self
            ? "It holds at once, for you too: you may be unable to take it back."
            : "It holds at once, also where this user is logged in. Live sessions go on.",
        ),
      ],
      act: async () => {
        const path = `/api/v1/users/${encodeURIComponent(user.name)}`;
        await api.call("PATCH", path, { body: { role: role.value } });
        announce(`${visible(user.name)} has the role ${role.value} now.`);
        await load();
      },
    });
  }

  function changePassword(user, self) {
    const password = passwordField();
    dialog({
      title: `Change the password of ${visible(user.name)}`,
      submit: "Change password",
      /* Which account it is, for password managers. */
      body: [
        h("input", { hidden: true, readonly: true, autocomplete: "username", value: user.name }),
        password.element,
        h(
          "p",
          {},
          self
            ? "Your own logins end with it, this one included."
            : "Logins with the old password end with it.",
        ),
      ],
      act: async () => {
        await api.call("POST", `/api/v1/users/${encodeURIComponent(user.name)}/password`, {
          body: { password: password.input.value },
        });
        announce(`The password of ${visible(user.name)} was changed.`);
        await load();
      },
    });
  }

  function removeUser(user) {
    dialog({
      title: "Remove this user?",
      danger: true,
      submit: "Remove user",
      body: h(
        "p",
        {},
        h("strong", {}, name(user.name)),
        " can no longer log in, and logins that are open end. Live sessions go on; end them under Sessions. What was done stays in the audit.",
      ),
      act: async () => {
        await api.call("DELETE", `/api/v1/users/${encodeURIComponent(user.name)}`);
        announce(`The user ${visible(user.name)} was removed.`);
        await load();
      },
    });
  }

  /* --- keys --- */

  function keyRow(key) {
    const expired = key.expires_at && Date.parse(key.expires_at) <= Date.now();
    const dead = key.revoked_at || expired;
    const limits = limitsOf(key);
    return row(
      { "data-key": key.id, class: dead ? "dead" : null },
      cell(
        { class: "col-name" },
        h(
          "span",
          { class: "two-lines" },
          h("span", { class: "main-line" }, name(key.name)),
          h("span", { class: "id-line" }, key.id),
        ),
      ),
      cell({ class: "col-role" }, key.role),
      cell(
        { class: "col-state" },
        key.revoked_at
          ? badge("calm", "Revoked")
          : expired
            ? badge("calm", "Expired")
            : badge("ok", "Valid"),
      ),
      cell(
        { class: "col-time", title: local(key.created_at) },
        h(
          "span",
          { class: "two-lines" },
          h("span", {}, ago(key.created_at)),
          h("span", { class: "id-line" }, "by ", name(key.created_by)),
        ),
      ),
      cell(
        { class: "col-time", "data-label": "Expires" },
        key.expires_at ? local(key.expires_at) : "never",
      ),
      cell(
        { class: "col-where", "data-label": "Where" },
        limits.length
          ? h("span", { class: "lines" }, limits)
          : h("span", { class: "fine" }, "everywhere"),
      ),
      cell(
        { class: "col-action" },
        !dead &&
          h(
            "button",
            {
              type: "button",
              class: "small",
              "aria-label": `Revoke ${visible(key.name)}`,
              on: { click: () => revokeKey(key) },
            },
            "Revoke",
          ),
      ),
    );
  }

  async function createKey() {
    const label = h("input", {
      required: true,
      maxlength: "128",
      autocomplete: "off",
      spellcheck: "false",
    });
    const role = select(ROLES, "broker");
    const life = select(
      [
        ["720h", "30 days"],
        ["2160h", "90 days"],
        ["8760h", "1 year"],
        ["", "Never"],
      ],
      "2160h",
    );
    const narrow = (maxlength = "4096") =>
      h("input", { maxlength, autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
    const sources = narrow();
    const consoles = narrow();
    const cidrs = narrow();
    const created = await dialog({
      title: "Create an API key",
      submit: "Create key",
      body: [
        field("Name", label, "What uses it: nova, a portal, a script."),
        field("Role", role),
        field("Expires after", life),
        h(
          "fieldset",
          {},
          h("legend", {}, "Narrower, if you like"),
          field("Sources", sources, "Names, with commas; empty: all."),
          field("Desktops", consoles, "Patterns of names, such as build-*, test-??; empty: all."),
          field("From networks", cidrs, "Such as 192.0.2.0/24, 2001:db8::/32; empty: everywhere."),
        ),
      ],
      act: async () => {
        const key = await api.call("POST", "/api/v1/apikeys", {
          body: {
            name: label.value.trim(),
            role: role.value,
            expires_in: life.value || undefined,
            sources: listOf(sources.value),
            consoles: listOf(consoles.value),
            cidrs: listOf(cidrs.value),
          },
        });
        await load();
        return key;
      },
    }).closed;
    if (created && !signal.aborted) showKey(created);
  }

  function showKey(key) {
    const shown = h("input", {
      class: "secret",
      readonly: true,
      value: key.key,
      spellcheck: "false",
      autocomplete: "off",
    });
    shown.addEventListener("focus", () => shown.select());
    const told = h("span", { class: "fine", role: "status" });
    const copy = h(
      "button",
      {
        type: "button",
        on: {
          click: async () => {
            try {
              await navigator.clipboard.writeText(key.key);
              setText(told, "Copied.");
            } catch {
              shown.focus();
              shown.select();
              setText(told, "Press Ctrl+C to copy.");
            }
          },
        },
      },
      icon("copy"),
      "Copy",
    );
    dialog({
      title: `The key ${visible(key.name)}`,
      cancel: "Done",
      body: [
        field("API key", shown, "It is shown this once. Keep it where secrets are kept."),
        h("div", { class: "row" }, copy, told),
      ],
    }).closed.then(() => {
      shown.value = "";
    });
  }

  function revokeKey(key) {
    dialog({
      title: "Revoke this key?",
      danger: true,
      submit: "Revoke key",
      body: h(
        "p",
        {},
        "Whatever uses ",
        h("strong", {}, name(key.name)),
        " is refused from now on. This cannot be undone.",
      ),
      act: async () => {
        await api.call("DELETE", `/api/v1/apikeys/${encodeURIComponent(key.id)}`);
        announce(`The key ${visible(key.name)} was revoked.`);
        await load();
      },
    });
  }

  /* --- both --- */

  async function load() {
    const [userList, keyList] = await Promise.all([
      api.page("/api/v1/users", {}, signal),
      api.page("/api/v1/apikeys", {}, signal),
    ]);
    problems.clear();
    setText(userCount, number(userList.items.length));
    setText(keyCount, number(keyList.items.length));
    replace(users, table("Users", USER_COLUMNS, userList.items.map(userRow), { class: "users" }));
    keyList.items.sort((a, b) => Boolean(a.revoked_at) - Boolean(b.revoked_at));
    replace(
      keys,
      keyList.items.length
        ? table("API keys", KEY_COLUMNS, keyList.items.map(keyRow), { class: "keys" })
        : empty("access", "No API keys", "A broker or a script needs one to ask for desktops."),
    );
  }

  async function tryLoad() {
    try {
      await load();
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      replace(users);
      replace(keys);
      problems.show(error, () => {
        problems.clear();
        tryLoad();
      });
    }
  }

  replace(users, loading("users"));
  tryLoad();
  const section = (title, count, button, content) =>
    h(
      "section",
      {},
      h(
        "div",
        { class: "section-header" },
        h("h2", {}, title),
        count,
        h("div", { class: "actions" }, button),
      ),
      content,
    );
  return [
    view.element,
    problems.element,
    section(
      "Users",
      userCount,
      h("button", { type: "button", on: { click: addUser } }, icon("add"), "Add user"),
      users,
    ),
    section(
      "API keys",
      keyCount,
      h("button", { type: "button", on: { click: createKey } }, icon("add"), "Create key"),
      keys,
    ),
  ];
}

/* A new password, which can be looked at while it is typed. */
function passwordField() {
  const input = h("input", {
    type: "password",
    required: true,
    minlength: String(PASSWORD_MIN),
    maxlength: "1024",
    autocomplete: "new-password",
  });
  const show = h("input", {
    type: "checkbox",
    on: {
      change: () => {
        input.type = show.checked ? "text" : "password";
      },
    },
  });
  const element = [
    field("New password", input, `At least ${PASSWORD_MIN} characters.`),
    h("label", { class: "check" }, show, "Show it"),
  ];
  return { element, input };
}
