// The dialog that adds a download by its URL. What the API does not like is said beside the field.

import { api } from "./api.js";
import { mark, page, parts, say } from "./elements.js";
import { take } from "./known.js";
import { failure, plain } from "./words.js";

const FIELD_OF = {
  NameRefused: "filename",
  DestinationBusy: "filename",
  DestinationExists: "filename",
  DestinationRefused: "filename",
  ForeignPart: "filename",
  DigestConflict: "sha256",
};

export function prepareAdding() {
  const dialog = page("adding");
  const form = dialog.querySelector("form");
  const fields = ["url", "filename", "sha256"].map((name) => [name, page(name), page(`${name}-wrong`)]);
  const clear = () => fields.forEach(([, input, wrong]) => mark(input, wrong, ""));
  const show = () => {
    clear();
    dialog.showModal();
  };
  page("add").addEventListener("click", show);
  page("empty").querySelector("button").addEventListener("click", show);
  parts(dialog).close.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear();
    const body = Object.fromEntries(
      fields.map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value !== ""),
    );
    if (!body.url)
      return mark(page("url"), page("url-wrong"), "A URL is needed, such as https://example.org/film.mkv.");
    try {
      const row = await api("downloads", { method: "POST", body });
      take(row);
      say(page("said"), `${plain(row.filename)} is added`);
      form.reset();
      dialog.close();
    } catch (error) {
      const name = error.field ?? FIELD_OF[error.code] ?? "url";
      const [, input, wrong] = fields.find(([field]) => field === name) ?? fields[0];
      mark(input, wrong, failure(error));
    }
    return undefined;
  });
}
