// Forms: the one that emits a message, and those made of the control API's own
// description, so that every action can be had from the page.
import { el } from "./dom.js";
import { known, t } from "./i18n.js";

/** Problem is a field that cannot be sent as it is. */
export class Problem extends Error {
  constructor(input, message) {
    super(message);
    this.input = input;
  }
}

let ids = 0;

/** field is an input with its label and, if it has one, its explanation. */
export function field(label, input, hint) {
  input.id ||= `field-${++ids}`;
  const note = hint ? el("small", { id: `${input.id}-hint`, text: hint }) : null;
  if (note) input.setAttribute("aria-describedby", note.id);
  if (input.type === "checkbox") {
    return el("div", { class: "field check" }, input, el("label", { for: input.id, text: label }), note);
  }
  return el("div", { class: "field" }, el("label", { for: input.id, text: label }), input, note);
}

/** select is a choice among [value, text]. */
export function select(name, choices) {
  return el("select", { name }, choices.map(([value, text]) => el("option", { value, text })));
}

/** json reads the value of an input as JSON; empty is undefined. */
export function json(input) {
  const text = input.value.trim();
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (e) {
    throw new Problem(input, t("form.json", { why: e.message }));
  }
}

/** seconds reads a number of seconds; empty is undefined. */
export function seconds(input) {
  const text = input.value.trim().replace(",", ".");
  if (!text) return undefined;
  const n = Number(text);
  if (!Number.isFinite(n)) throw new Problem(input, t("form.number"));
  return n;
}

/** complain marks the field that a Problem is about, and takes the mark away later. */
export function complain(problem, place) {
  place.textContent = problem.message;
  place.hidden = false;
  const { input } = problem;
  if (!input) return;
  input.setAttribute("aria-invalid", "true");
  input.focus();
  input.addEventListener("input", () => {
    input.removeAttribute("aria-invalid");
    place.hidden = true;
  }, { once: true });
}

/** emitForm puts the fields of a message into a form; read gives the body to send. */
export function emitForm(form, kept = {}) {
  const module = el("input", { name: "module", value: kept.module ?? "application", spellcheck: "false" });
  const command = el("input", { name: "command", value: kept.command ?? "order.changed", required: true, spellcheck: "false" });
  const params = el("textarea", { name: "params", rows: "3", spellcheck: "false" });
  params.value = kept.params ?? '{"id": 7}';
  const to = select("to", ["private", "shared", "both", "user_private", "user_shared"].map((v) => [v, t(`target.${v}`)]));
  to.value = kept.to ?? "private";
  const user = el("input", { name: "user", inputmode: "numeric", value: kept.user ?? "", placeholder: "1" });
  const expiry = select("expiry", [["", t("emit.expiry.day")], ["60", t("emit.expiry.minute")], ["0", t("emit.expiry.none")]]);
  expiry.value = kept.expiry ?? "";
  const client = el("input", { name: "as_client", type: "checkbox" });
  client.checked = Boolean(kept.as_client);
  const body = el("textarea", { name: "body", rows: "2", spellcheck: "false" });
  body.value = kept.body ?? "";
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  form.replaceChildren(
    el("div", { class: "pair" }, field(t("emit.command"), command), field(t("emit.module"), module)),
    field(t("emit.params"), params),
    field(t("emit.to"), to),
    el("details", { class: "more", open: Boolean(kept.more) }, el("summary", { text: t("emit.more") }),
      el("div", { class: "pair" }, field(t("emit.user"), user, t("emit.user.hint")), field(t("emit.expiry"), expiry)),
      field(t("emit.body"), body, t("emit.body.hint")),
      field(t("emit.as_client"), client)),
    problem,
    el("button", { type: "submit", class: "primary", text: t("emit.send") }));
  return {
    problem,
    kept: () => ({
      module: module.value, command: command.value, params: params.value, to: to.value, user: user.value, expiry: expiry.value,
      as_client: client.checked, body: body.value, more: form.querySelector("details").open,
    }),
    read() {
      const sent = { to: to.value };
      if (body.value) {
        sent.body = body.value;
      } else {
        sent.module = module.value.trim();
        sent.command = command.value.trim();
        if (!sent.command) throw new Problem(command, t("emit.no_command"));
        const value = json(params);
        if (value !== undefined) sent.params = value;
      }
      if (expiry.value) sent.expiry_seconds = Number(expiry.value);
      const number = seconds(user);
      if (number !== undefined) sent.user = number;
      if (client.checked) sent.as_client = true;
      return sent;
    },
  };
}

/** described makes inputs of an object's schema, what is required before the rest; read gives the object. */
export function described(schema, root, first = []) {
  const required = new Set(schema?.required ?? []);
  const rank = (name) => (first.includes(name) ? first.indexOf(name) : first.length + (required.has(name) ? 0 : 1));
  const properties = Object.entries(schema?.properties ?? {}).sort(([a], [b]) => rank(a) - rank(b));
  const inputs = properties.map(([name, raw]) => {
    const property = resolve(raw, root);
    const { input, read } = inputOf(name, property);
    if (required.has(name)) input.setAttribute("aria-required", "true");
    const label = known(`field.${name}`) ? t(`field.${name}`) : name;
    return { name, input, read, node: field(label + (required.has(name) ? " *" : ""), input, property.description ?? raw.description) };
  });
  return {
    nodes: inputs.map((i) => i.node),
    inputs: Object.fromEntries(inputs.map((i) => [i.name, i.input])),
    read() {
      const body = {};
      for (const { name, input, read } of inputs) {
        const value = read();
        if (value !== undefined) body[name] = value;
        else if (required.has(name)) throw new Problem(input, t("form.missing", { name }));
      }
      return body;
    },
  };
}

/** resolve follows a reference within the description. */
export function resolve(schema, root) {
  let s = schema;
  for (let i = 0; s?.$ref && i < 10; i++) {
    s = s.$ref.replace(/^#\//, "").split("/").reduce((at, key) => at?.[key], root);
  }
  return s ?? {};
}

function inputOf(name, p) {
  if (p.enum) {
    const input = select(name, [["", "—"], ...p.enum.map((v) => [v, v])]);
    return { input, read: () => input.value || undefined };
  }
  switch (p.type) {
    case "boolean": {
      const input = el("input", { name, type: "checkbox" });
      return { input, read: () => input.checked || undefined };
    }
    case "integer":
    case "number": {
      const input = el("input", { name, inputmode: "decimal" });
      return { input, read: () => seconds(input) };
    }
    case "string": {
      const input = el("input", { name, spellcheck: "false" });
      return { input, read: () => input.value || undefined };
    }
    case "array":
      if (p.items?.type === "string") {
        const input = el("input", { name, spellcheck: "false", placeholder: (p.items.enum ?? []).join(", ") });
        return { input, read: () => (input.value.trim() ? input.value.split(",").map((s) => s.trim()).filter(Boolean) : undefined) };
      }
  }
  const input = el("textarea", { name, rows: "2", spellcheck: "false", placeholder: "JSON" });
  return { input, read: () => json(input) };
}
