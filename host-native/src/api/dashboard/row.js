// A download as a row, with its details if opened.

import { api } from "./api.js";
import { make, page, parts, refill, say } from "./elements.js";
import { downloads, drop, known, soon, take } from "./known.js";
import { askToRemove } from "./removing.js";
import { speed } from "./speed.js";
import { attemptItem, live, picture } from "./timeline.js";
import { RESTARTS, advice, ago, bytes, clock, counted, failure, inAWhile, joined, moment, plain } from "./words.js";

// The rows there are, by the download's id.
export const views = new Map();

// What a row says, in words.
export function describe(row) {
  const total = row.expected_bytes;
  const kept = total === null ? bytes(row.downloaded_bytes) : `${bytes(row.downloaded_bytes)} of ${bytes(total)}`;
  const from = `from ${plain(row.peer_name ?? (URL.canParse(row.url) ? new URL(row.url).host : row.url))}`;
  const tries = row.attempts > 0 && `attempt ${row.attempts}`;
  const over =
    row.started_over &&
    `started over, ${bytes(row.started_over.discarded_bytes)} discarded: ${RESTARTS[row.started_over.reason] ?? row.started_over.reason}`;
  switch (row.status) {
    case "downloading": {
      const rate = speed(row.id);
      const left = rate >= 1 && total !== null ? `${clock((total - row.downloaded_bytes) / rate)} left` : "";
      const share =
        total === null
          ? ""
          : `${total === 0 ? 100 : Math.floor((100 * Math.min(row.downloaded_bytes, total)) / total)} %`;
      return {
        figures: [share, rate === null ? "" : `${bytes(Math.round(rate))}/s`, left],
        notes: joined(kept, from, tries, over),
      };
    }
    case "committing":
      return { figures: ["finishing"], notes: joined(kept, from, tries) };
    case "waiting": {
      const peer = known.peers.find((one) => one.id === row.peer_id && one.reachable === false);
      const notes = joined(`${kept} kept`, from, row.attempts > 0 && counted(row.attempts, "attempt"));
      if (!peer)
        return { figures: [`next attempt ${inAWhile(row.waiting_until)}`], why: plain(row.waiting_why), notes };
      const probe = peer.next_probe_at ? `asked again ${inAWhile(peer.next_probe_at)}` : "asked now";
      return {
        figures: [probe],
        why: plain(row.waiting_why),
        notes: joined(notes, `gives up ${inAWhile(row.waiting_until)}`),
      };
    }
    case "failed":
      return {
        figures: [ago(row.updated_at)],
        why: plain(row.error),
        advice: advice(row),
        notes: joined(`${kept} kept`, from, counted(row.attempts, "attempt")),
      };
    case "queued":
      return {
        figures: [],
        notes: joined(row.downloaded_bytes > 0 && `${kept} kept`, from, `since ${moment(row.created_at)}`),
      };
    case "paused":
      return { figures: [ago(row.updated_at)], notes: joined(`${kept} kept`, from, "resume goes on from there") };
    case "cancelled":
      return { figures: [ago(row.updated_at)], notes: joined(`${kept} kept`, from, "retry goes on from there") };
    default: {
      // Who took the import fits beside the rest; what went wrong with it needs a line of its own.
      const imported = plain(row.import_state ?? "");
      const troubled = !/^(accepted by [^:;]{1,40})?$/.test(imported);
      return {
        figures: [
          joined(from, !troubled && imported && `import ${imported}`),
          bytes(row.downloaded_bytes),
          ago(row.completed_at ?? row.updated_at),
        ],
        why: troubled ? `Import: ${imported}` : "",
        notes: "",
      };
    }
  }
}

const ACTIONS = {
  queued: ["pause", "cancel"],
  downloading: ["pause", "cancel"],
  waiting: ["pause", "cancel"],
  paused: ["resume", "cancel"],
  committing: [],
  failed: ["retry", "remove"],
  cancelled: ["retry", "remove"],
  completed: ["remove"],
  import_queued: ["remove"],
  imported: ["remove"],
};

export class RowView {
  constructor(id) {
    this.id = id;
    this.attempts = null;
    this.all = false;
    this.element = page("row").content.firstElementChild.cloneNode(true);
    this.at = parts(this.element);
    this.at.details.id = `details-${id}`;
    this.at.toggle.setAttribute("aria-controls", this.at.details.id);
    this.at.toggle.addEventListener("click", () => this.toggle());
    this.at.retry.addEventListener("click", () => this.act("retry", "is tried again"));
    this.at.pause.addEventListener("click", () => this.act("pause", "is paused; its partial data is kept"));
    this.at.resume.addEventListener("click", () => this.act("resume", "goes on"));
    this.at.cancel.addEventListener("click", () => this.act("cancel", "is cancelled; its partial data is kept"));
    this.at.remove.addEventListener("click", () => askToRemove(downloads.get(id), this.at.problem));
    this.at.earlier.addEventListener("click", () => {
      this.all = true;
      this.drawAttempts(downloads.get(id));
      this.at.toggle.focus();
    });
    this.rereadSoon = soon(300, () => (this.open ? this.reread() : Promise.resolve()));
    new ResizeObserver(() => this.open && this.drawTimeline(downloads.get(id))).observe(this.at.figure);
  }

  get open() {
    return !this.at.details.hidden && downloads.has(this.id);
  }

