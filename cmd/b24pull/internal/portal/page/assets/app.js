// The page's beginning and middle: which portal is looked at, what is asked of
// the control API, and what is drawn when.
import * as actions from "./actions.js";
import * as api from "./api.js";
import * as forms from "./forms.js";
import * as panels from "./panels.js";
import * as stream from "./stream.js";
import { byID, el, onceAFrame, reconcile } from "./dom.js";
import { known, language, preferred, remember, speak, t } from "./i18n.js";
import { Model } from "./model.js";

const filters = { messages: true, connections: true, polls: false, pings: false };
const opened = new Set(); // messages whose details are open

let portals = [];
let portal = null; // the one that is looked at
let model = new Model();
let open = []; // its subscribers, as it tells of them
let stats = {};
let link = "connecting";
let leave = () => {};
const faults = new Map(); // by portal, what was pressed here last and goes on
let paused = null; // the lines as they were when the stream was paused
let emit = null;
let description = null; // of the control API, for forms

/** toast says something for a while. */
function toast(text, kind = "done") {
  const node = el("p", { class: `toast ${kind}`, text });
  byID("toasts").append(node);
  while (byID("toasts").children.length > 4) byID("toasts").firstElementChild.remove();
  setTimeout(() => node.remove(), kind === "problem" ? 9000 : 4000);
}

const complain = (error) => toast(error.message || String(error), "problem");

// --- drawing -------------------------------------------------------------

const draw = onceAFrame(() => {
  const version = language();
  const lines = (paused ?? model.lines).filter((l) => stream.shown(l, filters));
  if (stream.draw(byID("stream"), lines.toReversed(), opened, version)) setTimeout(draw, 400);
  byID("stream-empty").hidden = lines.length > 0;
  byID("stream-older").hidden = model.dropped === 0;
  byID("stream-older").textContent = t("stream.older", { n: model.dropped });
  const waiting = paused ? model.lines.filter((l) => l.id > (paused.at(-1)?.id ?? 0) && stream.shown(l, filters)).length : 0;
  byID("pause").textContent = paused ? t("stream.resume", { n: waiting }) : t("stream.pause");
  panels.requests(model.requests, version);
  panels.subscribers(open, model.away(Date.now()), version);
  panels.statistics(stats);
  byID("link").className = `link ${link}`;
  byID("link-text").textContent = t(`link.${link}`);
});

function drawPortals() {
  reconcile(byID("portals"), portals, (p) => p.name, (p) => p.version, (p) => el("li", {}, el("button", {
    type: "button", class: "portal", data: { portal: p.name }, on: { click: () => look(p.name) },
  }, p.name, el("small", { text: `v${p.version}` }))));
  for (const b of byID("portals").querySelectorAll("button")) {
    if (b.dataset.portal === portal?.name) b.setAttribute("aria-current", "true");
    else b.removeAttribute("aria-current");
  }
  byID("portal-title").textContent = portal?.name ?? t("portals.none");
  byID("portal-meta").replaceChildren(...(portal ? [
    el("span", { class: "version", text: t("portals.version", { n: portal.version }) }),
    el("code", { text: portal.url }),
    el("button", { type: "button", class: "outline small", text: t("portals.delete"), on: { click: remove } }),
  ] : []));
  if (portal) panels.addresses(portal, () => toast(t("addresses.copied")));
}

/** drawStatic is what changes with the language and the portal only. */
function drawStatic() {
  emit = forms.emitForm(byID("emit"), emit?.kept());
  byID("actions").replaceChildren(...actions.buttons(press), more());
  drawFaults();
  for (const b of document.querySelectorAll("[data-language]")) {
    b.setAttribute("aria-pressed", String(b.dataset.language === language()));
  }
  drawTheme();
  drawPortals();
  draw();
}

/** drawFaults shows the button pressed whose fault goes on. */
function drawFaults() {
  for (const b of byID("actions").querySelectorAll("[data-action][aria-pressed]")) {
    b.setAttribute("aria-pressed", String(b.dataset.action === faults.get(portal?.name)));
  }
}

// --- the control API -----------------------------------------------------

