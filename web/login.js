/* Logging in. The place in the address stays as it is, so that one comes back to it. */

import * as api from "/web/api.js";
import { h, replace } from "/web/dom.js";
import { advice, field, sentence } from "/web/parts.js";
import { isValid } from "/web/dialog.js";

/* Leads to the identity provider and back. */
const SINGLE_SIGN_ON = "/api/v1/login/oidc";

const RETURN_MAX = 150; /* of the daemon */

/* With the way back to where one wanted to be, if that fits. */
function singleSignOn() {
  const back = `/${location.hash}`;
  const plain = back.length <= RETURN_MAX && /^[!#-&(-;=?-[\]-~]*$/.test(back);
  return back.length > 1 && plain
    ? `${SINGLE_SIGN_ON}?return=${encodeURIComponent(back)}`
    : SINGLE_SIGN_ON;
}

export function loginView({ message, entered }) {
  const place = h("div", { class: "login-methods" });
  const error = h("div", { role: "alert", class: "login-error" });
  const user = h("input", {
    name: "username",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    required: true,
    maxlength: "128",
  });
  const password = h("input", {
    name: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
    maxlength: "1024",
  });
  const domain = h("input", {
    name: "domain",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    maxlength: "128",
  });
  const domainField = h(
    "div",
    { hidden: true },
    field("Keystone domain", domain, "Empty for the default one."),
  );
  const button = h("button", { type: "submit", class: "primary wide" }, "Log in");
  const keystone = h(
    "button",
    { type: "submit", class: "wide", hidden: true },
    "Log in with Keystone",
  );
  let busy = false;

  async function send(event) {
    event.preventDefault();
    if (busy || !isValid(form)) return;
    const how =
      event.submitter === keystone
        ? { method: "keystone", domain: domain.value.trim() || undefined }
        : {};
    busy = true;
    button.setAttribute("aria-disabled", "true");
    replace(error);
    try {
      await api.login(user.value, password.value, how);
      password.value = "";
      await entered();
    } catch (failure) {
      replace(
        error,
        h("p", {}, h("strong", {}, sentence(failure.message))),
        advice(failure) && h("p", {}, advice(failure)),
      );
      password.value = "";
      password.focus();
    } finally {
      busy = false;
      button.removeAttribute("aria-disabled");
    }
  }

  const form = h(
    "form",
    { novalidate: true, on: { submit: send } },
    field("User name", user),
    field("Password", password),
    domainField,
    error,
    button,
    keystone,
  );

  /* Local users alone, until the daemon has said what else there is. */
  function offer(methods) {
    const local = methods.local !== false;
    domainField.hidden = !methods.keystone;
    keystone.hidden = !methods.keystone;
    button.hidden = !local;
    keystone.classList.toggle("primary", !local);
    form.hidden = !local && !methods.keystone;
    replace(
      place,
      methods.oidc && [
        !form.hidden && h("p", { class: "or" }, "or"),
        h("a", { class: "button wide", href: singleSignOn() }, "Log in with single sign-on"),
      ],
    );
  }

  api.loginMethods().then(offer, () => {});
  queueMicrotask(() => user.focus());

  return h(
    "main",
    { class: "login" },
    h(
      "div",
      { class: "login-card" },
      h("img", { src: "/web/icon.svg", alt: "", width: "44", height: "44" }),
      h("h1", {}, "Log in to Kerbside"),
      message && h("p", { class: `note ${message.kind}`, role: "status" }, message.text),
      form,
      place,
    ),
  );
}
