// The timeline of a download: a picture, and the same as a list.

import { now } from "./api.js";
import { make } from "./elements.js";
import { RESTARTS, bytes, counted, joined, moment, plain, time, wait } from "./words.js";

// The running attempt ends now, at the row's offset.
export function live(attempts, row) {
  const running = row.status === "downloading" || row.status === "committing";
  return attempts.map((attempt, place) => {
    if (attempt.ended_at !== null) return attempt;
    const going = running && place === attempts.length - 1;
    return {
      ...attempt,
      ended_at: going ? new Date(now()).toISOString() : row.updated_at,
      offset_to: attempt.offset_to ?? row.downloaded_bytes,
      outcome: going ? "under way" : "lost",
    };
  });
}

export function attemptItem(attempt) {
  const item = make("li");
  const bad = attempt.outcome === "failed";
  const took = Date.parse(attempt.ended_at) - Date.parse(attempt.started_at);
  item.append(
    make(
      "div",
      { class: "span" },
      make("strong", null, `Attempt ${attempt.attempt}`),
      make("span", bad ? { class: "bad" } : null, plain(attempt.outcome)),
      make("span", null, moment(attempt.started_at)),
      make("span", null, `${wait(Math.max(0, took))}${attempt.outcome === "under way" ? " so far" : ""}`),
      make("span", null, `${bytes(attempt.offset_from)} → ${bytes(attempt.offset_to)}`),
    ),
  );
  if (attempt.restart_reason) {
    const reasons = attempt.restart_reason.split(",").map((reason) => RESTARTS[reason] ?? plain(reason));
    item.append(
      make(
        "p",
        { class: "bad" },
        `Started over, ${bytes(attempt.discarded_bytes ?? 0)} discarded: ${reasons.join("; then ")}.`,
      ),
    );
  }
  if (attempt.error)
    item.append(make("p", null, `${plain(attempt.error)} (${joined(plain(attempt.code), attempt.class)})`));
  if (attempt.wait_ms !== null) {
    item.append(
      make(
        "p",
        null,
        `Next attempt after ${wait(attempt.wait_ms)}${attempt.asked_by === "retry_after" ? ", as the server asked" : " (backoff)"}.`,
      ),
    );
  }
  return item;
}

// Attempts and the gaps between them along one axis. A long gap is drawn short, and its length is written on it.
function stretches(attempts, width) {
  const all = [];
  let edge = Date.parse(attempts[0].started_at);
  attempts.forEach((attempt, place) => {
    // Clocks jump: whatever is before its predecessor is at the same place.
    const begin = Math.max(edge, Date.parse(attempt.started_at) || edge);
    if (place > 0) all.push({ gap: begin - edge, waited: attempts[place - 1].wait_ms !== null });
    const end = Math.max(begin, Date.parse(attempt.ended_at) || begin);
    all.push({ attempt, length: end - begin });
    edge = end;
  });
  const busy = all.reduce((sum, stretch) => sum + (stretch.length ?? 0), 0);
  const most = Math.max(2000, busy / 6);
  for (const stretch of all) stretch.length ??= Math.min(stretch.gap, most);
  const whole = all.reduce((sum, stretch) => sum + stretch.length, 0) || 1;
  // Every attempt can be seen, however short it was.
  const least = Math.min((3 * whole) / width, whole / all.length);
  for (const stretch of all) if (stretch.attempt) stretch.length = Math.max(stretch.length, least);
  const drawn = all.reduce((sum, stretch) => sum + stretch.length, 0) || 1;
  let x = 0;
  for (const stretch of all) {
    stretch.from = x;
    x += (stretch.length * width) / drawn;
    stretch.to = x;
    stretch.cut = stretch.gap > most * 1.05;
  }
  return all;
}

const PLOT = { top: 14, height: 96, strip: 8, room: 22 };