/** look turns to another portal. */
function look(name) {
  leave();
  portal = portals.find((p) => p.name === name) ?? portals[0] ?? null;
  forget();
  drawPortals();
  drawFaults();
  if (!portal) return;
  const address = new URL(location.href);
  address.searchParams.set("portal", portal.name);
  history.replaceState(null, "", address);
  leave = api.follow(portal.name, {
    event(event) {
      model.apply(event);
      draw();
      later(event.kind === "subscribed" || event.kind === "unsubscribed" ? 120 : 400);
    },
    state(state, error) {
      link = state;
      if (state === "live" || error?.status === 404) list().catch(() => {});
      if (state === "live") refresh();
      draw();
    },
    lost() { toast(t("stream.lost"), "problem"); },
    anew: forget,
  });
  refresh();
}

/** forget begins with nothing known of the portal. */
function forget() {
  model = new Model();
  open = [];
  stats = {};
  opened.clear();
  pause(false);
}

/** refresh asks for what does not come by itself. */
async function refresh() {
  const name = portal?.name;
  if (!name) return;
  try {
    const [s, n] = await Promise.all([api.subscribers(name), api.stats(name)]);
    if (portal?.name !== name) return;
    open = s ?? [];
    stats = n ?? {};
    draw();
  } catch (error) {
    if (error.status === 404) await list();
    // else the stream of events tells that the connection is broken
  }
}

let soon = null;
/** later refreshes half a second from now, again as soon as may be. */
function later(wait) {
  soon ??= setTimeout(() => { soon = null; refresh(); }, wait);
}

/** list asks which portals there are. */
async function list() {
  const found = await api.portals();
  const before = JSON.stringify(portals);
  portals = found;
  if (portal && !portals.some((p) => p.name === portal.name)) look(portals[0]?.name);
  else if (portal) portal = portals.find((p) => p.name === portal.name);
  if (JSON.stringify(portals) !== before) drawPortals();
}

async function press(item) {
  if (!portal) return;
  if (item.danger && !(await sure(t(`action.${item.key}.sure`, { portal: portal.name }), t(`action.${item.key}`)))) return;
  try {
    done(t(`action.${item.key}`), await api.act(portal.name, item.action, item.body));
    if (item.action === "misbehave") faults.set(portal.name, item.key);
    if (item.action === "behave" || item.action === "reset") faults.delete(portal.name);
    if (item.action === "reset") look(portal.name);
    drawFaults();
    await list();
    refresh();
  } catch (error) {
    complain(error);
  }
}

/** done tells of an action and of what it was answered, but for tokens. */
function done(what, result) {
  const told = Object.entries(result ?? {}).filter(([k, v]) => !k.endsWith("_token") && v !== null && typeof v !== "object" && String(v).length < 80)
    .map(([k, v]) => `${known(`result.${k}`) ? t(`result.${k}`) : k}: ${v}`).join(", ");
  toast(told ? `${what} — ${told}` : t("action.done", { what }));
}

// --- dialogs and forms ---------------------------------------------------

