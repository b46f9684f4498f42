// Which rows are shown and in which order, and the selection: one action on several downloads.

import { page, parts, say } from "./elements.js";
import { SECTIONS, downloads, noteChange } from "./known.js";
import { ACTIONS, views } from "./row.js";
import { counted } from "./words.js";

const AT_ONCE = 4;
const BULK = { pause: "Pause", resume: "Resume", retry: "Retry", cancel: "Cancel" };
const DONE = { pause: "paused", resume: "resumed", retry: "tried again", cancel: "cancelled" };
const size = (row) => row.expected_bytes ?? row.downloaded_bytes;
const share = (row) => (row.expected_bytes > 0 ? row.downloaded_bytes / row.expected_bytes : 0);
const ORDERS = {
  name: (one, other) => one.filename.localeCompare(other.filename, undefined, { numeric: true }),
  size: (one, other) => size(other) - size(one),
  progress: (one, other) => share(other) - share(one),
  added: (one, other) => other.id - one.id,
};

// Ids of selected downloads.
const selected = new Set();
let words = [];
let order = null;

export const isFiltered = () => words.length > 0;
// The rows are not in the order in which the section holds them.
export const isArranged = () => isFiltered() || order !== null;

function matches(row) {
  const text = `${row.filename} ${row.peer_name ?? ""} ${row.url}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

// The rows of a section as they are shown.
export function shown(section) {
  const rows = section.ids.map((id) => downloads.get(id)).filter(matches);
  const by = order ?? section.order;
  return by ? rows.sort(by) : rows;
}

const allShown = () => SECTIONS.flatMap(shown);
const able = (action) => [...selected].filter((id) => ACTIONS[downloads.get(id).status]?.includes(action));

export function drawSelection() {
  for (const id of selected) if (!downloads.has(id) || !matches(downloads.get(id))) selected.delete(id);
  for (const [id, view] of views) view.at.select.checked = selected.has(id);
  page("tools").hidden = downloads.size === 0;
  say(page("nothing"), isFiltered() && allShown().length === 0 ? "No loaded download matches the filter." : "");
  const at = parts(page("selected"));
  page("selected").hidden = selected.size === 0;
  say(at.count, `${selected.size.toLocaleString("en")} selected`);
  for (const [action, label] of Object.entries(BULK)) {
    const count = able(action).length;
    at[action].hidden = count === 0;
    say(at[action], `${label} ${count.toLocaleString("en")}`);
  }
}

async function actOnSelected(action, at) {
  const ids = able(action);
  const held = document.activeElement === at[action];
  const waiting = [...ids];
  let done = 0;
  const work = async () => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift())
      if (await views.get(id)?.act(action)) done += 1;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const failed = ids.length - done;
  say(page("said"), `${counted(done, "download")} ${DONE[action]}${failed > 0 ? `, ${failed} failed` : ""}`);
  noteChange(true);
  // The button is gone if there is nothing left for it.
  if (held && at[action].hidden) (page("selected").hidden ? page("select-all") : at.clear).focus();
}

export function prepareSelecting() {
  const at = parts(page("selected"));
  const arrangeAnew = () => {
    for (const section of SECTIONS) section.arranged = null;
    noteChange(true);
  };
  page("filter").addEventListener("input", ({ target }) => {
    words = target.value.toLowerCase().split(/\s+/).filter(Boolean);
    arrangeAnew();
  });
  page("order").addEventListener("change", ({ target }) => {
    order = ORDERS[target.value] ?? null;
    arrangeAnew();
  });
  page("select-all").addEventListener("click", () => {
    for (const row of allShown()) selected.add(row.id);
    noteChange(true);
  });
  page("downloads").addEventListener("change", ({ target }) => {
    if (target.type !== "checkbox") return;
    const id = Number(target.value);
    if (target.checked) selected.add(id);
    else selected.delete(id);
    noteChange(true);
  });
  at.clear.addEventListener("click", () => {
    selected.clear();
    page("select-all").focus();
    noteChange(true);
  });
  for (const action of Object.keys(BULK)) at[action].addEventListener("click", () => actOnSelected(action, at));
}
