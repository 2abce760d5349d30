// The proposals: triples that the graph lacks, to be accepted or rejected with the mouse or the keyboard.

import { $, api, current, el, gauge, get, legend, thumbnail, why } from "./common.js";

const PAGE = 50;
const STATUSES = ["open", "accepted", "rejected", "all"];
const DECISIONS = { a: "accept", r: "reject" };
const STEPS = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };

// decided: the proposals decided with the present filter, the last one at the end
const state = { relation: "", status: "open", shown: [], total: 0, relations: [], current: 0, decided: [] };
let asking = 0;

/** Show the way to the proposals if there are some. */
export async function offerProposals() {
  const page = await get("/v1/proposals", { limit: 1 });
  $("views").hidden = page.model === null;
}

/** Open the view as the address says it. */
export async function showProposals(wanted) {
  state.relation = wanted.get("relation") ?? "";
  state.status = STATUSES.includes(wanted.get("status")) ? wanted.get("status") : "open";
  await load();
}

async function load() {
  const turn = ++asking;
  const page = await fetchPage(0);
  if (turn !== asking) return;
  state.shown = page.proposals;
  state.current = 0;
  state.decided = [];
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

const fetchPage = (offset) =>
  get("/v1/proposals", { status: state.status, limit: PAGE, offset, ...(state.relation && { relation: state.relation }) });

function take(page) {
  Object.assign(state, { total: page.total, relations: page.relations });
  $("proposed-by").textContent = page.model ? `by ${page.model.name} version ${page.model.version}` : "";
  $("proposals").append(...page.proposals.map((one, index) => card(one, state.shown.length - page.proposals.length + index)));
  $("review-status").textContent = state.shown.length ? "" : state.status === "open" ? "Nothing is left to decide here." : "None yet.";
  $("more").hidden = page.proposals.length < PAGE;
  $("review-legend").hidden = !state.shown.length;
  $("review-legend").textContent = legend(state.shown.every((one) => one.probability !== null));
  showFilters();
  mark(state.current, false);
}

// -- filters ---------------------------------------------------------------------------------------------------------

const count = (status, relations) => relations.reduce((sum, one) => sum + (status === "all" ? one.open + one.accepted + one.rejected : one[status]), 0);

function showFilters() {
  const chosen = state.relations.filter((one) => !state.relation || one.key === state.relation);
  const button = (text, number, pressed, change) => el("button", {
    type: "button", ariaPressed: String(pressed), className: number ? "" : "idle",
    onclick: () => { Object.assign(state, change); remember(); load(); },
  }, el("span", { textContent: text }), el("span", { className: "count", textContent: number.toLocaleString() }));
  $("statuses").replaceChildren(...STATUSES.map((status) => button(status, count(status, chosen), status === state.status, { status })));
  $("review-relations").replaceChildren(
    button("every relation", count(state.status, state.relations), !state.relation, { relation: "" }),
    ...state.relations.map((one) => button(one.name, count(state.status, [one]), one.key === state.relation, { relation: one.key })));
  const accepted = count("accepted", state.relations);
  $("export").hidden = !accepted;
  $("export-count").textContent = `${accepted.toLocaleString()} accepted.`;
}

function remember() {
  const hash = new URLSearchParams({ view: "proposals", status: state.status, ...(state.relation && { relation: state.relation }) });
  history.replaceState(null, "", `#${hash}`);
}

// -- cards -----------------------------------------------------------------------------------------------------------

function card(one, index) {
  const walk = (entity, side) => el("a", { className: "end", href: `#${new URLSearchParams({ entity: entity.key, relation: one.relation.key, side })}`, title: "explore" },
    thumbnail(entity), el("span", { textContent: entity.name }));
  const triple = el("p", { className: "triple" }, walk(one.head, "tail"), el("span", { className: "relation", textContent: `${one.relation.name} →` }), walk(one.tail, "head"));
  const node = el("li", { tabIndex: -1, onfocusin: () => mark(index, false) }, triple, el("div", { className: "chance" }, ...gauge(one)), el("div", { className: "decide" }), why(one));
  node.setAttribute("aria-label", `${one.head.name} ${one.relation.name} ${one.tail.name}`);
  node.addEventListener("click", () => mark(index, false));
  showDecision(node, one, index);
  return node;
}

function showDecision(node, one, index) {
  node.className = one.status;
  const button = (text, decision) => el("button", { type: "button", className: decision, textContent: text, onclick: () => decide(index, decision) });
  node.querySelector(".decide").replaceChildren(...(one.status === "open"
    ? [button("Accept", "accept"), button("Reject", "reject")]
    : [el("span", { className: "badge", textContent: one.status }), button("Undo", "reopen")]));
}

function mark(index, focus = true) {
  const nodes = [...$("proposals").children];
  state.current = Math.max(0, Math.min(index, nodes.length - 1));
  nodes.forEach((node, at) => { node.tabIndex = at === state.current ? 0 : -1; current(node, at === state.current); });
  if (focus) nodes[state.current]?.focus();
}

async function decide(index, decision) {
  const one = state.shown[index];
  const before = one.status;
  try {
    const { status } = await (await api(`/v1/proposals/${one.id}`, { decision })).json();
    one.status = status;
    const relation = state.relations.find((other) => other.key === one.relation.key);
    relation[before] -= 1;
    relation[status] += 1;
    showFilters();
    showDecision($("proposals").children[index], one, index);
    state.decided = state.decided.filter((other) => other !== one);
    if (decision !== "reopen") state.decided.push(one);
    $("review-status").textContent = "";
    mark(decision === "reopen" ? index : index + 1);
  } catch (error) {
    $("review-status").textContent = error.message;
  }
}

/** Take the last decision back, wherever the focus has gone since. */
function undo() {
  const last = state.decided.at(-1);
  if (last) decide(state.shown.indexOf(last), "reopen");
  else $("review-status").textContent = "There is no decision to undo since this list was opened.";
}

$("more").addEventListener("click", more);
document.addEventListener("keydown", (event) => {
  if ($("review").hidden || event.ctrlKey || event.metaKey || event.altKey || !state.shown.length) return;
  const step = STEPS[event.key];
  const decision = DECISIONS[event.key];
  if (step) mark(state.current + step);
  else if (decision && !event.repeat) decide(state.current, decision);
  else if (event.key === "u" && !event.repeat) undo();
  else return;
  event.preventDefault();
});
