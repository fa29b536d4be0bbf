// The page's languages: tables of texts, whose keys are the same in each.

const languages = ["en", "ru"];
let table = {};
let current = "en";

/** preferred is the language that was chosen here before, or the browser's. */
export function preferred() {
  try {
    const chosen = localStorage.getItem("b24pull.language");
    if (languages.includes(chosen)) return chosen;
  } catch { /* storage may be forbidden */ }
  for (const language of navigator.languages ?? [navigator.language]) {
    const base = language.toLowerCase().split("-")[0];
    if (languages.includes(base)) return base;
  }
  return "en";
}

/** speak loads a language and has the page speak it. */
export async function speak(language) {
  const answer = await fetch(`${language}.json`);
  if (!answer.ok) throw new Error(`${language}.json: ${answer.status}`);
  table = await answer.json();
  current = language;
  document.documentElement.lang = language;
  translate(document);
}

/** remember keeps the choice of a language for the next time. */
export function remember(language) {
  try {
    localStorage.setItem("b24pull.language", language);
  } catch { /* then it is chosen again */ }
}

/** language is what the page speaks now. */
export const language = () => current;

/** known reports whether there is a text of this key. */
export const known = (key) => key in table;

/** order is the place of a key among the texts; those that are none come last. */
export function order(key) {
  const at = Object.keys(table).indexOf(key);
  return at < 0 ? Infinity : at;
}

/** t is the text of a key, with {name} replaced by values.name. */
export function t(key, values = {}) {
  const text = table[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all));
}

/** translate puts in the texts of the elements below root that name a key. */
export function translate(root) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", t(node.dataset.tLabel));
    if (node.tagName === "BUTTON") node.title = t(node.dataset.tLabel);
  }
}

/** number writes a number as the language has it. */
export const number = (n) => new Intl.NumberFormat(current).format(n);

/** clock is the time of day of a Date, to the millisecond. */
export function clock(date) {
  const two = (n) => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** span is a length of time in milliseconds, short. */
export function span(ms) {
  if (ms < 0) return `−${span(-ms)}`;
  if (ms > 0 && ms < 0.05) return `<${number(0.1)} ${t("unit.ms")}`;
  if (ms < 10) return `${number(Math.round(ms * 10) / 10)} ${t("unit.ms")}`;
  if (ms < 1000) return `${Math.round(ms)} ${t("unit.ms")}`;
  if (ms < 60_000) return `${number(Math.round(ms / 100) / 10)} ${t("unit.s")}`;
  if (ms < 3600_000) return `${Math.floor(ms / 60_000)} ${t("unit.min")} ${Math.round((ms % 60_000) / 1000)} ${t("unit.s")}`;
  return `${Math.floor(ms / 3600_000)} ${t("unit.h")} ${Math.round((ms % 3600_000) / 60_000)} ${t("unit.min")}`;
}
