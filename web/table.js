/* Tables. On a narrow screen rows become blocks, which takes their meaning as a table away from
 * screen readers: so every role is also said. */

import { h, icon, setAttribute } from "/web/dom.js";

/* How many rows beyond the visible ones stand ready, so that Tab and a quick wheel find them. */
const MARGIN = 12;

export function cell(properties, ...children) {
  return h("td", { role: "cell", ...properties }, children);
}

export function row(properties, ...cells) {
  return h("tr", { role: "row", ...properties }, cells);
}

/* columns: [{key, title, class, sortable, unseen}]; sort is {key, down}. */
export function head(columns, sort, sorted) {
  return h(
    "thead",
    { role: "rowgroup" },
    h(
      "tr",
      { role: "row", "aria-rowindex": "1" },
      columns.map((c) => headCell(c, sort, sorted)),
    ),
  );
}

function headCell(column, sort, sorted) {
  const properties = { role: "columnheader", scope: "col", class: column.class };
  if (!column.sortable) {
    return h(
      "th",
      properties,
      column.unseen ? h("span", { class: "unseen" }, column.title) : column.title,
    );
  }
  const active = sort?.key === column.key;
  properties["aria-sort"] = active ? (sort.down ? "descending" : "ascending") : "none";
  const click = () => sorted({ key: column.key, down: active && !sort.down });
  return h(
    "th",
    properties,
    h(
      "button",
      { type: "button", class: "sort", "data-sort": column.key, on: { click } },
      column.title,
      active && icon(sort.down ? "down" : "up"),
    ),
  );
}

/* A plain table: all rows are there. */
export function table(label, columns, rows, more) {
  return h(
    "table",
    { role: "table", "aria-label": label, ...more },
    head(columns),
    h("tbody", { role: "rowgroup" }, rows),
  );
}

/* Stands for the rows that do not exist. */
function spacer(columns) {
  return h(
    "tbody",
    { class: "spacer", "aria-hidden": "true" },
    h("tr", {}, h("td", { colspan: columns })),
  );
}

/* A table of any length: rows have one height, and only those near the window exist.
 *   render(item) -> {element, update(item)}, element a <tr>; key(item) names it.
 * Rows that stay keep their elements, and with them the focus. */
export class LongTable {
  constructor({ label, columns, key, render, sorted, signal }) {
    this.columns = columns;
    this.key = key;
    this.render = render;
    this.sorted = sorted;
    this.items = [];
    this.rows = new Map();
    this.height = 0;
    this.above = spacer(columns.length);
    this.below = spacer(columns.length);
    this.body = h("tbody", { role: "rowgroup" });
    this.head = head(columns);
    this.element = h(
      "table",
      { role: "table", "aria-label": label, class: "long" },
      this.head,
      this.above,
      this.body,
      this.below,
    );
    let waiting = false;
    const later = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        if (!signal.aborted) this.draw();
      });
    };
    addEventListener("scroll", later, { passive: true, signal });
    addEventListener(
      "resize",
      () => {
        this.height = 0;
        later();
      },
      { signal },
    );
    this.element.addEventListener("keydown", (event) => this.walk(event));
  }

  set(items, sort) {
    this.items = items;
    const focused =
      this.head.contains(document.activeElement) && document.activeElement.dataset.sort;
    const fresh = head(this.columns, sort, this.sorted);
    this.head.replaceWith(fresh);
    this.head = fresh;
    if (focused) fresh.querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
    setAttribute(this.element, "aria-rowcount", items.length + 1);
    this.draw();
  }

  measure() {
    if (this.height || !this.items.length) return;
    const item = this.items[0];
    const probe = this.rows.get(this.key(item)) ?? this.render(item);
    const foreign = !probe.element.isConnected;
    if (foreign) this.body.append(probe.element);
    this.height = probe.element.getBoundingClientRect().height;
    if (foreign) probe.element.remove();
  }

  draw() {
    this.measure();
    const height = this.height || 40;
    const start = this.startOfBody();
    const within = (i) => Math.min(this.items.length, Math.max(0, i));
    const first = within(Math.floor(-start / height) - MARGIN);
    const last = within(Math.ceil((innerHeight - start) / height) + MARGIN);
    this.above.firstChild.firstChild.style.height = `${first * height}px`;
    this.below.firstChild.firstChild.style.height = `${(this.items.length - last) * height}px`;
    this.place(first, last);
  }

  startOfBody() {
    return this.above.getBoundingClientRect().top;
  }

  place(first, last) {
    const wanted = new Map();
    for (let i = first; i < last; i += 1) wanted.set(this.key(this.items[i]), i);
    for (const [key, held] of this.rows) {
      if (wanted.has(key)) continue;
      held.element.remove();
      this.rows.delete(key);
    }
    let before = null;
    for (const [key, i] of wanted) {
      let held = this.rows.get(key);
      if (!held) {
        held = this.render(this.items[i]);
        this.rows.set(key, held);
      }
      held.update?.(this.items[i]);
      setAttribute(held.element, "aria-rowindex", i + 2);
      const expected = before ? before.nextSibling : this.body.firstChild;
      if (expected !== held.element) this.body.insertBefore(held.element, expected);
      before = held.element;
    }
  }

  /* Arrow keys go from row to row between the rows' own buttons. */
  walk(event) {
    const from = event.target.closest("tr[aria-rowindex]");
    if (!from || !this.body.contains(from) || event.target.matches("input, select")) return;
    const index = Number(from.getAttribute("aria-rowindex")) - 2;
    const screen = Math.max(1, Math.floor(innerHeight / (this.height || 40)) - 3);
    const to = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      PageDown: index + screen,
      PageUp: index - screen,
      Home: 0,
      End: this.items.length - 1,
    }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey)
      return;
    event.preventDefault();
    this.focus(Math.min(this.items.length - 1, Math.max(0, to)));
  }

  focus(index) {
    if (!this.items[index]) return;
    const find = () => this.rows.get(this.key(this.items[index]));
    const wanted = this.startOfBody() + index * this.height;
    if (!find() || wanted < 80 || wanted > innerHeight - 2 * this.height) {
      scrollBy(0, wanted - innerHeight / 2);
      this.draw();
    }
    const row = find()?.element;
    (row?.querySelector(".primary") ?? row?.querySelector("button, a"))?.focus({
      preventScroll: true,
    });
  }
}

/* Keeps keyed children of a parent in an order, with as few moves as possible. */
export function arrange(parent, elements) {
  const stay = new Set(elements);
  for (const child of [...parent.children]) if (!stay.has(child)) child.remove();
  let at = parent.firstChild;
  for (const element of elements) {
    if (at === element) at = at.nextSibling;
    else parent.insertBefore(element, at);
  }
}
