// The proposals: triples that the graph may lack, to be decided one by one or together, with the mouse or the keyboard.

import { $, api, current, el, frequency, gauge, get, suggestEntities, thumbnail, why } from "./common.js";

const PAGE = 50;
const STATUSES = ["open", "accepted", "rejected", "unsure", "all"];
const SORTS = ["probability", "score", "head", "relation", "tail"];
const DECISIONS = { a: "accept", r: "reject", s: "unsure" };
const STEPS = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };
const WORDS = { unsure: "not sure" };

// decided: the groups of proposals decided with the present filter, the last one at the end
const state = {
  relation: "", status: "open", q: "", atLeast: 0, sort: "probability",
  shown: [], total: 0, relations: [], missing: null, current: 0, decided: [], selected: new Set(),
};
let asking = 0;

if (matchMedia("(max-width: 46rem)").matches) $("filter-box").open = false; // on a phone the proposals come first

/** Show the way to the proposals if there are some. */
export async function offerProposals() {
  const page = await get("/v1/proposals", { limit: 1 });
  $("views").hidden = false;
  $("to-proposals").hidden = page.model === null;
}

/** Open the view as the address says it. */
export async function showProposals(wanted) {
  state.relation = wanted.get("relation") ?? "";
  state.status = STATUSES.includes(wanted.get("status")) ? wanted.get("status") : "open";
  state.q = wanted.get("q") ?? "";
  state.sort = SORTS.includes(wanted.get("sort")) ? wanted.get("sort") : "probability";
  state.atLeast = Math.min(0.95, Math.max(0, Number(wanted.get("at_least")) || 0));
  $("review-search").value = state.q;
  $("sort").value = state.sort;
  $("at-least").value = state.atLeast;
  $("reviewer").value = localStorage.getItem("reviewer") ?? "";
  await load();
}

async function load() {
  const turn = ++asking;
  const page = await fetchPage(0);
  if (turn !== asking) return;
  Object.assign(state, { shown: page.proposals, current: 0, decided: [], selected: new Set() });
  $("proposals").replaceChildren();
  take(page);
}

async function more() {
  const turn = ++asking;
  // what was decided on this page has left the list of the open ones, so that the next begins earlier
  const gone = state.status === "all" ? 0 : state.shown.filter((one) => one.status !== state.status).length;
  const page = await fetchPage(state.shown.length - gone);
  if (turn !== asking) return;
  state.shown.push(...page.proposals);
  take(page);
}

const fetchPage = (offset) => get("/v1/proposals", {
  status: state.status, sort: state.sort, at_least: state.atLeast, limit: PAGE, offset,
  ...(state.relation && { relation: state.relation }), ...(state.q && { q: state.q }),
});

function take(page) {
  Object.assign(state, { total: page.total, relations: page.relations, missing: page.missing });
  $("proposed-by").textContent = page.model ? `by ${page.model.name} version ${page.model.version}` : "";
  $("proposals").append(...page.proposals.map((one, index) => card(one, state.shown.length - page.proposals.length + index)));
  $("review-status").textContent = state.shown.length ? "" : nothing();
  $("more").hidden = state.shown.length >= page.total || page.proposals.length < PAGE;
  $("review-legend").textContent = state.shown.length ? legend() : "";
  $("bulk").hidden = !state.shown.length;
  showStated(page.stated);
  showFilters();
  showSelection();
  mark(state.current, false);
}

function nothing() {
  if (state.q || state.atLeast) return "Nothing fits this search.";
  return state.status === "open" ? "Nothing is left to decide here." : "None yet.";
}

function legend() {
  if (state.shown.every((one) => one.probability === null)) return "Scores of the model; no facts were held out, so there are no probabilities.";
  const missing = state.missing === null ? "as many facts as were thought" : `${(100 * state.missing).toFixed(0)} % of its facts`;
  return `Of the proposals shown with 40 %, about 4 in 10 are right, if the graph lacked ${missing}; the next proposals follow what you decide.`;
}

// -- filters ---------------------------------------------------------------------------------------------------------

const whole = (one) => one.open + one.accepted + one.rejected + one.unsure;
const count = (status, relations) => relations.reduce((sum, one) => sum + (status === "all" ? whole(one) : one[status]), 0);

