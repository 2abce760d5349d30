// The API's description, made of /openapi.json: each route with its parameters, its fields, and an example to try.

import { $, el, session } from "../common.js";

const LONGEST = 20_000; // characters of an answer that are shown
let description = null;

/** Text with its `code` in elements of its own. */
const spoken = (text) => text.split("`").map((part, index) => (index % 2 ? code(part) : part));
const code = (text) => el("code", { textContent: text });
const resolved = (schema) => (schema?.$ref ? description.components.schemas[schema.$ref.split("/").pop()] : schema) ?? {};

/** A type in words: `string`, `list of Query`, `Completion or Failed`. */
function typed(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf || schema.oneOf) return (schema.anyOf ?? schema.oneOf).map(typed).filter((one) => one !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.properties && schema.title) return schema.title;
  return schema.type === "array" ? `list of ${typed(schema.items)}` : schema.type ?? "any";
}

function limits(schema) {
  const given = (name) => schema[name] !== undefined && schema[name] !== null;
  const between = (least, most, unit) => [given(least) ? `at least ${schema[least].toLocaleString()}${unit}` : "", given(most) ? `at most ${schema[most].toLocaleString()}${unit}` : ""];
  const found = [given("default") ? `default ${JSON.stringify(schema.default)}` : "", ...between("minimum", "maximum", ""), ...between("minLength", "maxLength", " characters"), ...between("minItems", "maxItems", " entries")];
  return found.filter(Boolean).join(", ");
}

/** A table of fields or parameters: name, type, what it says. */
function table(rows) {
  return el("table", {}, el("tbody", {}, ...rows.map(({ name, schema, required, description: text }) => el("tr", {},
    el("th", { scope: "row" }, code(name), required ? el("small", { textContent: " required" }) : null),
    el("td", { textContent: typed(schema) }),
    el("td", {}, ...spoken([text ?? schema.description, limits(schema)].filter(Boolean).join("; ")))))));
}

/** The fields of an object, and below them those of the objects in it. */
function fields(schema, seen = new Set()) {
  const { properties = {}, required = [] } = resolved(schema);
  const inner = [...JSON.stringify(Object.values(properties).filter((one) => !(one.items ?? one).properties)).matchAll(/schemas\/(\w+)/g)].map(([, name]) => name).filter((name) => !seen.has(name) && seen.add(name));
  const inline = Object.values(properties).map((one) => one.items ?? one).filter((one) => one.properties);
  return [
    table(Object.entries(properties).map(([name, one]) => ({ name, schema: one, required: required.includes(name) }))),
    ...inline.flatMap((one) => [el("h4", { textContent: one.title ?? "" }), ...fields(one, seen)]),
    ...inner.filter((name) => description.components.schemas[name].properties).flatMap((name) => [el("h4", { textContent: name }), ...fields(description.components.schemas[name], seen)]),
  ];
}

function request(path, method, operation) {
  const query = (operation.parameters ?? []).filter((one) => one.in === "query" && one.required).map((one) => `${one.name}=Norway`).join("&");
  const body = resolved(operation.requestBody?.content["application/json"].schema).examples?.[0];
  return { address: query ? `${path}?${query}` : path, body: body && JSON.stringify(body, null, 2) };
}

function curl(method, address, body) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const data = body ? ` \\\n  -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(JSON.parse(body)))}` : "";
  return `curl${method === "get" ? "" : ` -X ${method.toUpperCase()}`} ${quoted(location.origin + address)} -H "Authorization: Bearer $KEY"${data}`;
}

function tryIt(path, method, operation) {
  const { address, body } = request(path, method, operation);
  if (path.includes("{") || (method !== "get" && !body)) return null; // it needs an id, or changes something
  const where = el("input", { value: address, ariaLabel: "address", spellcheck: false });
  const what = body ? el("textarea", { value: body, rows: body.split("\n").length, ariaLabel: "body", spellcheck: false }) : null;
  const command = el("pre", {});
  const told = el("pre", { hidden: true });
  const show = () => { try { command.textContent = curl(method, where.value, what?.value); } catch { command.textContent = "the body is not valid JSON"; } };
  const send = async () => {
    const headers = { authorization: `Bearer ${session.key}`, ...(what ? { "content-type": "application/json" } : {}) };
    told.hidden = false;
    told.textContent = "…";
    try {
      const response = await fetch(where.value, { method: method.toUpperCase(), headers, body: what?.value });
      const text = await response.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* text, as /metrics gives it */ }
      told.textContent = `${response.status} ${response.statusText}\n${shown.length > LONGEST ? `${shown.slice(0, LONGEST)}\n…` : shown}`;
    } catch (error) { told.textContent = error.message; }
  };
  for (const input of [where, what]) input?.addEventListener("input", show);
  show();
  return el("details", { className: "try" }, el("summary", { textContent: "Example" }), where, ...(what ? [what] : []), command,
    el("button", { type: "button", textContent: "Send", onclick: send }), told);
}

function route(path, method, operation) {
  const parameters = operation.parameters?.length ? [el("h3", { textContent: "Parameters" }), table(operation.parameters)] : [];
  const body = operation.requestBody?.content["application/json"].schema;
  const answers = Object.entries(operation.responses).filter(([status]) => status === "200").flatMap(([, one]) => Object.entries(one.content ?? {}));
  const said = answers.map(([kind, { schema }]) => `${kind}: ${schema?.description ?? typed(schema)}`).join("; ");
  const deep = answers.map(([, { schema }]) => schema).find((schema) => schema?.$ref);
  return el("section", { id: `${method}-${path}` },
    el("h2", {}, code(`${method.toUpperCase()} ${path}`)),
    ...(operation.description ?? "").split("\n\n").map((text) => el("p", {}, ...spoken(text))),
    ...parameters,
    ...(body ? [el("details", {}, el("summary", { textContent: "Body" }), ...fields(body))] : []),
    ...(said ? [el("details", {}, el("summary", {}, ...spoken(`Answer: ${said}`)), ...(deep ? fields(deep) : []))] : []),
    ...[tryIt(path, method, operation)].filter(Boolean));
}

async function open(key) {
  session.key = key;
  const response = await fetch("/openapi.json", key ? { headers: { authorization: `Bearer ${key}` } } : {});
  if (response.status === 401) throw new Error(key ? "This key is not known." : "");
  description = await response.json();
  if (key) sessionStorage.setItem("key", key);
  $("login").hidden = true;
  $("about").textContent = "Every route but /healthz and /readyz takes the header Authorization: Bearer KEY.";
  $("routes").replaceChildren(...Object.entries(description.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => route(path, method, operation))));
}

function refuse(error) {
  $("login").hidden = false;
  $("login-error").textContent = error.message;
  $("key").focus();
}

$("login").addEventListener("submit", (event) => { event.preventDefault(); open($("key").value).catch(refuse); });
open(sessionStorage.getItem("key") ?? "").catch(refuse);
