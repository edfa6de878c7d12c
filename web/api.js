/* The API from the page's side: the login cookie, the X-CSRF-Token that goes with it, errors as
 * objects, lists page by page. Knows nothing of what is shown. */

const PATIENCE = 20000;

export class ApiError extends Error {
  constructor(status, code, message, requestId) {
    super(message);
    this.status = status; /* 0: no answer at all */
    this.code = code;
    this.requestId = requestId;
  }
}

let csrf = null;
let expired = () => {};
let forbidden = () => {};

/* What happens when a request finds that nobody is logged in any more. */
export function onExpired(handler) {
  expired = handler;
}

/* What happens when a role does not allow a request. */
export function onForbidden(handler) {
  forbidden = handler;
}

function limited(signal) {
  const timeout = AbortSignal.timeout(PATIENCE);
  return signal ? AbortSignal.any([signal, timeout]) : timeout;
}

async function send(method, path, { body, accept, signal } = {}) {
  const headers = { Accept: accept ?? "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  try {
    return await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: limited(signal),
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw new ApiError(0, "unreachable", "Kerbside does not answer.");
  }
}

async function errorOf(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    /* what stands between may answer with something that is not ours */
  }
  return new ApiError(
    response.status,
    error.code ?? `status_${response.status}`,
    error.message ?? `The answer was ${response.status} ${response.statusText}`.trim(),
    error.request_id ?? response.headers.get("X-Request-Id"),
  );
}

async function ask(method, path, options = {}) {
  let response = await send(method, path, options);
  if (response.status === 403 && method !== "GET") {
    /* Another tab may have logged in since: the token belongs to the cookie. */
    const error = await errorOf(response);
    if (error.code === "forbidden") forbidden(error);
    if (error.code !== "csrf_failed" || options.again) throw error;
    await me();
    response = await send(method, path, { ...options, again: true });
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  if (error.status === 401 && !options.anonymous) expired(error);
  if (error.code === "forbidden") forbidden(error);
  throw error;
}

/* The JSON of the answer; null if there is none. */
export async function call(method, path, options) {
  const response = await ask(method, path, options);
  return response.status === 204 ? null : response.json();
}

/* The answer as a file: {blob, filename}. */
export async function file(method, path, options) {
  const response = await ask(method, path, options);
  return {
    blob: await response.blob(),
    filename: filenameOf(response.headers.get("Content-Disposition")),
  };
}

export function filenameOf(disposition) {
  const extended = /filename\*=UTF-8''([^;]+)/i.exec(disposition ?? "");
  if (extended) {
    try {
      return decodeURIComponent(extended[1]);
    } catch {
      /* then the plain one */
    }
  }
  const quoted = /filename="((?:[^"\\]|\\.)*)"/i.exec(disposition ?? "");
  return quoted ? quoted[1].replace(/\\(.)/g, "$1") : "console.vv";
}

/* The path with what is set of the parameters. */
export function query(path, parameters) {
  const filled = Object.entries(parameters).filter(
    ([, v]) => v !== undefined && v !== null && v !== "",
  );
  const text = new URLSearchParams(filled).toString();
  return text ? `${path}?${text}` : path;
}

/* One page of a list: {items, next}. */
export function page(path, parameters, signal) {
  return call("GET", query(path, parameters), { signal });
}

/* All pages, one after the other. */
export async function* pages(path, parameters, signal) {
  let cursor = null;
  do {
    const answer = await page(path, { ...parameters, cursor }, signal);
    yield answer.items;
    cursor = answer.next;
  } while (cursor);
}

export function consolePath(console, rest = "") {
  return `/api/v1/consoles/${encodeURIComponent(console.source)}/${encodeURIComponent(console.uuid)}${rest}`;
}

/* --- logging in and out --- */

export async function me(options) {
  const answer = await call("GET", "/api/v1/me", options);
  csrf = answer.csrf_token;
  return answer;
}

/* more: method and domain, for daemons that know more than local users. */
export async function login(username, password, more = {}) {
  const answer = await call("POST", "/api/v1/login", {
    body: { username, password, as_cookie: true, ...more },
    anonymous: true,
  });
  csrf = answer.csrf_token;
}

export async function logout() {
  try {
    await call("DELETE", "/api/v1/login", { anonymous: true });
  } catch (error) {
    if (error.status !== 401) throw error; /* it was over already */
  }
  csrf = null;
}

/* How one may log in here. Daemons without the route know local users alone. */
export async function loginMethods() {
  try {
    return await call("GET", "/api/v1/login/methods", { anonymous: true });
  } catch (error) {
    if (error.status === 404) return { local: true };
    throw error;
  }
}

/* --- live data --- */

/* Calls work() now and again `every` ms after it has ended, until the signal. Rests while the page
 * is hidden or `resting()`; on failures waits longer each time. work() gets the signal. */
export function poll(work, every, signal, { failed = () => {}, resting = () => false } = {}) {
  let wait = every;
  let timer = null;
  let running = false;
  async function turn() {
    timer = null;
    if (document.hidden || resting()) return;
    running = true;
    try {
      await work(signal);
      wait = every;
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      wait = Math.min(wait * 2, 15000);
      failed(error);
    } finally {
      running = false;
    }
    if (!signal.aborted) timer = setTimeout(turn, wait);
  }
  function now() {
    if (signal.aborted || running) return;
    clearTimeout(timer);
    turn();
  }
  document.addEventListener("visibilitychange", now, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  turn();
  return now;
}