  update(row) {
    this.drawn = row;
    const { figures, why = "", advice: told = "", notes } = describe(row);
    const name = plain(row.filename);
    say(this.at.name, name);
    say(this.at.why, why);
    say(this.at.advice, told);
    say(this.at.notes, notes);
    while (this.at.figures.children.length < figures.length) this.at.figures.append(make("span"));
    while (this.at.figures.children.length > figures.length) this.at.figures.lastChild.remove();
    figures.forEach((figure, place) => say(this.at.figures.children[place], figure));
    for (const action of ["retry", "pause", "resume", "cancel", "remove"]) {
      const button = this.at[action];
      button.hidden = !(ACTIONS[row.status] ?? []).includes(action);
      const label = `${button.textContent} ${name}`;
      if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
    }
    this.updateBar(row, name);
  }

  updateBar(row, name) {
    const { bar } = this.at;
    const moving = row.status === "downloading" || row.status === "committing";
    bar.hidden = !(moving || (["waiting", "paused"].includes(row.status) && row.expected_bytes !== null && row.downloaded_bytes > 0));
    bar.setAttribute("aria-label", name);
    // Of an unknown size nothing can be said: no value.
    if (row.expected_bytes === null) bar.removeAttribute("value");
    else bar.value = row.expected_bytes === 0 ? 1 : Math.min(1, row.downloaded_bytes / row.expected_bytes);
  }

  async act(action, told) {
    const button = this.at[action];
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    say(this.at.problem, "");
    try {
      await api(`downloads/${this.id}/${action}`, { method: "POST", body: {} });
      say(page("said"), `${this.at.name.textContent} ${told}`);
      take(await api(`downloads/${this.id}`));
    } catch (error) {
      if (error.status === 404) drop(this.id);
      else say(this.at.problem, failure(error));
    }
    button.removeAttribute("aria-disabled");
  }

  async toggle() {
    this.at.details.hidden = !this.at.details.hidden;
    this.at.toggle.setAttribute("aria-expanded", String(!this.at.details.hidden));
    if (!this.at.details.hidden) await this.reread().catch((error) => say(this.at.problem, failure(error)));
  }

  async reread() {
    const [row, timeline] = await Promise.all([api(`downloads/${this.id}`), api(`downloads/${this.id}/timeline`)]);
    this.attempts = timeline.attempts;
    take(row);
    this.drawDetails();
  }

  drawDetails() {
    const row = downloads.get(this.id);
    this.drawTimeline(row);
    this.drawAttempts(row);
    this.drawFacts(row);
  }

  drawTimeline(row) {
    if (!this.attempts) return;
    this.at.figure.replaceChildren(...picture(live(this.attempts, row), row, this.at.figure.clientWidth));
  }

  drawAttempts(row) {
    if (!this.attempts) return;
    const shown = this.all ? this.attempts : this.attempts.slice(-20);
    const more = this.attempts.length - shown.length;
    this.at.earlier.hidden = more === 0;
    say(this.at.earlier, `Show ${counted(more, "earlier attempt")}`);
    refill(
      this.at.attempts,
      live(shown, row).map((attempt) => attemptItem(attempt)),
    );
  }

  drawFacts(row) {
    const pairs = facts(row).filter(([, value]) => value !== null && value !== undefined && value !== "");
    refill(
      this.at.facts,
      pairs.flatMap(([name, value]) => [make("dt", null, name), make("dd", null, plain(value))]),
    );
  }
}

export function facts(row) {
  const exact = (count) => (count < 1000 ? bytes(count) : `${bytes(count)} (${count.toLocaleString("en")} bytes)`);
  const done = ["completed", "import_queued", "imported"].includes(row.status);
  return [
    ["File", row.dest_path],
    ["Part", done ? null : row.part_path],
    ["From", row.peer_name ? `item ${row.item_id} of peer ${row.peer_name} (${row.url})` : row.url],
    ["Stub", row.stub_name],
    [
      "Size",
      row.expected_bytes === null && !row.expected_bytes_mismatch
        ? null
        : joined(
            exact(row.expected_bytes ?? row.downloaded_bytes),
            row.expected_bytes_source && `by ${row.expected_bytes_source}`,
            row.expected_bytes_mismatch &&
              row.release_size !== null &&
              `${row.release_size.toLocaleString("en")} bytes were announced`,
          ),
    ],
    [
      "On disk",
      done
        ? null
        : joined(
            exact(row.downloaded_bytes),
            row.durable_bytes < row.downloaded_bytes && `${bytes(row.durable_bytes)} of it safe from a power cut`,
          ),
    ],
    ["SHA-256", row.sha256_got && joined(row.sha256_got, row.sha256_got === row.sha256_wanted && "as wanted")],
    ["SHA-256 wanted", row.sha256_wanted === row.sha256_got ? null : row.sha256_wanted],
    ["ETag", row.etag],
    ["Last modified", row.last_modified],
    [done ? "Warning" : "Error", row.error && joined(row.error_code, row.error_class, done && plain(row.error))],
    ["Import", row.import_state],
    ["Counts", joined(counted(row.attempts, "attempt"), counted(row.restarts, "restart"), `download ${row.id}`)],
    ["Added", moment(row.created_at)],
    ["Completed", row.completed_at && moment(row.completed_at)],
  ];
}
