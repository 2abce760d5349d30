// What both views share: elements, the gateway, pictures, and how a prediction is shown.

export const $ = (id) => document.getElementById(id);
export const el = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null));
  return node;
};
/** Say of a node, to screen readers and styles, whether it is the current one. */
export const current = (node, is) => (is ? node.setAttribute("aria-current", "true") : node.removeAttribute("aria-current"));
export const session = { key: "", model: null };
const pictures = new Map();

// -- the gateway -----------------------------------------------------------------------------------------------------

export async function api(path, body, method = body ? "POST" : "GET") {
  const headers = { authorization: `Bearer ${session.key}` };
  const options = body ? { method, headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) } : { method, headers };
  const response = await fetch(path, options);
  if (response.status === 401) throw new Error("This key is not known.");
  if (!response.ok) throw new Error((await response.json()).error.message);
  return response;
}
export const get = async (path, parameters = {}) => (await api(`${path}?${new URLSearchParams(parameters)}`)).json();

export async function picture(entity) {
  if (!entity.key) return entity.image ?? null;
  if (!pictures.has(entity.key)) {
    const load = api(`/v1/picture?${new URLSearchParams({ entity: entity.key })}`)
      .then(async (response) => (response.status === 204 ? null : URL.createObjectURL(await response.blob())));
    pictures.set(entity.key, load.catch(() => null));
  }
  return pictures.get(entity.key);
}

export function thumbnail(entity) {
  const image = el("img", { className: "picture", alt: "" });
  if (entity.picture !== false) picture(entity).then((source) => { if (source) image.src = source; else image.style.visibility = "hidden"; });
  else image.style.visibility = "hidden";
  return image;
}

// -- predictions -----------------------------------------------------------------------------------------------------

/** A probability as a frequency, which is what it is fitted to be. */
export function frequency(chance) {
  if (chance < 0.005) return "fewer than 1 in 100";
  if (chance < 0.05) return `about ${Math.round(100 * chance)} in 100`;
  if (chance < 0.125) return `about 1 in ${Math.round(1 / chance)}`;
  if (chance > 0.95) return "more than 19 in 20";
  return `about ${Math.min(9, Math.round(10 * chance))} in 10`;
}

/** A bar and the figure beside it: the probability, or the score where the model was not calibrated; `known` of a fact. */
export function gauge(one) {
  const chance = one.probability;
  const bar = el("span", { className: "bar" }, el("span", {}));
  bar.firstChild.style.width = `${100 * (chance ?? 0)}%`;
  if (chance === null) bar.classList.add("none");
  if (one.known) return [bar, el("span", { className: "figure", title: `the graph holds it; score ${one.score}` }, el("span", { className: "badge", textContent: "known" }))];
  const figure = chance === null ? one.score.toFixed(2) : `${(100 * chance).toFixed(1)} %`;
  return [bar, el("span", { className: "figure", textContent: figure, title: chance === null ? `score ${one.score}` : `${frequency(chance)} such are right; score ${one.score}` })];
}

export function why(one) {
  if (!one.shares && !one.support?.length) return null;
  const shares = Object.entries(one.shares ?? {});
  const bar = el("div", { className: "shares", title: shares.map(([modality, share]) => `${modality} ${(100 * share).toFixed(0)} %`).join(", ") },
    ...shares.map(([modality, share]) => { const part = el("span", { className: modality }); part.style.width = `${100 * share}%`; return part; }));
  const words = shares.map(([modality, share]) => `${modality} ${(100 * share).toFixed(0)} %`).join(" · ");
  const triples = (one.support ?? []).map((t) => el("li", { textContent: `${t.head.name} — ${t.relation.name} → ${t.tail.name}` }));
  return el("details", { className: "why" }, el("summary", {}, el("span", { textContent: "why" }), shares.length ? bar : ""), el("span", { textContent: words }),
    triples.length ? el("p", { textContent: "Most similar training triples:" }) : null, el("ul", {}, ...triples));
}

/** Entities whose names hold what is typed into an input, offered by its list; returns the key of what was chosen. */
export function suggestEntities(input) {
  const list = el("datalist", { id: `${input.id || `entity-${++suggested}`}-list` });
  const keys = new Map();
  let typing = 0;
  input.setAttribute("list", list.id);
  input.setAttribute("autocomplete", "off");
  input.after(list);
  input.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(async () => {
      const text = input.value.trim();
      const { entities } = text && !keys.has(text) ? await get("/v1/entities", { q: text }) : { entities: [] };
      if (text !== input.value.trim() || !entities.length) return;
      keys.clear();
      for (const one of entities) keys.set(keys.has(one.name) ? `${one.name} (${one.key})` : one.name, one.key);
      list.replaceChildren(...[...keys.keys()].map((value) => el("option", { value })));
    }, 120);
  });
  return () => keys.get(input.value.trim()) ?? input.value.trim();
}
let suggested = 0;

export const legend = (calibrated) => calibrated
  ? "Of the answers shown with 40 %, about 4 in 10 are right, if the graph lacks an answer to the question: fitted on the best answers to held-out questions."
  : "Scores of the model; it was not calibrated, so there are no probabilities.";
