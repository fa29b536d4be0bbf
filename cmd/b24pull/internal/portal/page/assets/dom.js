// Builds elements. Text becomes text nodes and never HTML, whoever wrote it.

/** byID is the element of the page with an id. */
export const byID = (id) => document.getElementById(id);

/**
 * el makes an element. Of props, class and text are what they say, data is the
 * dataset, on are listeners; all others are attributes, left out if they are
 * null or false. Children are nodes or strings; null is none.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "on") for (const [type, f] of Object.entries(value)) node.addEventListener(type, f);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== ""));
  return node;
}

/**
 * reconcile makes the children of a list those of items, by key, and in their
 * order. An element is made anew only if what it shows has changed, so that
 * focus, selection and opened details stay where they are.
 */
export function reconcile(parent, items, key, version, make) {
  const old = new Map();
  for (const child of [...parent.children]) old.set(child.dataset.key, child);
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    const v = String(version(item));
    let node = old.get(k);
    old.delete(k);
    if (!node || node.dataset.version !== v) {
      const made = make(item, node);
      made.dataset.key = k;
      made.dataset.version = v;
      if (node) {
        if (at === node) at = made;
        node.replaceWith(made);
      }
      node = made;
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
  for (const node of old.values()) node.remove();
}

/** onceAFrame has f run before the next frame is drawn, however often it is asked for. */
export function onceAFrame(f) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    // a page in the background has no frames
    const run = () => { asked = false; f(); };
    if (document.hidden) setTimeout(run, 500);
    else requestAnimationFrame(run);
  };
}

/** copyButton copies a text that is not shown on it. */
export function copyButton(label, done, text) {
  return el("button", {
    type: "button", class: "ghost small", "aria-label": label, title: label,
    on: { click: async () => { await navigator.clipboard.writeText(text()); done(); } },
  }, icon("M9 9V5.5A1.5 1.5 0 0 1 10.5 4h8A1.5 1.5 0 0 1 20 5.5v8a1.5 1.5 0 0 1-1.5 1.5H15M5.5 9h8A1.5 1.5 0 0 1 15 10.5v8a1.5 1.5 0 0 1-1.5 1.5h-8A1.5 1.5 0 0 1 4 18.5v-8A1.5 1.5 0 0 1 5.5 9z"));
}

/** icon is a small drawing of one path, for the eye only. */
export function icon(path) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const p = document.createElementNS(ns, "path");
  p.setAttribute("d", path);
  svg.append(p);
  return svg;
}
