// Checks of what a caller gave. Each error names the option.

/** Refuses an unknown option: a misspelt one would do nothing. */
export function refuseUnknown(options, known) {
  if (options === null || typeof options !== "object") throw new TypeError(`options is ${found(options)}, expected an object`);
  const odd = Object.keys(options).find((name) => !known.includes(name));
  if (odd !== undefined) throw new TypeError(`there is no option ${odd}`);
}

/** A whole number from `least` to `most`, or a RangeError. */
export function whole(name, value, least, most = Number.MAX_SAFE_INTEGER) {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const expected = value > most ? `at most ${most}` : `a whole number from ${least}`;
  throw new RangeError(`${name} is ${found(value)}, expected ${expected}`);
}

/** A time from 0 on, which may be a fraction or infinite. */
export function milliseconds(name, value) {
  if (typeof value !== "number" || !(value >= 0)) throw new RangeError(`${name} is ${found(value)}, expected milliseconds from 0`);
}

/** A value of this type, if there is one. */
export function optional(name, value, type) {
  if (value !== undefined && typeof value !== type) throw new TypeError(`${name} is ${found(value)}, expected a ${type}`);
  return value;
}

/** A signal, if there is one. */
export function signalGiven(signal) {
  if (signal === undefined || signal === null) return undefined;
  if (typeof signal.addEventListener === "function" && typeof signal.aborted === "boolean") return signal;
  throw new TypeError(`signal is ${found(signal)}, expected an AbortSignal`);
}

/** Returns true for a `URL`, also one of another realm, such as jsdom's. */
export const isUrl = (value) => typeof value?.href === "string" && typeof value.protocol === "string";

/** What a value is, for an error: a number or word as it is, a longer text or an object by its kind. */
export function found(value) {
  if (typeof value === "string") return value.length <= 20 ? `"${value}"` : "a string";
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return "an array";
  const name = value.constructor?.name;
  return name && name !== "Object" ? `an object of class ${name}` : "an object";
}
