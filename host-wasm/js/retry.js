// `regrip/retry`: the primitives of core in plain JavaScript. They load no module.
//
// Their rules are core's: `tests/vectors.json` has what core answers, and a test of each side reads it.
import { found, milliseconds, optional, refuseUnknown, signalGiven, whole } from "./checks.js";

const OPTIONS = ["maxAttempts", "baseDelayMs", "maxDelayMs", "isRetryable", "retryAfter", "sleep", "random", "onRetry", "signal"];
const NO_FUNCTIONS = ["maxAttempts", "baseDelayMs", "maxDelayMs", "signal"];

const MOST = 2 ** 32 - 1;
/** The longest time that core counts, in seconds, and the longest delay that it draws, in nanoseconds. */
const LONGEST = 2 ** 64 - 1;
/** Timers hold 31 bits of milliseconds; a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Runs the operation until it succeeds, fails for good, or its attempts are used up. */
export async function retry(operation, options = {}) {
  if (typeof operation !== "function") throw new TypeError(`operation is ${found(operation)}, expected a function`);
  refuseUnknown(options, OPTIONS);
  for (const name of Object.keys(options)) if (!NO_FUNCTIONS.includes(name)) optional(name, options[name], "function");
  const { maxAttempts = 5, baseDelayMs = 1000, maxDelayMs = 60_000, isRetryable = isTransient } = options;
  const signal = signalGiven(options.signal);
  whole("maxAttempts", maxAttempts, 1, MOST);
  milliseconds("baseDelayMs", baseDelayMs);
  milliseconds("maxDelayMs", maxDelayMs);
  signal?.throwIfAborted();
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation(attempt);
    } catch (error) {
      if (attempt === maxAttempts) throw error;
      signal?.throwIfAborted();
      if (!isRetryable(error)) throw error;
      const asked = (options.retryAfter ?? retryAfterOf)(error);
      const isAsked = typeof asked === "number" && asked >= 0;
      const delayMs = isAsked ? Math.min(asked, maxDelayMs) : jitter(attempt, baseDelayMs, maxDelayMs, options.random ?? Math.random);
      options.onRetry?.({ attempt, delayMs, askedBy: isAsked ? "retry_after" : "jitter", error });
      signal?.throwIfAborted();
      if (delayMs > 0) await (options.sleep ?? sleep)(delayMs, signal);
      signal?.throwIfAborted();
    }
  }
}

const retryAfterOf = (error) => error?.retryAfterMs;

function sleep(ms, signal) {
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      done();
    };
    const timer = setTimeout(end, Math.min(ms, LONGEST_TIMER_MS));
    signal?.addEventListener("abort", end);
  });
}

/** The wait after an attempt, in milliseconds. */
export function backoffDelay(attempt, { baseDelayMs = 1000, maxDelayMs = 60_000, random = Math.random, ...rest } = {}) {
  refuseUnknown(rest, []);
  whole("attempt", attempt, 1, MOST);
  milliseconds("baseDelayMs", baseDelayMs);
  milliseconds("maxDelayMs", maxDelayMs);
  optional("random", random, "function");
  return jitter(attempt, baseDelayMs, maxDelayMs, random);
}

/** Uniform from 0 to the ceiling, in whole nanoseconds; the cap applies before the draw. */
function jitter(attempt, base, cap, random) {
  const ceiling = Math.min(base && Math.min(base * 2 ** (attempt - 1), cap) * 1e6, LONGEST);
  return Math.min(Math.floor(Number(random()) * (ceiling + 1)), ceiling) / 1e6;
}

/** A `Retry-After` in milliseconds, or null. */
export function parseRetryAfter(value, now = Date.now()) {
  if (value === null || value === undefined) return null;
  const text = String(value);
  if (/^[0-9]+$/.test(text)) return Math.min(Number(text), LONGEST) * 1000;
  const then = parseDate(text);
  return then === null ? null : Math.max(then - Number(now), 0);
}

/** The three forms of an HTTP-date (RFC 9110 §5.6.7): weekday, then day, month and year in an order of their own, and the time. */
const FORMS = [
  /^(?<w>\w{3}), (?<d>\d\d) (?<n>\w{3}) (?<y>\d{4}) (?<t>[\d:]{8}) GMT$/,
  /^(?<w>\w+day), (?<d>\d\d)-(?<n>\w{3})-(?<y>\d\d) (?<t>[\d:]{8}) GMT$/,
  /^(?<w>\w{3}) (?<n>\w{3}) (?<d>[\d ]\d) (?<t>[\d:]{8}) (?<y>\d{4})$/,
];

