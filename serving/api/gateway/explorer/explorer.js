// The explorer: an entity, a relation, ranked completions, and a walk from one to the next. Talks to /v1 alone.

import { $, api, current, el, frequency, gauge, get, legend, picture, session, thumbnail, why } from "./common.js";
import { offerProposals, showProposals } from "./proposals.js";
import { nothingGiven, offerUnseen, unseenEntity } from "./unseen.js";

const MOST_KNOWN = 200; // triples of an entity that are read
const state = { entity: null, details: null, relation: null, side: "tail", relations: [], walk: [] };
let asking = 0;

// -- key -------------------------------------------------------------------------------------------------------------

function signOut(message = "") {
  sessionStorage.removeItem("key");
  for (const view of ["explorer", "review", "views"]) $(view).hidden = true;
  $("login").hidden = false;
  $("login-error").textContent = message;
  $("key").focus();
}

async function signIn(given) {
  session.key = given;
  const model = await get("/v1/model");
  sessionStorage.setItem("key", given);
  session.model = model;
  $("login").hidden = true;
  $("model").textContent =
    `${model.model.name} ${model.model.version} · ${model.interaction} · ${model.fusion} · ${model.entities.toLocaleString()} entities, ${model.relations} relations`;
  $("type-label").hidden = !model.types.length;
  $("type").replaceChildren(el("option", { value: "", textContent: "fitting" }), ...model.types.map((type) => el("option", { textContent: type })));
  offerUnseen();
  await offerProposals();
  await restore();
}

// -- search ----------------------------------------------------------------------------------------------------------

let found = [];
let marked = -1;
let typing = 0;

function showFound(entities) {
  found = entities;
  marked = entities.length ? 0 : -1;
  $("found").replaceChildren(...entities.map((entity, index) => {
    const item = el("li", { role: "option", id: `found-${index}` }, thumbnail(entity), el("span", { textContent: entity.name }), el("small", { textContent: entity.type ?? "" }));
    item.addEventListener("mousedown", (event) => { event.preventDefault(); choose(entity); });
    return item;
  }));
  $("found").hidden = !entities.length;
  $("search").setAttribute("aria-expanded", String(entities.length > 0));
  mark(marked);
}

function mark(index) {
  marked = index;
  [...$("found").children].forEach((item, at) => item.setAttribute("aria-selected", String(at === index)));
  $("found").children[index]?.scrollIntoView({ block: "nearest" });
  if (index >= 0) $("search").setAttribute("aria-activedescendant", `found-${index}`);
}

$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const text = $("search").value;
    const { entities } = text.trim() ? await get("/v1/entities", { q: text }) : { entities: [] };
    if (text === $("search").value) showFound(entities);
  }, 120);
});
$("search").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && found.length) { event.preventDefault(); mark((marked + step + found.length) % found.length); }
  else if (event.key === "Enter" && found[marked]) { event.preventDefault(); choose(found[marked]); }
  else if (event.key === "Escape") showFound([]);
});
$("search").addEventListener("blur", () => showFound([]));

// -- entity and relation ---------------------------------------------------------------------------------------------

async function choose(entity, keep = {}) {
  showFound([]);
  $("search").value = "";
  if (state.entity) state.walk = [...state.walk.slice(-7), state.entity];
  state.entity = entity;
  const [{ relations }, details] = await Promise.all([
    get("/v1/relations", entity.key ? { entity: entity.key } : {}),
    entity.key ? get("/v1/entity", { entity: entity.key, limit: MOST_KNOWN }) : null,
  ]);
  if (state.entity !== entity) return; // another one was chosen meanwhile
  Object.assign(state, { relations, details });
  if (keep.relation) Object.assign(state, keep);
  else if (!state.relation || entity.key) suggest(relations);
  showEntity();
  showRelations();
  ask();
}