function showFilters() {
  const chosen = state.relations.filter((one) => !state.relation || one.key === state.relation);
  const button = (text, number, pressed, change, title = "") => el("button", {
    type: "button", ariaPressed: String(pressed), className: number ? "" : "idle", title,
    onclick: () => changeFilter(change),
  }, el("span", { textContent: text }), el("span", { className: "count", textContent: number.toLocaleString() }));
  $("statuses").replaceChildren(...STATUSES.map((status) => button(WORDS[status] ?? status, count(status, chosen), status === state.status, { status })));
  $("review-relations").replaceChildren(
    button("every relation", count(state.status, state.relations), !state.relation, { relation: "" }),
    ...state.relations.map((one) => button(one.name, count(state.status, [one]), one.key === state.relation, { relation: one.key }, precision(one))));
  $("at-least-text").textContent = state.atLeast ? `${Math.round(100 * state.atLeast)} %` : "0 % (all)";
  const [all, open] = [count("all", state.relations), count("open", state.relations)];
  $("progress").value = all ? (all - open) / all : 0;
  $("progress-text").textContent = `${(all - open).toLocaleString()} of ${all.toLocaleString()} decided`;
  showExport();
}

function changeFilter(change) {
  Object.assign(state, change);
  remember();
  load();
}

function showExport() {
  const accepted = count("accepted", state.relations) + $("stated").children.length;
  $("export").hidden = !accepted;
  $("export-count").textContent = `${accepted.toLocaleString()} accepted. Save as:`;
}

function remember() {
  const hash = new URLSearchParams({
    view: "proposals", status: state.status, ...(state.relation && { relation: state.relation }), ...(state.q && { q: state.q }),
    ...(state.sort !== "probability" && { sort: state.sort }), ...(state.atLeast && { at_least: state.atLeast }),
  });
  history.replaceState(null, "", `#${hash}`);
}

/** How good the proposals of a relation were: of the reviewed ones, and where facts were held out. */
function precision(relation) {
  const decided = relation.accepted + relation.rejected;
  const parts = [];
  if (decided) parts.push(`${relation.accepted} of ${decided} reviewed were right`);
  if (relation.held_out?.kept) parts.push(`tested on held-out facts, ${relation.held_out.found} of ${relation.held_out.kept} were right`);
  return parts.join(" · ");
}

// -- cards -----------------------------------------------------------------------------------------------------------

function card(one, index) {
  const walk = (entity, side) => el("a", { className: "end", href: `#${new URLSearchParams({ entity: entity.key, relation: one.relation.key, side })}`, title: "explore" },
    thumbnail(entity), el("span", { textContent: entity.name }));
  const box = el("input", { type: "checkbox", className: "select", ariaLabel: "select", onchange: () => select(one, box.checked) });
  const triple = el("p", { className: "triple" }, box, walk(one.head, "tail"), el("span", { className: "relation", textContent: `${one.relation.name} →` }), walk(one.tail, "head"));
  const words = one.probability === null ? null : el("span", { className: "words", textContent: frequency(one.probability) });
  const node = el("li", { tabIndex: -1 }, triple, el("div", { className: "chance" }, ...gauge(one), words), el("div", { className: "decide" }),
    el("p", { className: "precision note" }), el("div", { className: "further" }, facts(one), why(one), remark(one, index)));
  node.setAttribute("aria-label", `${one.head.name} ${one.relation.name} ${one.tail.name}`);
  for (const event of ["click", "focusin"]) node.addEventListener(event, () => mark(index, false));
  showDecision(node, one, index);
  return node;
}

function showDecision(node, one, index) {
  node.className = one.status;
  const button = (text, decision) => el("button", { type: "button", className: decision, textContent: text, onclick: () => decide([index], decision) });
  node.querySelector(".decide").replaceChildren(...(one.status === "open"
    ? [button("Accept", "accept"), button("Reject", "reject"), button("Not sure", "unsure")]
    : [el("span", { className: "badge", textContent: WORDS[one.status] ?? one.status }), button("Undo", "reopen")]));
  showPrecision(node, one);
}

function showPrecision(node, one) {
  const said = one.status === "open" ? [] : [
    one.by ? `by ${one.by}` : "", one.note ? `“${one.note}”` : "", one.instead ? `right: ${one.instead.name}` : ""];
  const relation = state.relations.find((other) => other.key === one.relation.key);
  const known = relation ? precision(relation) : "";
  node.querySelector(".precision").textContent = [...said.filter(Boolean), known && `${one.relation.name}: ${known}`].filter(Boolean).join(" · ");
}

/** Description, picture and known triples of both entities, fetched when they are opened. */
function facts(one) {
  const content = el("div", { className: "entities" });
  const details = el("details", { className: "facts" }, el("summary", { textContent: "known facts" }), content);
  details.addEventListener("toggle", async () => {
    if (!details.open || content.childElementCount) return;
    try {
      content.replaceChildren(...await Promise.all([one.head, one.tail].map(described)));
    } catch (error) {
      content.textContent = error.message;
    }
  });
  return details;
}

