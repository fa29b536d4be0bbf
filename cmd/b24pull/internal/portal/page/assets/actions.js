// The buttons: what the control API is asked for, and how its actions are put
// into forms.
import { el } from "./dom.js";
import { t } from "./i18n.js";

/** What subscribers ask for. */
const listening = ["websockets", "polls"];

/**
 * groups are the buttons of the page: an action of the control API and the
 * body it is sent with. A button with danger asks first.
 */
export const groups = [
  ["connections", [
    { key: "cut-websockets", action: "cut", body: { transport: "websockets" } },
    { key: "cut-polls", action: "cut", body: { transport: "polls" } },
    { key: "cut-all", action: "cut", body: {} },
    { key: "ping", action: "ping", body: {} },
  ]],
  ["faults", [
    { key: "stall", action: "misbehave", body: { services: listening, fault: "stall" } },
    { key: "garble", action: "misbehave", body: { services: listening, fault: "garble" } },
    { key: "page", action: "misbehave", body: { services: listening, fault: "web_page" } },
    { key: "behave", action: "behave", body: {}, primary: true },
  ]],
  ["channels", [
    { key: "expire-channel", action: "expire-channel", body: { to: "private", action: "reconnect" } },
    { key: "replace-channel", action: "replace-channel", body: { to: "private" } },
    { key: "expire-config", action: "expire-config", body: {} },
  ]],
  ["server", [
    { key: "restart", action: "restart", body: { down_seconds: 2 } },
    { key: "set-back", action: "set-back", body: { by: 3 } },
    { key: "forget", action: "forget", body: {}, danger: true },
  ]],
  ["portal", [
    { key: "expire-token", action: "expire-token", body: {} },
    { key: "reset", action: "reset", body: {}, danger: true },
  ]],
];

/**
 * buttons are those of groups; press is called with one of them. Those that
 * begin what goes on can be shown pressed.
 */
export function buttons(press) {
  return groups.map(([group, items]) => el("div", { class: "group", role: "group", "aria-label": t(`group.${group}`) },
    el("h3", { text: t(`group.${group}`), "aria-hidden": "true" }),
    el("div", { class: "row" }, items.map((item) => el("button", {
      type: "button", class: item.danger ? "danger-outline" : item.primary ? "outline strong" : "outline",
      title: t(`action.${item.key}.hint`), data: { action: item.key }, text: t(`action.${item.key}`),
      "aria-pressed": item.action === "misbehave" ? "false" : null,
      on: { click: () => press(item) },
    })))));
}
