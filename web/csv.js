/* Audit events as CSV (RFC 4180). Pure. */

/* The columns of the CSV, in this order, whatever the events have. */
const FIELDS = [
  "id",
  "time",
  "event",
  "node",
  "actor",
  "user",
  "client_address",
  "source",
  "console",
  "console_name",
  "session_id",
  "grant_id",
  "channel",
  "reason",
  "detail",
  "bytes_from_client",
  "bytes_from_server",
  "duration",
  "request_id",
];

export const CSV_HEAD = `${FIELDS.join(",")}\r\n`;

/* What begins like a formula would be one for a spreadsheet: names come from clouds. */
function csvCell(value) {
  if (value === null || value === undefined) return "";
  const text = String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csvLine(event) {
  return `${FIELDS.map((key) => csvCell(event[key])).join(",")}\r\n`;
}