async function described(entity) {
  const found = await get("/v1/entity", { entity: entity.key, limit: 40 });
  const line = (fact) => el("li", { textContent: `${fact.head.name} — ${fact.relation.name} → ${fact.tail.name}` });
  const rest = found.total - found.facts.length;
  return el("section", { className: "known" },
    el("h3", {}, thumbnail(entity), el("span", { textContent: found.name }), el("small", { textContent: found.type ?? "" })),
    found.description ? el("p", { textContent: found.description }) : null,
    el("ul", {}, ...found.facts.map(line), ...(rest > 0 ? [el("li", { textContent: `… and ${rest.toLocaleString()} more` })] : [])));
}

/** A note, which comes with the next decision on the card, and the entity that is right instead. */
function remark(one, index) {
  const note = el("input", { className: "note-text", maxLength: 2000, placeholder: "a reason, a source", ariaLabel: "note" });
  const side = el("select", { ariaLabel: "which side is wrong" }, el("option", { value: "tail", textContent: `not ${one.tail.name}` }), el("option", { value: "head", textContent: `not ${one.head.name}` }));
  const right = el("input", { className: "right", maxLength: 500, placeholder: "the right entity is …", ariaLabel: "the right entity" });
  const form = el("form", {}, el("label", {}, "Note ", note), el("div", { className: "correct" }, side, right, el("button", { textContent: "Correct it" })));
  const chosen = suggestEntities(right);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const entity = chosen();
    if (entity) decide([index], "reject", { side: side.value, entity }, right.value.trim());
    else right.focus();
  });
  return el("details", { className: "remark" }, el("summary", { textContent: "note, correction" }), form);
}

const noteOf = (index) => $("proposals").children[index].querySelector(".note-text").value.trim();

function mark(index, focus = true) {
  const nodes = [...$("proposals").children];
  state.current = Math.max(0, Math.min(index, nodes.length - 1));
  nodes.forEach((node, at) => { node.tabIndex = at === state.current ? 0 : -1; current(node, at === state.current); });
  if (focus) nodes[state.current]?.focus();
}

// -- selection -------------------------------------------------------------------------------------------------------

function select(one, is) {
  if (is) state.selected.add(one); else state.selected.delete(one);
  showSelection();
}

function showSelection() {
  const { selected, shown } = state;
  [...$("proposals").children].forEach((node, index) => { node.querySelector(".select").checked = selected.has(shown[index]); });
  $("all").checked = shown.length > 0 && selected.size === shown.length;
  $("all").indeterminate = selected.size > 0 && selected.size < shown.length;
  $("selected").textContent = selected.size ? `${selected.size} selected` : "";
  $("bulk-decide").hidden = !selected.size;
}

// -- decisions -------------------------------------------------------------------------------------------------------

const STATUS = { accept: "accepted", reject: "rejected", unsure: "unsure", reopen: "open" };

/** Decide the proposals at these places alike; ``instead`` is the right entity in the place of a wrong one, called ``name``. */
async function decide(indices, decision, instead = null, name = "") {
  const by = $("reviewer").value.trim();
  const one = state.shown[indices[0]];
  const note = indices.length === 1 ? noteOf(indices[0]) : "";
  const told = { decision, ...(by && { by }), ...(note && { note }), ...(instead && { instead }) };
  try {
    if (indices.length === 1) await api(`/v1/proposals/${one.id}`, told);
    else for (let start = 0; start < indices.length; start += 200) await api("/v1/proposals", { ids: indices.slice(start, start + 200).map((index) => state.shown[index].id), ...told });
    const refresh = instead !== null || indices.some((index) => state.shown[index].instead);
    for (const index of indices) settle(index, STATUS[decision], { by: by || null, note: note || null, instead: instead && { name } });
    if (refresh) {
      const page = await get("/v1/proposals", { limit: 1 });
      showStated(page.stated);
    }
    showFilters();
    [...$("proposals").children].forEach((node, index) => showPrecision(node, state.shown[index]));
    state.decided = state.decided.map((group) => group.filter((other) => !indices.includes(other))).filter((group) => group.length);
    if (decision !== "reopen") state.decided.push(indices);
    $("review-status").textContent = "";
    if (indices.length === 1) mark(decision === "reopen" ? indices[0] : indices[0] + 1);
  } catch (error) {
    $("review-status").textContent = error.message;
  }
}

function settle(index, status, said) {
  const one = state.shown[index];
  const relation = state.relations.find((other) => other.key === one.relation.key);
  relation[one.status] -= 1;
  relation[status] += 1;
  Object.assign(one, said, { status });
  showDecision($("proposals").children[index], one, index);
}

