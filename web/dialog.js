/* Modal dialogs on <dialog>, which keeps the focus inside, closes on Escape and gives the focus
 * back to where it was. */

import { h, replace, setAttribute, freshId } from "/web/dom.js";
import { problem } from "/web/parts.js";

let open = null;

export function closeDialog() {
  open?.close();
}

/* dialog({title, body: [...], submit: "End session", danger: true, act: async (form) => {...}})
 * act runs when the form is sent; the dialog closes when it is done, and shows the error when it
 * throws. Gives {element, close, closed}; closed is a promise of what act gave, or undefined. */
export function dialog({ title, body, submit, danger = false, act, cancel = "Cancel" }) {
  const titleId = freshId("dialog");
  const problems = h("div");
  const button =
    submit && h("button", { type: "submit", class: danger ? "danger" : "primary" }, submit);
  const form = h(
    "form",
    { method: "dialog", novalidate: true },
    h("h2", { id: titleId }, title),
    h("div", { class: "dialog-body" }, body),
    problems,
    h(
      "div",
      { class: "dialog-actions" },
      h("button", { type: "button", on: { click: () => element.close() } }, cancel),
      button,
    ),
  );
  const element = h("dialog", { "aria-labelledby": titleId }, form);
  const before = document.activeElement;
  let result;
  let busy = false;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy || !isValid(form)) return;
    busy = true;
    button.setAttribute("aria-disabled", "true");
    replace(problems);
    try {
      result = await act(form);
      element.close();
    } catch (error) {
      if (error.status !== 401) replace(problems, problem(error));
    } finally {
      busy = false;
      button.removeAttribute("aria-disabled");
    }
  });

  const closed = new Promise((resolve) => {
    element.addEventListener("close", () => {
      element.remove();
      if (open === element) open = null;
      if (before?.isConnected) before.focus();
      else document.querySelector("main h1")?.focus();
      resolve(result);
    });
  });

  open?.close();
  open = element;
  document.body.append(element);
  element.showModal();
  (form.querySelector("[autofocus], input:not([hidden]), select, textarea") ?? button)?.focus();
  return { element, closed, close: () => element.close() };
}

/* The browser's own bubbles do not reach every screen reader: errors stand beside their fields. */
export function isValid(form) {
  let first = null;
  for (const control of form.querySelectorAll("input, select, textarea")) {
    const id = `${control.id}-error`;
    const described = (control.getAttribute("aria-describedby") ?? "")
      .split(" ")
      .filter((d) => d && d !== id);
    control.parentElement.querySelector(".field-error")?.remove();
    control.removeAttribute("aria-invalid");
    setAttribute(control, "aria-describedby", described.join(" ") || null);
    if (control.checkValidity()) continue;
    control.setAttribute("aria-invalid", "true");
    control.setAttribute("aria-describedby", [...described, id].join(" "));
    control.after(h("span", { class: "field-error", id }, complaint(control)));
    first ??= control;
  }
  first?.focus();
  return first === null;
}

function complaint(control) {
  if (control.validity.valueMissing) return "Please fill this in.";
  if (control.validity.tooShort) return `At least ${control.minLength} characters.`;
  return control.title || control.validationMessage;
}
