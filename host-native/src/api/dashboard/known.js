// What is known: downloads by id, in sections that hold ids in the server's order.
//
// Invariants: a section holds as many rows as were asked for, never all there are. An answer of the API does not undo what
// a later event.

import { api } from "./api.js";

export const PAGE = 50;
const MOST = 200;

const bySoonest = (one, other) =>
  (one.waiting_until ?? "").localeCompare(other.waiting_until ?? "") || one.id - other.id;
export const SECTIONS = [
  {
    name: "running",
    title: "Running",
    statuses: ["downloading", "committing"],
    order: (one, other) => one.id - other.id,
  },
  { name: "waiting", title: "Waiting", statuses: ["waiting"], order: bySoonest },
  { name: "failed", title: "Failed", statuses: ["failed"] },
  { name: "queued", title: "Queued", statuses: ["queued"] },
  { name: "paused", title: "Paused", statuses: ["paused"] },
  { name: "done", title: "Done", statuses: ["completed", "import_queued", "imported"] },
  { name: "cancelled", title: "Cancelled", statuses: ["cancelled"] },
].map((section) => ({ ...section, ids: [], next: null, loaded: false })); // `ids` are replaced, never changed in place

export const downloads = new Map();
// Beside them: how many there are by status (null if the API does not have them), peers, pending stubs and their folder, and
// what is wrong with the server's surroundings.
export const known = { counts: null, troubles: [], peers: [], workers: [], stubs: [], stubsInAll: 0, watchPath: null, keys: [], servers: [] };

let changed = () => {};

// Calls back, often, when anything is known that was not.
export function onChange(callback) {
  changed = callback;
}

// `atOnce`: something is about to be seen that must not be old.
export const noteChange = (atOnce) => changed(atOnce);

export const sectionOf = (download) =>
  SECTIONS.find((section) => section.statuses.includes(download.status)) ?? SECTIONS[0];
const LIVE = [
  "status",
  "downloaded_bytes",
  "attempts",
  "restarts",
  "waiting_until",
  "waiting_why",
  "error",
  "error_class",
  "error_code",
  "completed_at",
  "updated_at",
];

// Takes over a row from the API. Events received meanwhile are newer.
export function take(row) {
  const before = downloads.get(row.id);
  const newer = before?.heard > row.updated_at ? Object.fromEntries(LIVE.map((name) => [name, before[name]])) : {};
  put({ started_over: before?.started_over, heard: before?.heard ?? "", ...row, ...newer });
}

export function put(download) {
  const { id } = download;
  const before = downloads.get(id);
  const section = sectionOf(download);
  download.came = before?.came ?? performance.now();
  if (!before || sectionOf(before) !== section) {
    if (before) leave(sectionOf(before), id);
    section.ids = [id, ...section.ids];
    download.came = performance.now();
  }
  if (before && before.status !== download.status) {
    recount(before.status, -1);
    recount(download.status, 1);
  }
  downloads.set(id, download);
  changed();
}

function recount(status, by) {
  if (known.counts) known.counts[status] = Math.max(0, (known.counts[status] ?? 0) + by);
}

function leave(section, id) {
  section.ids = section.ids.filter((other) => other !== id);
}

export function drop(id) {
  const before = downloads.get(id);
  if (!before) return;
  recount(before.status, -1);
  leave(sectionOf(before), id);
  downloads.delete(id);
  changed();
}

async function read(section, after) {
  const loaded = Math.min(MOST, Math.max(PAGE, section.ids.length));
  const query = new URLSearchParams({ status: section.statuses.join(","), limit: after ? PAGE : loaded });
  if (after) query.set("after", after);
  return api(`downloads?${query}`);
}

// Reads every section from its top. Rows below what was read stay; of a section that was read whole, others are gone.
export async function readAll() {
  const began = performance.now();
  const answers = await Promise.all(SECTIONS.map((section) => read(section)));
  answers.forEach((answer) => [...answer.downloads].reverse().forEach(take));
  known.counts = answers.at(-1).counts ?? null;
  SECTIONS.forEach((section, place) => {
    const { downloads: rows, next } = answers[place];
    const seen = rows.map((row) => row.id).filter((id) => sectionOf(downloads.get(id)) === section);
    const rest = section.ids.filter((id) => !seen.includes(id));
    const gone = (id) => next === null && downloads.get(id).came < began;
    section.ids = [
      ...rest.filter((id) => downloads.get(id).came >= began),
      ...seen,
      ...rest.filter((id) => downloads.get(id).came < began),
    ];
    section.next = next !== null && rest.length > 0 ? (section.next ?? next) : next;
    section.loaded = true;
    rest.filter(gone).forEach(drop);
  });
  changed();
}

export async function readMore(section) {
  const most = section.ids.length / PAGE + 2;
  // What was changed meanwhile has moved to the top: such a page may hold nothing new.
  for (let pages = 0; pages < most && section.next !== null; pages += 1) {
    let answer;
    try {
      answer = await read(section, section.next);
    } catch (error) {
      if (error.status !== 404) throw error;
      // The row after which it would go on was removed: there is another one to go on from.
      section.next = null;
      await readAll();
      continue;
    }
    section.next = answer.next;
    const fresh = answer.downloads.filter((row) => !section.ids.includes(row.id));
    for (const row of fresh) {
      take(row);
      leave(section, row.id);
      if (sectionOf(downloads.get(row.id)) === section) section.ids = [...section.ids, row.id];
    }
    if (fresh.length > 0) break;
  }
  changed();
}

// What changed last, for downloads this page has not heard of.
export async function readLatest() {
  const answer = await api("downloads?limit=100");
  known.counts = answer.counts ?? known.counts;
  [...answer.downloads].reverse().forEach(take);
  changed();
}

// Runs something soon, once for many requests, and once more for those made while it ran.
export function soon(pause, task) {
  let timer = null;
  let again = false;
  const wish = () => {
    again = true;
    timer ??= setTimeout(async () => {
      again = false;
      await task().catch(() => {});
      timer = null;
      if (again) wish();
    }, pause);
  };
  return wish;
}
export const latestSoon = soon(500, readLatest);
export const importSoon = soon(3000, readLatest);
export const allSoon = soon(500, readAll);

export async function readSides() {
  const lists = ["stubs", "peers", "troubles", "workers"];
  const [stubsAnswer, peersAnswer, troublesAnswer, workersAnswer] = await Promise.all(lists.map((name) => api(name)));
  Object.assign(known, {
    stubs: stubsAnswer.stubs,
    stubsInAll: stubsAnswer.total ?? stubsAnswer.stubs.length,
    watchPath: stubsAnswer.watch_path ?? null,
    peers: peersAnswer.peers,
    troubles: troublesAnswer.troubles,
    workers: workersAnswer.workers,
  });
  // What other workers do is no event here.
  if (known.workers.length > 1) latestSoon();
  changed();
}