/** Take the last decision back, wherever the focus has gone since. */
function undo() {
  const last = state.decided.at(-1);
  if (last) decide(last, "reopen");
  else $("review-status").textContent = "There is no decision to undo since this list was opened.";
}

async function decideSelected(decision) {
  const indices = state.shown.flatMap((one, index) => (state.selected.has(one) && one.status !== STATUS[decision] ? [index] : []));
  if (indices.length) await decide(indices, decision);
  state.selected = new Set();
  showSelection();
}

// -- facts of the reviewer's own --------------------------------------------------------------------------------------

function showStated(stated) {
  $("stated").replaceChildren(...stated.map((one) => {
    const words = `${one.head.name} ${one.relation.name} ${one.tail.name}`;
    return el("li", {}, el("span", { textContent: words, title: [one.by, one.note].filter(Boolean).join(": ") }),
      el("button", { type: "button", textContent: "Undo", ariaLabel: `take back ${words}`, onclick: () => withdraw(one) }));
  }));
  showExport();
}

async function withdraw(one) {
  try {
    await api(`/v1/facts/${one.id}`, null, "DELETE");
    showStated((await get("/v1/proposals", { limit: 1 })).stated);
    $("own-status").textContent = "";
  } catch (error) {
    $("own-status").textContent = error.message;
  }
}

const ownHead = suggestEntities($("own-head"));
const ownTail = suggestEntities($("own-tail"));

async function offerRelations() {
  if (!$("own").open || $("own-relation").childElementCount) return;
  const { relations } = await get("/v1/relations");
  $("own-relation").replaceChildren(...relations.map((one) => el("option", { value: one.key, textContent: one.name })));
}

async function stateFact(event) {
  event.preventDefault();
  const [by, note] = [$("reviewer").value.trim(), $("own-note").value.trim()];
  const fact = { head: ownHead(), relation: $("own-relation").value, tail: ownTail(), ...(by && { by }), ...(note && { note }) };
  try {
    await api("/v1/facts", fact);
    showStated((await get("/v1/proposals", { limit: 1 })).stated);
    $("own-form").reset();
    $("own-status").textContent = "It is kept as accepted.";
  } catch (error) {
    $("own-status").textContent = error.message;
  }
}

/** Save the accepted facts as a file. */
async function save(format) {
  const response = await api(`/v1/proposals/export?${new URLSearchParams({ format })}`);
  const name = /filename="([^"]+)"/.exec(response.headers.get("content-disposition"))?.[1] ?? "accepted";
  const link = el("a", { href: URL.createObjectURL(await response.blob()), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

// -- events ----------------------------------------------------------------------------------------------------------

let typing = 0;
$("review-search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => changeFilter({ q: $("review-search").value.trim() }), 200);
});
$("at-least").addEventListener("input", () => { $("at-least-text").textContent = `${Math.round(100 * $("at-least").value)} %`; });
$("at-least").addEventListener("change", () => changeFilter({ atLeast: Number($("at-least").value) }));
$("sort").addEventListener("change", () => changeFilter({ sort: $("sort").value }));
$("reviewer").addEventListener("change", () => localStorage.setItem("reviewer", $("reviewer").value.trim()));
$("all").addEventListener("change", () => { state.selected = new Set($("all").checked ? state.shown : []); showSelection(); });
for (const button of $("bulk-decide").children) button.addEventListener("click", () => decideSelected(button.dataset.decision));
for (const button of $("formats").children) button.addEventListener("click", () => save(button.dataset.format).catch((error) => { $("review-status").textContent = error.message; }));
$("own").addEventListener("toggle", offerRelations);
$("own-form").addEventListener("submit", stateFact);
$("more").addEventListener("click", more);

const TYPED = "input:not([type=checkbox]), textarea, select";
document.addEventListener("keydown", (event) => {
  if ($("review").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest(TYPED)) {
    if (event.key === "Escape") mark(state.current);
    return;
  }
  if (event.key === "/") $("review-search").focus();
  else if (!press(event)) return;
  event.preventDefault();
});

/** Act on a key pressed on the list; whether it means something. */
function press(event) {
  const { key, repeat } = event;
  if (!state.shown.length) return false;
  const node = $("proposals").children[state.current];
  if (STEPS[key]) mark(state.current + STEPS[key]);
  else if (repeat) return false;
  else if (DECISIONS[key]) decide([state.current], DECISIONS[key]);
  else if (key === "u") undo();
  else if (key === "x") select(state.shown[state.current], !state.selected.has(state.shown[state.current]));
  else if (key === "n") { node.querySelector(".remark").open = true; node.querySelector(".note-text").focus(); }
  else return false;
  return true;
}
