// The control API.

/** APIError is a refusal of the control API, in its own words. */
export class APIError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function ask(method, path, body) {
  const request = { method, headers: { Accept: "application/json" } };
  if (method === "POST") {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body ?? {});
  }
  const answer = await fetch(path, request);
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch { /* said below, if it matters */ }
  if (!answer.ok) {
    const e = value?.error ?? {};
    throw new APIError(answer.status, e.code ?? "", e.message ?? `${answer.status} ${answer.statusText}`);
  }
  return value;
}

const of = (portal, rest) => `v1/portals/${encodeURIComponent(portal)}${rest}`;

export const portals = () => ask("GET", "v1/portals");
export const createPortal = (options) => ask("POST", "v1/portals", options);
export const deletePortal = (name) => ask("DELETE", of(name, ""));
export const stats = (portal) => ask("GET", of(portal, "/stats"));
export const subscribers = (portal) => ask("GET", of(portal, "/subscribers"));
export const act = (portal, action, body) => ask("POST", of(portal, `/${action}`), body);

/** How many events of the past are looked at, at most. */
const past = 3000;

/**
 * follow hands what happens on a portal to on.event, one event at a time, and
 * tells on.state "live" or "broken". After a break it goes on with what is not
 * known yet, or calls on.anew if it has to begin again: the program may have
 * been started anew. It calls on.lost where events are missing that the program
 * no longer had. It returns a function that ends it.
 */
export function follow(portal, on) {
  let source = null;
  let last = null; // number of the last event that was handed on
  let wait = 500;
  let timer = null;
  let ended = false;

  const open = async () => {
    let newest;
    try {
      newest = (await ask("GET", of(portal, `/log?after=${Number.MAX_SAFE_INTEGER}`))).last;
    } catch (error) {
      return broken(error);
    }
    if (ended) return;
    if (last !== null && newest < last) on.anew();
    if (last === null || newest < last) last = Math.max(0, newest - past);
    source = new EventSource(of(portal, `/events?after=${last}`));
    source.onopen = () => { wait = 500; on.state("live"); };
    source.onmessage = (message) => {
      const number = Number(message.lastEventId);
      if (number <= last) return;
      last = number;
      on.event(JSON.parse(message.data));
    };
    source.addEventListener("lost", () => on.lost());
    // The browser's own way of trying again gives up on some errors, such as
    // an answer that is no stream.
    source.onerror = () => broken(null);
  };

  const broken = (error) => {
    source?.close();
    if (ended) return;
    on.state("broken", error);
    timer = setTimeout(open, wait);
    wait = Math.min(wait * 2, 5000);
  };

  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    source?.close();
  };
}
