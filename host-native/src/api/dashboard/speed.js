// Bytes a second over about the last five seconds: the bytes received and how long that took, both forgotten alike.

import { now } from "./api.js";

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
