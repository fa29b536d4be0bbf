// The panels around the stream: subscribers, requests, statistics, addresses.
import { byID, copyButton, el, reconcile } from "./dom.js";
import { clock, known, number, order, span, t } from "./i18n.js";
import { reason } from "./stream.js";

/**
 * subscribers shows the open connections as the portal tells of them, and those
 * who have gone a moment ago and are waited for.
 */
export function subscribers(open, away, version) {
  const rows = [
    ...open.map((s) => ({ key: `s${s.number}`, open: s })),
    ...away.filter((l) => !open.some((s) => (s.user ?? 0) === l.user)).map((l) => ({ key: `l${l.user}`, away: l })),
  ];
  reconcile(byID("subscribers"), rows, (r) => r.key,
    (r) => `${version}/${r.open ? JSON.stringify(r.open) : r.away.away.getTime()}`,
    (r, before) => (r.open ? openRow(r.open, before) : awayRow(r.away)));
  byID("subscribers-count").textContent = number(open.length);
  byID("subscribers-empty").hidden = rows.length > 0;
  byID("subscribers").closest(".scroll").hidden = rows.length === 0;
}

function transport(kind) {
  const poll = kind === "poll";
  return el("span", { class: `transport ${poll ? "poll" : "websocket"}`, text: t(poll ? "transport.poll" : "transport.websocket") });
}

const cell = (key, props, ...children) => el("td", { data: { label: t(key) }, ...props }, ...children);
const at = (text) => (text && !text.startsWith("0001-") ? new Date(text) : null);

function openRow(s, before) {
  const ping = at(s.last_ping);
  const pong = at(s.last_pong);
  const beat = ping ? [clock(ping), pong && pong >= ping ? null : el("span", { class: "reason", text: t("subscribers.no_pong") })] : ["—"];
  const sent = (s.live ?? 0) + (s.replayed ?? 0);
  const position = s.mid || s.position || "";
  return el("tr", { class: before && before.dataset.sent !== String(sent) ? "news" : "", data: { sent: String(sent), subscriber: String(s.number) } },
    el("th", { scope: "row" }, el("span", { class: "hash", text: `#${s.number}` }), " ", transport(s.transport)),
    cell("subscribers.user", {}, s.user ? String(s.user) : "—"),
    cell("subscribers.position", { class: "position", title: position }, position ? el("code", {}, el("bdi", { text: position })) : "—"),
    cell("subscribers.ping", {}, s.transport === "poll" ? "—" : beat),
    cell("subscribers.live", { class: "number" }, number(s.live ?? 0)),
    cell("subscribers.history", { class: "number" }, number(s.replayed ?? 0)),
    cell("subscribers.since", {}, at(s.since) ? clock(at(s.since)) : "—"));
}

function awayRow(l) {
  return el("tr", { class: "away" },
    el("th", { scope: "row" }, el("span", { class: "hash", text: `#${l.last ?? ""}` }), " ", transport(l.transport)),
    cell("subscribers.user", {}, l.user ? String(l.user) : "—"),
    el("td", { colspan: "4", class: "gone" }, t("subscribers.away", { reason: reason(l.reason) || t("subscribers.no_reason") })),
    cell("subscribers.since", {}, clock(l.away)));
}

/** requests shows the newest requests first. */
export function requests(list, version) {
  reconcile(byID("requests"), list.toReversed(), (r) => r.id, () => version, (r) => el("tr", { class: r.status >= 400 ? "refused" : "" },
    el("td", {}, el("time", { datetime: r.time.toISOString(), text: clock(r.time) })),
    el("td", {}, el("span", { class: "service", text: service(r.service) })),
    el("td", { class: "path" }, el("code", {}, el("b", { text: r.http_method ?? "" }), ` ${r.path ?? ""}`), r.reason || r.fault ? el("span", { class: "reason", text: [r.reason, r.fault].filter(Boolean).join(", ") }) : null),
    el("td", { class: "number" }, el("span", { class: `status s${String(r.status ?? "").charAt(0)}`, text: r.status ? String(r.status) : "—" })),
    el("td", { class: "number" }, duration(r.duration_ns))));
  byID("requests-count").textContent = number(list.length);
  byID("requests-empty").hidden = list.length > 0;
  byID("requests").closest(".scroll").hidden = list.length === 0;
}

const service = (name) => (name && known(`service.${name}`) ? t(`service.${name}`) : name ?? "");
const duration = (ns) => (ns ? span(ns / 1e6) : "—");

/** What of the statistics stands at the top. */
const top = ["connections", "published", "live", "replayed", "calls", "refused"];

/** statistics shows the counters, zeros dimmed. */
export function statistics(stats) {
  const values = { ...stats };
  values.live = (values.sent ?? 0) - (values.replayed ?? 0);
  reconcile(byID("tiles"), top, (k) => k, (k) => `${document.documentElement.lang}/${values[k]}`, (k) => el("div", { class: `tile ${k}` },
    el("dt", { text: t(`tile.${k}`) }), el("dd", { text: number(values[k] ?? 0) })));
  delete values.live;
  const names = Object.keys(values).filter((k) => typeof values[k] === "number");
  names.sort((a, b) => order(`stat.${a}`) - order(`stat.${b}`) || 0);
  reconcile(byID("statistics"), names, (k) => k, (k) => `${document.documentElement.lang}/${values[k]}`, (k) => el("div", { class: values[k] ? "" : "zero" },
    el("dt", { text: known(`stat.${k}`) ? t(`stat.${k}`) : k }), el("dd", { text: number(values[k]) })));
}

const addressNames = ["url", "plain_url", "push_url", "auth_url", "webhook", "api_webhook", "client_id", "client_secret", "application_token", "access_token", "member_id"];
const secret = new Set(["webhook", "api_webhook", "client_secret", "application_token", "access_token"]);

/** addresses shows what the program under test is to be given. */
export function addresses(portal, copied) {
  byID("addresses").replaceChildren(...addressNames.filter((k) => portal[k]).map((k) => {
    const value = el("code", { text: secret.has(k) ? hide(portal[k]) : portal[k] });
    return el("div", {},
      el("dt", { text: known(`address.${k}`) ? t(`address.${k}`) : k }),
      el("dd", {}, value,
        secret.has(k) ? reveal(value, portal[k]) : null,
        copyButton(t("addresses.copy", { name: t(`address.${k}`) }), copied, () => portal[k])));
  }));
}

function hide(text) {
  const origin = /^https?:\/\/[^/]+\//.exec(text)?.[0];
  return origin ? `${origin}…` : "•".repeat(8);
}

function reveal(value, text) {
  const button = el("button", { type: "button", class: "ghost small", "aria-pressed": "false", text: t("addresses.show") });
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    button.textContent = t(on ? "addresses.hide" : "addresses.show");
    value.textContent = on ? text : hide(text);
  });
  return button;
}
