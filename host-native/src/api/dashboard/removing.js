// The dialog that asks before anything is deleted, and says what.

import { api } from "./api.js";
import { page, parts, say } from "./elements.js";
import { drop } from "./known.js";
import { bytes, failure, plain } from "./words.js";

// The download to be confirmed, and the element for an error.
let removing = null;

export function askToRemove(row, problem) {
  const dialog = page("removing");
  const at = parts(dialog);
  const done = ["completed", "import_queued", "imported"].includes(row.status);
  removing = { id: row.id, problem };
  say(at.name, plain(row.filename));
  say(
    at.what,
    done
      ? `This deletes the entry and its timeline. The file is kept: ${plain(row.dest_path)}`
      : `This deletes the partial data (${bytes(row.downloaded_bytes)} in ${plain(row.part_path)}), the entry and its timeline.`,
  );
  dialog.showModal();
  at.keep.focus();
}

export function prepareRemoving() {
  const dialog = page("removing");
  const at = parts(dialog);
  at.keep.addEventListener("click", () => dialog.close());
  at.remove.addEventListener("click", async () => {
    const { id, problem } = removing;
    dialog.close();
    try {
      await api(`downloads/${id}`, { method: "DELETE" });
    } catch (error) {
      if (error.status !== 404) return say(problem, failure(error));
    }
    say(page("said"), `${at.name.textContent} is removed`);
    return drop(id);
  });
}
