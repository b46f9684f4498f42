// The options of an engine. Invalid ones are refused here; the defaults are the core's.
import { found, whole } from "./checks.js";
import { Fields } from "./fields.js";

const COUNT = 2 ** 32 - 1;
const SIZE = Number.MAX_SAFE_INTEGER;
const NUMBERS = {
  maxConcurrentDownloads: [1, COUNT],
  maxDownloadAttempts: [1, COUNT],
  maxTotalAttempts: [1, COUNT],
  retryBaseDelayMs: [0, SIZE],
  retryMaxDelayMs: [0, SIZE],
  connectTimeoutMs: [1, SIZE],
  headersTimeoutMs: [1, SIZE],
  idleTimeoutMs: [1, SIZE],
  lowSpeedBytesPerSec: [0, SIZE],
  lowSpeedWindowMs: [1, SIZE],
  maxDownloadBytes: [0, SIZE],
  resumeOverlapBytes: [0, SIZE],
  progressResetBytes: [0, SIZE],
};

/** Returns true for the name of an option of an engine. */
export const isKnob = (name) => Object.hasOwn(NUMBERS, name) || ["connections", "onExists", "extraRetryStatuses"].includes(name);

/** Splits options into those of an engine and the rest. An undefined option counts as missing, and what can be iterated over once is kept as an array. */
export function split(options) {
  if (options === null || typeof options !== "object") throw new TypeError(`options is ${found(options)}, expected an object`);
  const ofEngine = {};
  const rest = {};
  for (const [name, value] of Object.entries(options)) {
    if (isKnob(name)) {
      if (value !== undefined) ofEngine[name] = isList(value) ? [...value] : value;
    } else {
      rest[name] = value;
    }
  }
  return [ofEngine, rest];
}

const isList = (value) => typeof value === "object" && typeof value?.[Symbol.iterator] === "function";

/** Options as the module takes them. */
export function fieldsOf(options) {
  const all = {};
  for (const [name, [least, most]] of Object.entries(NUMBERS)) {
    if (options[name] !== undefined) all[name] = whole(name, options[name], least, most);
  }
  if (options.connections !== undefined) all.connections = connections(options.connections);
  if (options.onExists !== undefined) all.onExists = oneOf("onExists", options.onExists, ["overwrite", "fail", "rename"]);
  if (options.extraRetryStatuses !== undefined) {
    const statuses = options.extraRetryStatuses;
    if (!Array.isArray(statuses)) throw new TypeError(`extraRetryStatuses is ${found(statuses)}, expected an array of statuses`);
    for (const status of statuses) whole("extraRetryStatuses", status, 400, 499);
    all.extraRetryStatuses = btoa(String.fromCharCode(...new Uint8Array(Uint16Array.from(statuses).buffer)));
  }
  return new Fields(all);
}

/** A number of connections; 0 stands for `auto`. */
function connections(value) {
  if (value === "auto") return 0;
  if (Number.isInteger(value) && value >= 1 && value <= 16) return value;
  throw new RangeError(`connections is ${found(value)}, expected a whole number from 1 to 16, or "auto"`);
}

function oneOf(name, value, all) {
  if (!all.includes(value)) throw new RangeError(`${name} is ${found(value)}, expected ${all.join(", ")}`);
  return value;
}
