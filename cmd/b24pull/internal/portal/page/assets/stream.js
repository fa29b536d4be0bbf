// The stream: messages as they are published and delivered, and connections as
// they come and go, the newest first.
import { el, reconcile } from "./dom.js";
import { clock, known, number, span, t } from "./i18n.js";
import { missed, receivers } from "./model.js";

/** shown reports whether a line passes the filters. */
export function shown(line, filters) {
  switch (line.kind) {
    case "message": return filters.messages;
    case "ping":
    case "pong": return filters.pings;
  }
  return line.quiet ? filters.polls : filters.connections;
}

/** How long a message may be on its way before it is said not to have arrived, in milliseconds. */
const grace = 1_000;

/**
 * draw brings the list up to date. Message lines that are open stay so;
 * opened is the set of their ids. It reports whether something in the list will
 * look different a moment later by itself.
 */
export function draw(list, lines, opened, version) {
  const now = Date.now();
  let changing = false;
  const state = (line) => {
    if (line.kind !== "message" || line.got.size >= line.expected.length) return "";
    const waits = now - line.time < grace;
    changing ||= waits;
    return `${waits}${receivers(line, now).none.length}`;
  };
  reconcile(list, lines, (l) => l.id, (l) => `${version}/${l.version}/${state(l)}`, (line) => row(line, opened, now));
  return changing;
}

function row(line, opened, now) {
  switch (line.kind) {
    case "message": return messageRow(line, opened, now);
    case "connected": return connectedRow(line);
    case "ended": return plainRow(line, "ended", t("stream.ended", names(line)), ended(line));
    default: return plainRow(line, "beat", t(`stream.${line.kind}${line.client && line.kind === "ping" ? ".client" : ""}`, names(line)), "");
  }
}

const ended = (line) => [reason(line.reason), line.code].filter(Boolean).join(" ");

/** reason is why a connection ended, in the page's language if it has the words. */
export function reason(name) {
  const key = `reason.${name.replaceAll(" ", "_")}`;
  return name && known(key) ? t(key) : name;
}

/** who names a listener, as «user 1 · WebSocket». */
export function who(user, transports) {
  const kinds = [...new Set([transports].flat())].map((k) => t(k === "poll" ? "transport.poll" : "transport.websocket")).join(" + ");
  return `${user ? t("listener.user", { user }) : t("listener.unknown")}${kinds ? ` · ${kinds}` : ""}`;
}

const names = ({ connection: c }) => ({ number: c.number, who: who(c.user, c.transport) });

const time = (date) => el("time", { datetime: date.toISOString(), text: clock(date) });

function plainRow(line, kind, text, detail) {
  return el("li", { class: `line ${kind}` }, time(line.time), el("span", { class: "mark", "aria-hidden": "true" }),
    el("p", {}, text, detail ? el("span", { class: "reason", text: detail }) : null));
}

function connectedRow(line) {
  const text = line.back ? t("stream.back", { ...names(line), pause: span(line.pause) }) : t("stream.connected", names(line));
  const brought = line.brought.length ? [
    el("span", { class: "chip history" }, t("stream.brought", { n: number(line.brought.length) })),
    el("span", { class: "brought", text: shorten(line.brought) }),
  ] : [];
  return el("li", { class: `line connected${line.back ? " back" : ""}` }, time(line.time),
    el("span", { class: "mark", "aria-hidden": "true" }), el("p", {}, text, brought));
}

const shorten = (commands) => commands.slice(0, 3).join(", ") + (commands.length > 3 ? ", …" : "");

function messageRow(message, opened, now) {
  const { live, history, none } = receivers(message, now);
  const waits = now - message.time < grace;
  const chips = [
    ...live.map((g) => gotChip(g, "live")),
    ...history.map((g) => gotChip(g, "history")),
    ...none.map((l) => el("span", { class: `chip ${waits ? "waits" : "none"}`, title: t("chip.none.hint") },
      el("b", { text: t(waits ? "chip.waits" : "chip.none") }), who(l.user, []))),
  ];
  if (!chips.length) chips.push(el("span", { class: "chip nobody", text: t("chip.nobody") }));
  const details = el("details", {
    open: opened.has(message.id),
    on: { toggle: (e) => {
      if (!e.target.open) opened.delete(message.id);
      else if (!opened.has(message.id)) {
        opened.add(message.id);
        fill(e.target, message, now);
      }
    } },
  },
  el("summary", {},
    el("span", { class: "command", text: message.command || t("stream.raw") }),
    el("span", { class: "module", text: message.module }),
    message.targets.map((target) => el("span", { class: "target", text: target })),
    message.kept === true ? null : el("span", { class: "target", text: t("stream.not_kept") }),
    message.client ? el("span", { class: "target", text: t("stream.client") }) : null,
    el("span", { class: "chips" }, chips)));
  if (opened.has(message.id)) fill(details, message, now);
  return el("li", { class: "line message" }, time(message.time), el("span", { class: "mark", "aria-hidden": "true" }), details);
}

function gotChip({ listener, deliveries }, kind) {
  const those = deliveries.filter((d) => d.history === (kind === "history"));
  return el("span", { class: `chip ${kind}`, title: t(`chip.${kind}.hint`, { n: those.map((d) => `#${d.connection.number}`).join(", ") }) },
    el("b", { text: t(`chip.${kind}`) }), who(listener.user, those.map((d) => d.connection.transport)));
}

/** How many deliveries of a message are listed. */
const listed = 20;

/** fill puts in what is behind a message, when it is opened. */
function fill(details, message, now) {
  details.querySelector(".inside")?.remove();
  const { live, history, none } = receivers(message, now);
  const all = [...live, ...history].flatMap((g) => g.deliveries);
  const rows = all.slice(0, listed).map((d) => el("li", {}, t("message.got", {
    kind: t(d.history ? "chip.history" : "chip.live"), who: who(d.connection.user, d.connection.transport),
    n: d.connection.number, after: span(d.after),
  })));
  if (all.length > listed) rows.push(el("li", { text: t("message.more", { n: all.length - listed }) }));
  rows.push(...missed(message).map((c) => el("li", { text: t("message.missed", { n: c.number, who: who(c.user, c.transport) }) })));
  rows.push(...none.map((l) => el("li", { text: t("message.none", { who: who(l.user, []) }) })));
  details.append(el("div", { class: "inside" },
    message.mid ? el("p", { class: "mid" }, el("span", { text: "mid" }), el("code", { text: message.mid })) : null,
    rows.length ? el("ul", {}, rows) : null,
    el("pre", { tabindex: "0", role: "region", "aria-label": t("message.body"), text: pretty(message.body) })));
}

/** pretty is a body as indented JSON, if it is JSON. */
function pretty(body) {
  if (body === undefined || body === null) return "";
  const most = 20_000;
  let text = body;
  try {
    text = JSON.stringify(typeof body === "string" ? JSON.parse(body) : body, null, 2);
  } catch { /* shown as it is */ }
  text = String(text);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}
