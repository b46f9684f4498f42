// The dialog that asks before something is done, and says what.

import { api } from "./api.js";
import { page, parts, say } from "./elements.js";
import { drop } from "./known.js";
import { bytes, failure, plain } from "./words.js";

// Resolves to `true` if the user agrees. What deletes has a way to keep it; anything else has a way out.
export function confirmed({ title, name, what, verb, deletes = true }) {
  const dialog = page("removing");
  const at = parts(dialog);
  say(at.title, title);
  say(at.name, plain(name));
  say(at.what, plain(what));
  say(at.keep, deletes ? "Keep it" : "Cancel");
  say(at.remove, verb);
  at.remove.className = deletes ? "danger" : "primary";
  dialog.returnValue = "";
  dialog.showModal();
  at.keep.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export async function askToRemove(row, problem) {
  const done = ["completed", "import_queued", "imported"].includes(row.status);
  const what = done
    ? `This deletes the entry and its timeline. The file is kept: ${row.dest_path}`
    : `This deletes the partial data (${bytes(row.downloaded_bytes)} in ${row.part_path}), the entry and its timeline.`;
  const question = { title: "Remove this download?", name: row.filename, what, verb: "Remove" };
  if (!(await confirmed(question))) return undefined;
  try {
    await api(`downloads/${row.id}`, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) return say(problem, failure(error));
  }
  say(page("said"), `${plain(row.filename)} is removed`);
  return drop(row.id);
}

export function prepareRemoving() {
  const dialog = page("removing");
  const at = parts(dialog);
  at.keep.addEventListener("click", () => dialog.close());
  at.remove.addEventListener("click", () => dialog.close("yes"));
}
