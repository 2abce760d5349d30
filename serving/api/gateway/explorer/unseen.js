// An entity that the graph does not hold: one input a modality that the model reads, by its widget.

import { $, el, session } from "./common.js";

const title = (word) => word[0].toUpperCase() + word.slice(1);
const quoted = (text) => `“${text.slice(0, 40)}${text.length > 40 ? "…" : ""}”`;

/** Each widget gives its element and what was put in: `value` for the query, `name` and `image` to show; or null. */
const widgets = {
  text({ field }) {
    const input = el("textarea", { id: field, rows: 3, placeholder: "A sentence about it …" });
    const node = el("div", { className: "field" }, el("label", { htmlFor: field, textContent: title(field) }), input);
    const read = () => { const value = input.value.trim(); return value ? { value, name: quoted(value) } : null; };
    return { node, read };
  },

  picture(one) {
    return widgets.file(one, "image/png,image/jpeg,image/webp,image/gif,image/avif,image/tiff,image/bmp");
  },

  file({ field, noun }, accept = "") {
    let data = null;
    const preview = el("img", { className: "preview", alt: "", hidden: true });
    const input = el("input", { id: field, type: "file", accept });
    const drop = el("label", { className: "drop", htmlFor: field, tabIndex: -1 }, `${title(noun)}: drop it here, or choose a file`, input, preview);
    const take = (file) => {
      if (!file) return;
      const reader = new FileReader();
      reader.addEventListener("load", () => { data = reader.result; if (accept) { preview.src = data; preview.hidden = false; } });
      reader.readAsDataURL(file);
    };
    input.addEventListener("change", () => take(input.files[0]));
    for (const [type, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
      drop.addEventListener(type, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", over);
        if (type === "drop") take(event.dataTransfer.files[0]);
      });
    }
    return { node: el("div", { className: "field" }, drop), read: () => data && { value: data.split(",")[1], name: `your ${noun}`, image: accept ? data : null } };
  },

  pairs({ field, names }) {
    const rows = el("div", { className: "pairs", role: "group", ariaLabel: title(field) });
    const list = el("datalist", { id: `${field}-names` }, ...names.map((name) => el("option", { value: name })));
    const add = () => {
      const name = el("input", { className: "name", placeholder: names[0] ?? "name", ariaLabel: "name" });
      name.setAttribute("list", list.id);
      const value = el("input", { className: "value", placeholder: "number or date", ariaLabel: "value" });
      const row = el("div", {}, name, value);
      row.addEventListener("input", () => { if (row === rows.lastChild && name.value && value.value) add(); });
      rows.append(row);
    };
    add();
    const read = () => {
      const pairs = [...rows.children].map((row) => [...row.children].map((input) => input.value.trim())).filter(([name, value]) => name && value);
      return pairs.length ? { value: Object.fromEntries(pairs), name: quoted(pairs.map((pair) => pair.join(" ")).join(", ")) } : null;
    };
    return { node: el("div", { className: "field" }, el("span", { className: "label", textContent: title(field) }), list, rows), read };
  },
};

let inputs = [];

/** Shows an input for each modality that the model reads. */
export function offerUnseen() {
  const { describing, encoders, unseen_entities: trained } = session.model;
  $("unseen").hidden = !describing.length;
  inputs = describing.filter(({ widget }) => widget in widgets).map((one) => ({ field: one.field, ...widgets[one.widget](one) }));
  $("describe").replaceChildren(...inputs.map(({ node }) => node));
  $("unseen-note").textContent = "Read by " + Object.entries(encoders).map(([modality, encoder]) => `${encoder} (${modality})`).join(", ") +
    (trained === "trained" ? "." : ". The model was trained without structure dropout: expect little of it.");
}

/** The entity that the inputs describe, or null where they are empty. */
export function unseenEntity() {
  const given = inputs.map(({ field, read }) => [field, read()]).filter(([, found]) => found);
  if (!given.length) return null;
  const shown = given.map(([, found]) => found);
  const image = shown.find((one) => one.image)?.image ?? null;
  const unseen = Object.fromEntries(given.map(([field, { value }]) => [field, value]));
  return { key: null, name: (shown.find((one) => !one.image) ?? shown[0]).name, type: "unseen", unseen, image, picture: image !== null };
}

export const nothingGiven = () => `Give ${session.model.describing.map(({ noun }) => `a ${noun}`).join(" or ")} first.`;
