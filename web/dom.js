/* Elements. Everything that is shown goes through here as text: nothing is ever parsed as HTML. */

import { ICONS } from "/web/icons.js";

const SVG = "http://www.w3.org/2000/svg";

/* h("button", {type: "button", class: "plain", on: {click: f}}, "Text", child, null, [more]).
 * Properties become attributes; true is an empty attribute, false and null are none. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value))
        element.addEventListener(event, handler);
    } else if (name === "value") {
      element.value = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  add(element, children);
  return element;
}

export function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

export function replace(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

/* Writes only what differs, so that a live view does not disturb a selection or a screen reader. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/* A drawing of icons.js; it is never the only carrier of a meaning. */
export function icon(name) {
  return svg(
    "svg",
    { class: "icon", "aria-hidden": "true", focusable: "false", viewBox: "0 0 24 24" },
    svg("path", { d: ICONS[name] }),
  );
}

/* Controls, line breaks and marks that turn the direction of writing, but for the two joiners that
 * real names need. */
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/* A name from a cloud, with what cannot be seen made visible. */
export function visible(text) {
  return String(text ?? "").replace(
    HIDDEN,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/* The same as an element whose direction of writing does not touch its surroundings. */
export function name(text) {
  const shown = visible(text);
  return h("bdi", { title: shown.length > 20 ? shown : null }, shown);
}

let ids = 0;
export function freshId(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}