export function picture(attempts, row, width) {
  if (attempts.length === 0) return [make("p", { class: "none" }, "No attempt yet.")];
  if (width < 40) return [];
  const shown = attempts.slice(-200);
  const tall = PLOT.top + PLOT.height;
  const most = Math.max(
    1,
    row.expected_bytes ?? 0,
    ...shown.flatMap((one) => [one.offset_from, one.offset_to, one.discarded_bytes ?? 0]),
  );
  const y = (count) => PLOT.top + PLOT.height * (1 - count / most);
  const size = { width, height: tall + PLOT.strip + PLOT.room };
  const svg = make("svg", {
    ...size,
    viewBox: `0 0 ${size.width} ${size.height}`,
    role: "img",
    "aria-label": summary(attempts, row),
  });
  svg.append(
    make("line", { class: "grid", x1: 0, x2: width, y1: PLOT.top, y2: PLOT.top }),
    make("line", { class: "grid", x1: 0, x2: width, y1: tall, y2: tall }),
  );
  svg.append(make("text", { x: 0, y: PLOT.top - 4 }, bytes(most)));

  // Runs of bytes: each ends when its bytes were discarded.
  const runs = [[]];
  const drops = [];
  const strip = [];
  for (const stretch of stretches(shown, width)) {
    const run = runs.at(-1);
    const { attempt, from, to } = stretch;
    if (!attempt) {
      const last = run.at(-1)?.[1] ?? 0;
      run.push([to, last]);
      strip.push(...gap(stretch, tall));
      continue;
    }
    run.push([from, attempt.offset_from]);
    if (attempt.discarded_bytes > 0 || attempt.restart_reason) {
      // Bytes of this attempt may be among them: those received before the restart.
      const lost = Math.max(attempt.offset_from, attempt.discarded_bytes ?? 0);
      const at = lost > attempt.offset_from ? (from + to) / 2 : from;
      run.push([at, lost]);
      drops.push({ at, lost: attempt.discarded_bytes ?? lost });
      runs.push([[at, 0]]);
    }
    runs.at(-1).push([to, attempt.offset_to]);
    strip.push(...bar(attempt, from, to, tall));
  }
  runs.forEach((run, place) => svg.append(...area(run, y, place < runs.length - 1)));
  let free = 0;
  for (const { at, lost } of drops) {
    svg.append(make("line", { class: "drop", x1: at, x2: at, y1: y(lost), y2: tall }));
    const label = `−${bytes(lost)}`;
    const room = label.length * 6 + 6;
    const x = Math.min(at + 4, width - room);
    if (x < free || lost === 0) continue;
    svg.append(make("text", { class: "drop-text", x, y: Math.min(tall - 4, y(lost) + 12) }, label));
    free = x + room;
  }
  svg.append(...strip, ...ends(shown, width, size.height - 4));
  return [svg, legend(drops.length > 0, shown, attempts.length - shown.length)];
}

function area(run, y, discarded) {
  if (run.length < 2) return [];
  const points = run.map(([x, count]) => `${x.toFixed(1)} ${y(count).toFixed(1)}`).join("L");
  const [first, last] = [run[0][0].toFixed(1), run.at(-1)[0].toFixed(1)];
  return [
    make("path", { class: discarded ? "lost" : "kept", d: `M${first} ${y(0)}L${points}L${last} ${y(0)}Z` }),
    make("path", { class: discarded ? "line gone" : "line", d: `M${points}` }),
  ];
}

function bar(attempt, from, to, top) {
  const kind = { failed: " failed", completed: "", "under way": "" }[attempt.outcome] ?? " cut";
  const told = make(
    "title",
    null,
    `Attempt ${attempt.attempt}: ${plain(attempt.outcome)}, ${bytes(attempt.offset_from)} → ${bytes(attempt.offset_to)}`,
  );
  const width = Math.max(1.5, to - from - 1);
  const place = { y: top + 3, height: PLOT.strip - 3 };
  const body = make("rect", { class: `attempt${kind}`, x: from.toFixed(1), width: width.toFixed(1), ...place }, told);
  if (attempt.outcome !== "failed") return [body];
  const mark = Math.min(3, width);
  return [body, make("rect", { class: "mark", x: (from + width - mark).toFixed(1), width: mark.toFixed(1), ...place })];
}

function gap({ from, to, gap: length, waited, cut }, top) {
  const middle = top + 3 + (PLOT.strip - 3) / 2;
  const line = make(
    "line",
    { class: waited ? "wait" : "pause", x1: from + 2, x2: Math.max(from + 2, to - 2), y1: middle, y2: middle },
    make("title", null, `${waited ? "Wait" : "Pause"} of ${wait(length)}`),
  );
  const label = wait(length);
  const fits = cut && to - from > label.length * 6;
  return [line, fits && make("text", { x: (from + to) / 2, y: top - 4, "text-anchor": "middle" }, label)].filter(
    Boolean,
  );
}

function ends(attempts, width, y) {
  const [first, last] = [
    moment(attempts[0].started_at),
    attempts.at(-1).outcome === "under way" ? "now" : time(attempts.at(-1).ended_at),
  ];
  return [make("text", { x: 0, y }, first), make("text", { x: width, y, "text-anchor": "end" }, last)];
}

function legend(dropped, attempts, more) {
  const has = (test) => attempts.some(test);
  const items = [
    ["kept", "bytes kept"],
    dropped && ["lost", "bytes discarded"],
    has((one) => one.outcome === "failed") && ["failed", "attempt failed"],
    has((one) => one.wait_ms !== null) && ["wait", "wait"],
  ].filter(Boolean);
  const note = more > 0 ? make("b", null, `the last ${attempts.length} attempts of ${attempts.length + more}`) : null;
  return make(
    "figcaption",
    { class: "legend" },
    ...items.map(([name, text]) => make("span", { class: name }, text)),
    note,
  );
}

function summary(attempts, row) {
  const discarded = attempts.reduce((sum, one) => sum + (one.discarded_bytes ?? 0), 0);
  const waited = attempts.reduce((sum, one) => sum + (one.wait_ms ?? 0), 0);
  const over = Date.parse(attempts.at(-1).ended_at) - Date.parse(attempts[0].started_at);
  const told = [
    `Timeline: ${counted(attempts.length, "attempt")} over ${wait(Math.max(0, over) || 0)}`,
    `${bytes(row.downloaded_bytes)} kept`,
  ];
  if (discarded > 0) told.push(`${bytes(discarded)} discarded`);
  if (waited > 0) told.push(`waits of ${wait(waited)} in all`);
  return `${told.join(", ")}, ${attempts.at(-1).outcome}. The list below has each attempt.`;
}
