/* A sparkline: the last samples of one number, as SVG. The number stands beside it as text. */

import { svg } from "/web/dom.js";

const SAMPLES = 60;
const FEW = 20; /* so few take the whole width already */
const WIDTH = 84;
const HEIGHT = 20;

/* Holds samples; null is a gap. */
export class History {
  constructor() {
    this.samples = [];
  }

  push(value) {
    this.samples.push(value ?? null);
    if (this.samples.length > SAMPLES) this.samples.shift();
  }
}

export function spark() {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line" });
  const element = svg(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      "aria-hidden": "true",
      focusable: "false",
      preserveAspectRatio: "none",
    },
    area,
    line,
  );
  return {
    element,
    update(history) {
      const points = placed(history.samples);
      const d = points
        .map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`)
        .join("");
      line.setAttribute("d", d);
      area.setAttribute(
        "d",
        points.length > 1
          ? `${d}L${points.at(-1)[0].toFixed(1)} ${HEIGHT}L${points[0][0].toFixed(1)} ${HEIGHT}Z`
          : "",
      );
    },
  };
}

/* The newest sample is at the right edge, zero at the bottom. */
function placed(samples) {
  const top = Math.max(1, ...samples.map((s) => s ?? 0)) * 1.1;
  const step = WIDTH / (Math.max(FEW, samples.length) - 1);
  return samples
    .map((s, i) => [WIDTH - (samples.length - 1 - i) * step, s])
    .filter(([, s]) => s !== null)
    .map(([x, s]) => [x, HEIGHT - 1 - (s / top) * (HEIGHT - 2)]);
}
