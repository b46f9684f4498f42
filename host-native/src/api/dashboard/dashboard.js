// The dashboard: shows what the API says, live, and passes on what is clicked. README.md beside it lists what it asks for.
//
// It reads lists (known.js), keeps them true by events (stream.js, events.js), and draws what changed (here, row.js, sides.js).

import { arrange, page, parts, say } from "./elements.js";
import { prepareAdding } from "./adding.js";
import { SECTIONS, allSoon, downloads, known, onChange, readMore, readSides } from "./known.js";
import { prepareRemoving } from "./removing.js";
import { drawPage, preparePages, readPage } from "./pages.js";
import { RowView, views } from "./row.js";
import { drawSides, prepareSides } from "./sides.js";
import { drawSelection, isArranged, isFiltered, prepareSelecting, shown } from "./selecting.js";
import { drawSpeeds, meters, speed } from "./speed.js";
import { isConnected, prepareLeaving, stayConnected, tryNow } from "./stream.js";
import { bytes, failure, joined, plain } from "./words.js";

let drawing = null;

function redraw(atOnce) {
  if (atOnce) return draw();
  drawing ??= setTimeout(() => {
    drawing = null;
    draw();
  }, 100);
  return undefined;
}

// `all`: rows that did not change too, for their times go on.
function draw(all = false) {
  const held = document.activeElement;
  let heir = null;
  for (const [id, view] of views) {
    if (downloads.has(id)) continue;
    if (view.element.contains(held))
      heir = view.element.nextElementSibling ?? view.element.previousElementSibling ?? page("board");
    view.element.remove();
    views.delete(id);
    meters.delete(id);
  }
  SECTIONS.forEach((section) => drawSection(section, all));
  const none = downloads.size === 0 && known.stubs.length === 0;
  const empty = parts(page("empty"));
  page("empty").hidden = !(none && SECTIONS.every((section) => section.loaded));
  empty.first.hidden = known.watchPath === null;
  empty.none.hidden = known.watchPath !== null;
  say(empty.folder, plain(known.watchPath));
  drawSelection();
  drawSides();
  drawPage();
  drawSummary();
  keepFocus(held, heir);
}

function drawSection(section, all) {
  const { at } = section;
  const rows = shown(section);
  const idle = section.name === "running" && rows.length === 0 && downloads.size > 0 && !isFiltered();
  at.section.hidden = rows.length === 0 && !idle && section.next === null;
  at.none.hidden = !idle;
  const matching = isFiltered() ? `${rows.length.toLocaleString("en")} of ` : "";
  say(at.count, section.ids.length === 0 ? "" : `${matching}${count(section)}`);
  at.more.hidden = section.next === null;
  const ticking = all || section.order !== undefined;
  for (const row of rows) {
    if (!views.has(row.id)) views.set(row.id, new RowView(row.id));
    const view = views.get(row.id);
    if (ticking || view.drawn !== row) view.update(row);
  }
  if (section.arranged === section.ids && !section.order && !isArranged()) return;
  arrange(
    at.list,
    rows.map((row) => views.get(row.id).element),
  );
  section.arranged = section.ids;
}

function count(section) {
  const { counts } = known;
  if (!counts) return `${section.ids.length}${section.next === null ? "" : "+"}`;
  const whole = section.statuses.reduce((sum, status) => sum + (counts[status] ?? 0), 0);
  return Math.max(whole, section.ids.length).toLocaleString("en");
}

const rateOfAll = () => SECTIONS[0].ids.reduce((sum, id) => sum + (speed(id) ?? 0), 0);

function drawSummary() {
  const rate = rateOfAll();
  const told = SECTIONS.slice(0, 5)
    .filter((section) => section.ids.length > 0)
    .map((section) => `${count(section)} ${section.name}`);
  say(
    page("summary"),
    joined(
      ...[told[0], rate >= 1 && `${bytes(Math.round(rate))}/s`, ...told.slice(1)]
        .filter(Boolean)
        .map((part) => part.replaceAll(" ", "\u00a0")),
    ),
  );
  document.title = told.length > 0 ? `${told.slice(0, 2).join(", ")} – regrip` : "regrip";
}

// What moved to another section keeps the focus; a button that is gone passes it on to its row, a row to the one beside it.
function keepFocus(held, heir) {
  if (heir)
    return ((heir.isConnected && heir.querySelector(":scope > .name")) || page("board")).focus({ preventScroll: true });
  if (!held?.isConnected || held === document.body || (held === document.activeElement && !held.hidden))
    return undefined;
  return (held.hidden ? held.closest(".row")?.querySelector(".name") : held)?.focus({ preventScroll: true });
}

function buildSections() {
  for (const section of SECTIONS) {
    const element = page("section").content.firstElementChild.cloneNode(true);
    section.at = { section: element, ...parts(element) };
    element.className = section.name;
    element.hidden = true;
    const heading = element.querySelector("h2");
    heading.id = `${section.name}-title`;
    element.setAttribute("aria-labelledby", heading.id);
    say(section.at.title, section.title);
    if (section.name === "running") say(section.at.none, "Nothing is running.");
    section.at.more.addEventListener("click", async () => {
      const last = section.at.list.lastElementChild;
      try {
        await readMore(section);
      } catch (error) {
        say(section.at.problem, failure(error));
        return;
      }
      say(section.at.problem, "");
      draw();
      // The first new row gets the focus.
      last?.nextElementSibling?.querySelector(".name").focus();
    });
    page("downloads").append(element);
  }
}

function every(seconds, task) {
  setInterval(() => {
    if (!document.hidden && isConnected()) task();
  }, seconds * 1000);
}

buildSections();
prepareAdding();
prepareRemoving();
prepareLeaving();
prepareSides();
preparePages();
prepareSelecting();
onChange(redraw);
parts(page("trouble")).now.addEventListener("click", tryNow);
addEventListener("online", tryNow);
document.addEventListener("visibilitychange", () => document.hidden || tryNow());
every(1, () => {
  draw();
  for (const id of SECTIONS[0].ids) if (views.get(id)?.open) views.get(id).drawDetails();
});
every(30, () => draw(true));
every(10, () => {
  // How much is safe on the disk has no event.
  for (const id of SECTIONS[0].ids) views.get(id)?.rereadSoon();
});
setInterval(() => drawSpeeds(rateOfAll()), 1000);
every(5, () => Promise.all([readSides(), readPage()]).catch(() => {}));
every(60, allSoon);
stayConnected();
