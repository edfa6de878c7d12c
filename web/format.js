/* Numbers and times as people read them. Pure. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const count = new Intl.NumberFormat();
const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function number(n) {
  return count.format(n ?? 0);
}

export function plural(n, one, many) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

export function bytes(n) {
  let value = n ?? 0;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

export function rate(n) {
  return `${bytes(n)}/s`;
}

export function rtt(microseconds) {
  if (microseconds === null || microseconds === undefined) return "–";
  const ms = microseconds / 1000;
  return `${ms >= 100 ? Math.round(ms) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)} ms`;
}

/* Seconds as "3 h 12 min". */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min ${s % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function since(time) {
  return span((Date.now() - Date.parse(time)) / 1000);
}

export function ago(time) {
  if (!time) return "never";
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  return seconds < 2 ? "just now" : `${span(seconds)} ago`;
}

export function local(time) {
  return time ? dateTime.format(new Date(time)) : "";
}

/* A duration of the API ("60s", "1h30m") as words; 0 and null are no limit. */
export function duration(text, none = "no limit") {
  if (!text) return none;
  const factors = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };
  let seconds = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/g)) {
    seconds += Number(amount) * factors[unit];
  }
  if (seconds === 0) return none;
  if (seconds < 1) return text;
  if (seconds < 120) return plural(Math.round(seconds), "second", "seconds");
  if (seconds < 7200 && seconds % 60 === 0) return plural(seconds / 60, "minute", "minutes");
  if (seconds % 3600 === 0 && seconds < 172800) return plural(seconds / 3600, "hour", "hours");
  return seconds % 86400 === 0 ? plural(seconds / 86400, "day", "days") : span(seconds);
}

/* The same as short as it came, with spaces: "1 s 250 ms". */
export function brief(text) {
  return text.replace(/(\d)([a-z]+)(?=\d)/g, "$1 $2 ").replace(/(\d)([a-z]+)$/, "$1 $2");
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
export function compare(a, b) {
  return collator.compare(a ?? "", b ?? "");
}