function suggest(relations) {
  const now = relations.find((relation) => relation.key === state.relation);
  const used = { tail: now?.as_head, head: now?.as_tail }[state.side];
  if (now && (used ?? 1) > 0) return;
  const [first] = relations;
  state.relation = first.key;
  state.side = (first.as_head ?? 1) > 0 ? "tail" : "head";
}

async function showEntity() {
  const { entity } = state;
  $("entity").hidden = false;
  $("entity-name").textContent = entity.name;
  const { type, description } = state.details ?? entity;
  $("entity-about").textContent = [type, entity.key && entity.key !== entity.name ? entity.key : null].filter(Boolean).join(" · ");
  $("entity-description").hidden = !description;
  $("entity-description").textContent = description ?? "";
  $("entity-picture").removeAttribute("src");
  const source = entity.picture === false ? null : await picture(entity);
  if (source && state.entity === entity) $("entity-picture").src = source;
  $("walk").replaceChildren(...state.walk.map((past, index) => el("button", {
    type: "button", textContent: past.name,
    onclick: () => { state.walk = state.walk.slice(0, index); state.entity = null; choose(past); },
  })));
}

function showRelations() {
  const button = (relation, side, count) => el("button", {
    type: "button",
    className: count === 0 ? "idle" : "",
    title: side === "tail" ? `${state.entity.name} ${relation.name} ?` : `? ${relation.name} ${state.entity.name}`,
    ariaPressed: String(relation.key === state.relation && side === state.side),
    onclick: () => { Object.assign(state, { relation: relation.key, side }); showRelations(); ask(); },
  }, side === "tail" ? `${relation.name} →` : `← ${relation.name}`, count ? el("span", { className: "count", textContent: ` ${count.toLocaleString()}` }) : null);
  const pairs = state.relations.flatMap((relation) => [["tail", relation.as_head], ["head", relation.as_tail]].map(([side, count]) => ({ relation, side, count })));
  pairs.sort((a, b) => ((b.count ?? 1) > 0) - ((a.count ?? 1) > 0));
  $("relations").replaceChildren(...pairs.map(({ relation, side, count }) => button(relation, side, count)));
}

// -- answers ---------------------------------------------------------------------------------------------------------

async function ask() {
  if (!state.entity || !state.relation) return;
  remember();
  const turn = ++asking;
  const given = state.side === "tail" ? "head" : "tail";
  const query = { [given]: state.entity.key ?? state.entity.unseen, relation: state.relation, k: Number($("k").value), exclude_known: !$("known").checked, explain: true };
  if ($("type").value) query.type = $("type").value;
  $("question").textContent = question(state.relations.find((relation) => relation.key === state.relation).name);
  $("status").textContent = "…";
  $("predictions").replaceChildren(); // those of the question before
  for (const id of ["known-answers", "legend", "modalities"]) $(id).hidden = true;
  try {
    const [answer] = (await (await api("/v1/complete", { queries: [query] })).json()).answers;
    if (turn !== asking) return;
    if (answer.error) throw new Error(answer.error.message);
    showAnswer(answer);
  } catch (error) {
    if (turn !== asking) return;
    $("status").textContent = error.message;
  }
}

function showAnswer(answer) {
  $("question").textContent = question(answer.relation.name);
  showKnown();
  const least = Number($("sure").value);
  const shown = answer.predictions.filter((one) => one.known || !least || (one.probability ?? 0) >= least);
  const unsure = answer.predictions.length - shown.length;
  $("status").textContent = unsure ? leftOut(unsure, least, answer.predictions)
    : answer.predictions.length ? "" : "Nothing left to predict: the graph knows every answer.";
  $("predictions").replaceChildren(...shown.map(prediction));
  $("legend").hidden = !answer.predictions.length;
  $("legend").textContent = legend(session.model.calibrated);
  showModalities(shown);
}

function question(relation) {
  const name = state.entity.name;
  return state.side === "tail" ? `${name} — ${relation} → ?` : `? — ${relation} → ${name}`;
}