/** sure asks, and reports whether the answer is yes. */
function sure(text, yes) {
  const dialog = byID("confirm");
  byID("confirm-text").textContent = text;
  byID("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function remove() {
  if (!(await sure(t("portals.delete.sure", { portal: portal.name }), t("portals.delete")))) return;
  try {
    await api.deletePortal(portal.name);
    await list();
  } catch (error) {
    complain(error);
  }
}

async function openAPI() {
  description ??= await fetch("openapi.json").then((r) => (r.ok ? r.json() : Promise.reject(new Error(`openapi.json: ${r.status}`))));
  return description;
}

const bodyOf = (operation, root) => forms.resolve(forms.resolve(operation?.requestBody, root)?.content?.["application/json"]?.schema, root);

let create = null;
async function openCreate() {
  const root = await openAPI();
  create = forms.described(bodyOf(root.paths["/v1/portals"]?.post, root), root, ["name", "version"]);
  const [first, second, ...rest] = create.nodes;
  byID("portal-fields").replaceChildren(el("div", { class: "pair" }, first, second),
    el("details", { class: "more" }, el("summary", { text: t("portals.options") }), ...rest));
  byID("portal-problem").hidden = true;
  byID("portal-dialog").showModal();
}

async function submitCreate(e) {
  e.preventDefault();
  try {
    const made = await api.createPortal(create.read());
    byID("portal-dialog").close();
    await list();
    look(made?.name);
  } catch (error) {
    forms.complain(error, byID("portal-problem"));
  }
}

/** more is every action of the control API, with a form made of its description. */
function more() {
  const fields = el("form", { class: "described", novalidate: true });
  const choose = forms.select("action", [["", t("actions.choose")]]);
  const box = el("details", { class: "more", id: "more-actions" }, el("summary", { text: t("actions.more") }), forms.field(t("actions.action"), choose), fields);
  box.addEventListener("toggle", async () => {
    if (!box.open || choose.length > 1) return;
    try {
      const root = await openAPI();
      const prefix = "/v1/portals/{name}/";
      const names = Object.keys(root.paths).filter((p) => p.startsWith(prefix) && root.paths[p].post).map((p) => p.slice(prefix.length)).sort();
      choose.append(...names.map((n) => el("option", { value: n, text: n })));
      choose.addEventListener("change", () => fill(fields, choose.value, root.paths[prefix + choose.value]?.post, root));
    } catch (error) {
      complain(error);
    }
  });
  return box;
}

function fill(form, action, operation, root) {
  if (!operation) return form.replaceChildren();
  const made = forms.described(bodyOf(operation, root), root);
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const summary = operation.description ?? operation.summary;
  form.replaceChildren(summary ? el("p", { class: "note", lang: "en", text: summary }) : "", ...made.nodes, problem,
    el("button", { type: "submit", class: "primary", text: t("actions.run", { action }) }));
  form.onsubmit = async (e) => {
    e.preventDefault();
    try {
      problem.hidden = true;
      done(action, await api.act(portal.name, action, made.read()));
      await list();
      refresh();
    } catch (error) {
      forms.complain(error, problem);
    }
  };
}

async function submitEmit(e) {
  e.preventDefault();
  try {
    emit.problem.hidden = true;
    await api.act(portal.name, "emit", emit.read());
    toast(t("emit.sent"));
  } catch (error) {
    forms.complain(error, emit.problem);
  }
}

// --- stream, theme, language ----------------------------------------------

function pause(on) {
  paused = on ? [...model.lines] : null;
  byID("pause").setAttribute("aria-pressed", String(on));
  draw();
}

const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function drawTheme() {
  byID("theme").setAttribute("aria-pressed", String(dark()));
}

function switchTheme() {
  const theme = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("b24pull.theme", theme);
  } catch { /* then it is chosen again */ }
  drawTheme();
}

async function switchLanguage(to) {
  remember(to);
  await speak(to);
  drawStatic();
}

function listen() {
  byID("emit").addEventListener("submit", submitEmit);
  byID("pause").addEventListener("click", () => pause(!paused));
  byID("theme").addEventListener("click", switchTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTheme);
  byID("portal-new").addEventListener("click", () => openCreate().catch(complain));
  byID("portal-cancel").addEventListener("click", () => byID("portal-dialog").close());
  byID("portal-form").addEventListener("submit", submitCreate);
  for (const b of document.querySelectorAll("[data-language]")) {
    b.addEventListener("click", () => switchLanguage(b.dataset.language).catch(complain));
  }
  for (const b of byID("filters").children) {
    b.addEventListener("click", () => {
      const on = b.getAttribute("aria-pressed") !== "true";
      b.setAttribute("aria-pressed", String(on));
      filters[b.dataset.filter] = on;
      draw();
    });
  }
}

async function start() {
  await speak(preferred());
  listen();
  drawStatic();
  for (let wait = 500; ; wait = Math.min(wait * 2, 5000)) {
    try {
      await list();
      break;
    } catch (error) {
      byID("banner").textContent = t("banner.unreachable", { why: error.message });
      byID("banner").hidden = false;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
  byID("banner").hidden = true;
  look(new URL(location.href).searchParams.get("portal"));
  setInterval(() => list().catch(() => {}), 10_000);
  setInterval(() => { if (!document.hidden) refresh(); }, 5_000);
}

start();
