// Bytes a second, smoothed over some five seconds.

import { now } from "./api.js";

export const meters = new Map();
const SMOOTH = 5;

// What was measured says nothing any more: the connection was lost.
export function forgetSpeeds() {
  meters.clear();
}

export function measure({ event, id, at, bytes: count, from }) {
  const meter = meters.get(id);
  if (event === "progress" && meter) {
    const seconds = (Date.parse(at) - meter.at) / 1000;
    if (seconds <= 0) return;
    const rate = Math.max(0, count - meter.bytes) / seconds;
    const share = meter.rate === null ? 1 : 1 - Math.exp(-seconds / SMOOTH);
    meters.set(id, { at: Date.parse(at), bytes: count, rate: (meter.rate ?? 0) + (rate - (meter.rate ?? 0)) * share });
  } else if (event === "progress" || event === "started") {
    meters.set(id, { at: Date.parse(at), bytes: count ?? from, rate: null });
  } else if (event === "restart") {
    meters.set(id, { at: Date.parse(at), bytes: 0, rate: meter?.rate ?? null });
  } else if (event !== "headers") {
    meters.delete(id);
  }
}

export function speed(id) {
  const meter = meters.get(id);
  if (!meter || meter.rate === null) return null;
  const silence = Math.max(0, (now() - meter.at) / 1000 - 2);
  return meter.rate * Math.exp(-silence / SMOOTH);
}
