// The demo: films from a server that breaks, by an engine of the package. What is under way outlives a reload.
import { FILMS, cutTheLine, hasPeer, pathOf, play, replace, versionOf } from "./films.js";
import { Row, megabytes } from "./row.js";

/** So many lines of what happened are shown. */
const MOST_LINES = 200;

const element = (id) => document.getElementById(id);
const rows = new Map();
let regrip;
let engine;

await main();

async function main() {
  try {
    // Beside this folder, as in the repository, and as `regrip demo --web` serves it.
    regrip = await import("../pkg/web.js");
    await regrip.load();
  } catch (error) {
    return tell(`The package is not there: run host-wasm/build.\n${error.message}`);
  }
  // Impatient, so that one sees something; a real page waits longer for everything.
  engine = new regrip.Engine({ maxDownloadAttempts: 12, retryBaseDelayMs: 800, retryMaxDelayMs: 5_000, idleTimeoutMs: 2_000, onEvent: hear });
  const peer = await hasPeer();
  if (peer) {
    if ((await versionOf(FILMS[0])) === undefined) await play();
    for (const film of FILMS) add({ ...film, url: new URL(pathOf(film.name), location).href, version: film.canReplace ? await versionOf(film) : 0 });
    element("peer").textContent = "· the breaking server is this one";
  } else {
    tell("No breaking server answers here: regrip demo --web brings one. Any other address can be fetched below.");
  }
  for (const button of ["start", "cut", "over"]) element(button).hidden = !peer;
  listen();
  await takeUp();
  // Nobody presses a button before it does something.
  document.querySelector("main").inert = false;
  setInterval(() => rows.forEach((row) => row.state === "waiting" && row.draw()), 100);
}

function listen() {
  element("start").addEventListener("click", () => rows.forEach((row) => !row.running && row.state !== "whole" && start(row)));
  element("cut").addEventListener("click", () => attempt(cutTheLine));
  element("reload").addEventListener("click", () => location.reload());
  element("over").addEventListener("click", () => attempt(startOver));
  element("another").addEventListener("submit", (event) => {
    event.preventDefault();
    const url = element("url").value;
    start(rows.get(nameOf(url)) ?? add({ name: nameOf(url), url }));
    element("another").reset();
  });
  const network = () => {
    element("network").textContent = navigator.onLine ? "online" : "offline";
    element("network").classList.toggle("off", !navigator.onLine);
  };
  addEventListener("online", network);
  addEventListener("offline", network);
  network();
}

/** Shows what earlier pages left, and goes on with what they had under way. */
async function takeUp() {
  for (const record of await engine.list()) (rows.get(record.path) ?? add({ name: record.path, url: record.url })).found(record);
  for (const row of rows.values()) {
    if (row.state !== "idle") continue;
    const file = await regrip.openFile(row.name).catch(() => undefined);
    if (file) row.there(file.size);
  }
  for (const download of await engine.resumeUnfinished()) download.done.catch(() => {});
}

function add(film) {
  const buttons = { go: (row) => (row.running ? attempt(() => engine.pause(row.id)) : start(row)), replace: exchange, save, remove: (row) => attempt(() => remove(row)) };
  const row = new Row(film, element("film"), buttons);
  rows.set(film.name, row);
  element("films").append(row.element);
  return row;
}

function start(row) {
  attempt(async () => {
    const download = engine.start({ url: row.url, to: row.name, sha256: true });
    download.done.catch(() => {}); // the event reports it
  });
}

function exchange(row) {
  attempt(async () => {
    await replace(row.name, 1 - row.version);
    row.version = 1 - row.version;
    row.draw();
    log(row.name, row.version ? "replaced on the server" : "put back on the server");
  });
}

function save(row) {
  attempt(() => regrip.saveAs(row.name));
}

async function remove(row) {
  if (row.state === "whole") await regrip.removeFile(row.name);
  else if (row.id !== undefined) {
    await engine.cancel(row.id).catch(() => {}); // a paused download is still the engine's
    await engine.remove(row.id);
  }
  row.gone();
}

async function startOver() {
  for (const row of rows.values()) {
    if (row.state !== "idle") await remove(row);
    row.version = 0;
    row.draw();
  }
  await play();
  element("log").replaceChildren();
}

function hear(event) {
  const row = rows.get(event.path);
  row?.hear(event);
  const words = wordsOf(event);
  if (words) log(event.path, words);
}

function wordsOf(event) {
  switch (event.event) {
    case "started":
      return event.from > 0 ? `attempt ${event.attempt}, from ${megabytes(event.from)}` : `attempt ${event.attempt}`;
    case "restart":
      return `starts over (${event.reason}), ${megabytes(event.discardedBytes)} thrown away`;
    case "retrying":
      return `${event.error}; again in ${(event.delayMs / 1000).toFixed(1)} s${event.askedBy === "retry_after" ? ", as the server asked" : ""}`;
    case "waiting":
      return event.why;
    case "completed":
      return `whole: ${megabytes(event.bytes)}${event.sha256 ? `, SHA-256 ${event.sha256.slice(0, 16)}…` : ""}`;
    case "cancelled":
      return "stopped";
    case "failed":
      return `${event.error}${event.advice ? ` (${event.advice})` : ""}`;
  }
}

function log(name, words) {
  const line = document.createElement("li");
  for (const text of [new Date().toTimeString().slice(0, 8), name, words]) {
    const cell = document.createElement("span");
    cell.textContent = text;
    line.append(cell);
  }
  element("log").prepend(line);
  while (element("log").children.length > MOST_LINES) element("log").lastChild.remove();
}

/** What goes wrong beside the downloads is said at the top. */
async function attempt(work) {
  try {
    element("notice").hidden = true;
    await work();
  } catch (error) {
    tell(error.message);
  }
}

function tell(text) {
  element("notice").textContent = text;
  element("notice").hidden = false;
}

function nameOf(url) {
  const last = new URL(url, location).pathname.split("/").at(-1);
  return last ? decodeURIComponent(last).replaceAll(/[/\\]/g, "_") : "download";
}