/** What the graph holds already; with "show what is known" the answers are marked in the list instead. */
function showKnown() {
  const [own, other] = state.side === "tail" ? ["head", "tail"] : ["tail", "head"];
  const facts = (state.details?.facts ?? []).filter((fact) => fact.relation.key === state.relation && fact[own].key === state.entity.key);
  const more = state.details && state.details.total > state.details.facts.length ? " …" : "";
  $("known-answers").hidden = !facts.length || $("known").checked;
  $("known-answers").replaceChildren("Known: ", ...facts.flatMap((fact, index) => [index ? ", " : "", el("button", {
    type: "button", className: "link", textContent: fact[other].name, onclick: () => choose({ ...fact[other], type: null }),
  })]), more);
}

/** The key to the bars of "why". */
function showModalities(predictions) {
  const shares = predictions.find((one) => one.shares)?.shares;
  $("modalities").hidden = !shares;
  $("modalities").replaceChildren("Bars beside “why”, how much each part of an entity counts: ",
    ...Object.keys(shares ?? {}).flatMap((modality) => [el("span", { className: `dot ${modality}` }), `${modality} `]));
}

/** What is said where the model abstains. */
function leftOut(count, least, predictions) {
  const best = Math.max(...predictions.filter((one) => !one.known).map((one) => one.probability ?? 0));
  const told = session.model.calibrated && best < least ? ` Of answers like the best of them, ${frequency(best)} are right.` : "";
  return `${count} ${count === 1 ? "answer is" : "answers are"} less probable than ${100 * least} % and left out.${told}`;
}

function prediction(one, index) {
  const go = el("button", { type: "button", className: "go", title: `score ${one.score}`, onclick: () => choose({ ...one, type: null }) },
    el("span", { className: "rank", textContent: index + 1 }),
    thumbnail(one),
    el("span", { className: "name", textContent: one.name }),
    ...gauge(one));
  return el("li", {}, go, why(one));
}

for (const id of ["known", "k", "type", "sure"]) $(id).addEventListener("change", ask);

// -- unseen entities -------------------------------------------------------------------------------------------------

$("use-unseen").addEventListener("click", () => {
  const entity = unseenEntity();
  if (!entity) { $("status").textContent = nothingGiven(); return; }
  choose(entity, state.relation ? { relation: state.relation } : {});
});

// -- address ---------------------------------------------------------------------------------------------------------

function remember() {
  const { entity, relation, side } = state;
  const hash = entity.key ? `#${new URLSearchParams({ entity: entity.key, relation, side })}` : "#";
  if (location.hash !== hash) history.pushState(null, "", hash);
}

async function restore() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const reviewing = wanted.get("view") === "proposals";
  $("explorer").hidden = reviewing;
  $("review").hidden = !reviewing;
  for (const [id, here] of [["to-explorer", !reviewing], ["to-proposals", reviewing]]) current($(id), here);
  if (reviewing) return showProposals(wanted);
  const label = wanted.get("entity") ?? "";
  const there = label === state.entity?.key && wanted.get("relation") === state.relation && wanted.get("side") === state.side;
  if (state.entity && (!label || there)) return;
  const { entities } = await get("/v1/entities", { q: label });
  const entity = label ? entities.find((one) => one.key === label) : entities[0];
  if (entity) await choose(entity, label ? { relation: wanted.get("relation"), side: wanted.get("side") ?? "tail" } : {});
}
window.addEventListener("popstate", restore);

// -- start -----------------------------------------------------------------------------------------------------------

$("login").addEventListener("submit", (event) => { event.preventDefault(); signIn($("key").value).catch((error) => signOut(error.message)); });

const arrived = new URLSearchParams(location.hash.slice(1));
const given = arrived.get("key") ?? sessionStorage.getItem("key");
if (arrived.has("key")) {
  arrived.delete("key");
  history.replaceState(null, "", `${location.pathname}${arrived.size ? `#${arrived}` : ""}`);
}
if (given) signIn(given).catch((error) => signOut(error.message)); else signOut();
