// Bytes a second over about the last five seconds: the bytes received and how long that took, both forgotten alike; and the
// picture of all downloads together over the last minutes.

import { now } from "./api.js";
import { make, page, refill } from "./elements.js";
import { bytes, joined } from "./words.js";

export const meters = new Map();
const MEMORY = 5;
const SOONEST = 0.5;

// What was measured says nothing any more: the connection was lost.
export function forgetSpeeds() {
  meters.clear();
}

export function measure({ event, id, at, bytes: count, from }) {
  const time = Date.parse(at) / 1000;
  const meter = meters.get(id);
  if (event === "progress" && meter) {
    const took = time - meter.time;
    if (took <= 0) return;
    const kept = Math.exp(-took / MEMORY);
    const came = Math.max(0, count - meter.count);
    meters.set(id, { time, count, came: meter.came * kept + came, took: meter.took * kept + took });
  } else if (event === "progress" || event === "started") {
    meters.set(id, { time, count: count ?? from, came: 0, took: 0 });
  } else if (event === "restart" && meter) {
    meters.set(id, { ...meter, time, count: 0 });
  } else if (event !== "headers") {
    meters.delete(id);
  }
}

// Null while unknown. A pause of more than two seconds counts as time without data.
export function speed(id) {
  const meter = meters.get(id);
  if (!meter) return null;
  const silence = now() / 1000 - meter.time;
  const took = meter.took + (silence > 2 ? silence : 0);
  return took < SOONEST ? null : meter.came / took;
}

const SPAN = 300;
const TALL = 40;
// Seconds and bytes a second, oldest first.
let history = [];

// Takes the speed of now, and draws the last five minutes if anything was received in them.
export function drawSpeeds(rate) {
  const time = performance.now() / 1000;
  history = [...history.filter((one) => one.time > time - SPAN), { time, rate }];
  const peak = Math.max(...history.map((one) => one.rate));
  page("speeds").hidden = peak < 1;
  if (peak < 1) return;
  const x = (one) => (SPAN - time + one.time).toFixed(1);
  const points = history.map((one) => `${x(one)} ${(TALL * (1 - one.rate / peak)).toFixed(1)}`).join("L");
  const size = { viewBox: `0 0 ${SPAN} ${TALL}`, preserveAspectRatio: "none", "aria-hidden": "true" };
  const caption = joined(
    "Last 5 minutes",
    `now ${bytes(Math.round(rate))}/s`,
    `at most ${bytes(Math.round(peak))}/s`,
  );
  refill(page("speeds"), [
    make(
      "svg",
      size,
      make("path", { class: "kept", d: `M${x(history[0])} ${TALL}L${points}L${SPAN} ${TALL}Z` }),
      make("path", { class: "line", "vector-effect": "non-scaling-stroke", d: `M${points}` }),
    ),
    make("figcaption", { class: "hint" }, caption),
  ]);
}