/** Milliseconds since 1970. `Date.parse` would take other forms, days that do not exist and wrong weekdays. */
function parseDate(text) {
  const trimmed = text.replace(/^[ \t\n\f\r]+|[ \t\n\f\r]+$/g, "");
  const fields = FORMS.map((form) => form.exec(trimmed)?.groups).find(Boolean);
  if (!fields) return null;
  const { w, d, n, y, t } = fields;
  const year = y.length > 2 ? y : (y < 70 ? "20" : "19") + y;
  const date = new Date(`${d} ${n} ${year} ${t} GMT`);
  // A date that is read leniently does not come out as it was written.
  const [weekday, ...same] = Number.isNaN(date.getTime()) ? [] : date.toUTCString().split(" ");
  const named = date.toLocaleDateString("en", { weekday: "long", timeZone: "UTC" });
  const isReal = same.join(" ") === `${d.replace(" ", "0")} ${n} ${year} ${t} GMT` && w === (y.length > 2 ? weekday.slice(0, 3) : named);
  return isReal && year >= 1970 ? date.getTime() : null;
}

const NETWORK_CODES =
  /^(ECONN(RESET|REFUSED|ABORTED)|EPIPE|ETIMEDOUT|EAI_AGAIN|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|ENETDOWN|UND_ERR_(SOCKET|CONNECT_TIMEOUT|HEADERS_TIMEOUT|BODY_TIMEOUT))$/;

/** Returns true if another attempt makes sense. */
export function isTransient(error) {
  if (error === null || typeof error !== "object") return false;
  const { class: itsClass, name, status, code, cause, message } = error;
  if (itsClass === "transient" || itsClass === "permanent") return itsClass === "transient";
  if (name === "AbortError") return false;
  if (Number.isInteger(status) && status >= 400 && status <= 599) return status === 429 || status >= 500;
  if (name === "TimeoutError" || name === "NetworkError") return true;
  if ([code, cause?.code].some((code) => NETWORK_CODES.test(code))) return true;
  // What `fetch` says of a broken connection, in Node, Chromium, Firefox and Safari.
  return error instanceof TypeError && /fetch failed|failed to fetch|networkerror|load failed|terminated|network error/i.test(message);
}

/** Hands out permits, first come, first served: a permit that is released goes directly to the first waiter. */
export class Semaphore {
  #limit;
  #used = 0;
  #waiting = 0;
  /** The first and the last waiter: a list with a link in each direction, so that any of them can leave. */
  #first;
  #last;

  constructor(permits) {
    this.#limit = whole("permits", permits, 1, MOST);
  }

  async acquire(options) {
    await this.#granted(signalOf(options));
    return new Permit(this.#release);
  }

  async run(work, options) {
    if (typeof work !== "function") throw new TypeError(`work is ${found(work)}, expected a function`);
    const signal = signalOf(options);
    if (signal !== undefined || this.#used >= this.#limit || this.#waiting > 0) await this.#granted(signal);
    else this.#used++;
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  resize(permits) {
    this.#limit = whole("permits", permits, 1, MOST);
    while (this.#used < this.#limit && this.#first) this.#grant();
  }

  get used() {
    return this.#used;
  }

  get waiting() {
    return this.#waiting;
  }

  /** Undefined if a permit is free, else a promise of one. */
  #granted(signal) {
    signal?.throwIfAborted();
    if (this.#used < this.#limit && this.#waiting === 0) return void this.#used++;
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject, signal, abort: undefined, before: this.#last, after: undefined };
      if (this.#last) this.#last.after = waiter;
      else this.#first = waiter;
      this.#last = waiter;
      this.#waiting++;
      if (!signal) return;
      waiter.abort = () => {
        this.#leave(waiter);
        reject(signal.reason);
      };
      signal.addEventListener("abort", waiter.abort, { once: true });
    });
  }

  #leave({ before, after }) {
    if (before) before.after = after;
    else this.#first = after;
    if (after) after.before = before;
    else this.#last = before;
    this.#waiting--;
  }

  #grant() {
    const waiter = this.#first;
    this.#leave(waiter);
    waiter.signal?.removeEventListener("abort", waiter.abort);
    this.#used++;
    waiter.resolve();
  }

  #release = () => {
    this.#used--;
    if (this.#used < this.#limit && this.#first) this.#grant();
  };
}

function signalOf(options) {
  if (options === undefined) return undefined;
  refuseUnknown(options, ["signal"]);
  return signalGiven(options.signal);
}

class Permit {
  #release;

  constructor(release) {
    this.#release = release;
  }

  release() {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }
}
if (Symbol.dispose) Object.defineProperty(Permit.prototype, Symbol.dispose, { value: Permit.prototype.release });
