// The core's primitives alone.
import { needed, neededNow } from "./load.js";
import { refuseUnknown, whole } from "./options.js";

const OPTIONS = ["maxAttempts", "baseDelayMs", "maxDelayMs", "isRetryable", "retryAfter", "sleep", "random", "onRetry", "signal"];

/** Runs the operation until it succeeds, fails for good, or its attempts are used up. */
export async function retry(operation, options = {}) {
  refuseUnknown(options, OPTIONS);
  const { maxAttempts = 5, baseDelayMs = 1000, maxDelayMs = 60_000, signal } = options;
  whole("maxAttempts", maxAttempts, 1, 2 ** 32 - 1);
  duration("baseDelayMs", baseDelayMs);
  duration("maxDelayMs", maxDelayMs);
  signal?.throwIfAborted();
  let first;
  try {
    // Where it succeeds there is nothing to decide, and the module is not even loaded.
    return await operation(1);
  } catch (error) {
    first = error;
  }
  const hooks = new Hooks(operation, options, first);
  const core = await needed();
  try {
    return await core.retry(maxAttempts, baseDelayMs, maxDelayMs, hooks);
  } catch (error) {
    // If a hook threw or the signal fired, that is the reason.
    throw hooks.fault ? hooks.fault.error : error;
  }
}

/** The functions that the core calls. None throws: an error of a caller's function ends the loop and is thrown afterwards. */
class Hooks {
  fault;

  /** `first`: what the first attempt failed with, which was made before the core was asked. */
  constructor(operation, options, first) {
    this.first = first;
    this.operation = operation;
    this.options = options;
    this.signal = options.signal;
  }

  async operate(attempt) {
    if (attempt === 1) throw this.first;
    if (this.stopped()) throw this.fault.error;
    return this.operation(attempt);
  }

  isRetryable(error) {
    const ask = this.options.isRetryable ?? isTransient;
    return !this.stopped() && this.guarded(() => Boolean(ask(error)), false);
  }

  retryAfter(error) {
    const ask = this.options.retryAfter ?? ((error) => error?.retryAfterMs);
    const ms = this.guarded(() => ask(error), undefined);
    return typeof ms === "number" && ms >= 0 ? ms : undefined;
  }

  onRetry(attempt, delayMs, askedBy, error) {
    this.guarded(() => this.options.onRetry?.({ attempt, delayMs, askedBy, error }));
  }

  async sleep(ms) {
    if (this.stopped()) return;
    try {
      await (this.options.sleep ?? sleep)(ms, this.signal);
    } catch (error) {
      this.fault ??= { error };
    }
  }

  random() {
    return this.guarded(() => Number((this.options.random ?? Math.random)()), 0);
  }

  stopped() {
    if (this.signal?.aborted) this.fault ??= { error: this.signal.reason };
    return this.fault !== undefined;
  }

  guarded(ask, otherwise) {
    try {
      return ask();
    } catch (error) {
      this.fault ??= { error };
      return otherwise;
    }
  }
}

/** Timers hold 31 bits of milliseconds; a longer one would ring at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

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
export function backoffDelay(attempt, { baseDelayMs = 1000, maxDelayMs = 60_000, random = Math.random } = {}) {
  whole("attempt", attempt, 1, 2 ** 32 - 1);
  duration("baseDelayMs", baseDelayMs);
  duration("maxDelayMs", maxDelayMs);
  return neededNow("backoffDelay").backoffDelay(attempt, baseDelayMs, maxDelayMs, Number(random()));
}

/** A `Retry-After` in milliseconds, or null. */
export function parseRetryAfter(value, now = Date.now()) {
  if (value === null || value === undefined) return null;
  return neededNow("parseRetryAfter").parseRetryAfter(String(value), Number(now)) ?? null;
}

const NETWORK_CODES =
  /^(ECONN(RESET|REFUSED|ABORTED)|EPIPE|ETIMEDOUT|EAI_AGAIN|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|ENETDOWN|UND_ERR_(SOCKET|CONNECT_TIMEOUT|HEADERS_TIMEOUT|BODY_TIMEOUT))$/;

/** Returns true if another attempt makes sense. */
export function isTransient(error) {
  if (error === null || typeof error !== "object") return false;
  if (error.class === "transient" || error.class === "permanent") return error.class === "transient";
  if (error.name === "AbortError") return false;
  if (Number.isInteger(error.status) && error.status >= 400 && error.status <= 599) {
    return neededNow("isTransient").isTransientStatus(error.status);
  }
  if (error.name === "TimeoutError" || error.name === "NetworkError") return true;
  if ([error.code, error.cause?.code].some((code) => NETWORK_CODES.test(code))) return true;
  // What `fetch` says of a broken connection, in Node, Chromium, Firefox and Safari.
  return error instanceof TypeError && /fetch failed|failed to fetch|networkerror|load failed|terminated|network error/i.test(error.message);
}

function duration(name, value) {
  if (typeof value !== "number" || !(value >= 0)) throw new RangeError(`${name} is ${String(value)}, expected milliseconds from 0`);
}

/** Hands out permits, first come first served. */
export class Semaphore {
  #permits;
  #limit;
  /** Before the module is loaded there are no permits, and everyone waits. */
  #ready;

  constructor(permits) {
    this.#limit = whole("permits", permits, 1, 2 ** 32 - 1);
  }

  async acquire({ signal } = {}) {
    signal?.throwIfAborted();
    const permits = this.#permits ?? (await this.#load());
    const held = permits.tryAcquire();
    if (held) return new Permit(held);
    const waiting = permits.acquire();
    if (!signal) return new Permit(await waiting);
    return new Permit(await unlessAborted(waiting, signal));
  }

  async run(work, options) {
    const permit = await this.acquire(options);
    try {
      return await work();
    } finally {
      permit.release();
    }
  }

  resize(permits) {
    this.#limit = whole("permits", permits, 1, 2 ** 32 - 1);
    this.#permits?.resize(permits);
  }

  get used() {
    return this.#permits?.used() ?? 0;
  }

  get waiting() {
    return this.#permits?.waiting() ?? 0;
  }

  #load() {
    this.#ready ??= needed().then((core) => (this.#permits = new core.Permits(this.#limit)));
    return this.#ready;
  }
}

/** A permit that is granted after nobody wants it any more goes to the next. */
function unlessAborted(waiting, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    waiting.then((held) => {
      signal.removeEventListener("abort", abort);
      if (signal.aborted) held.free();
      else resolve(held);
    }, reject);
  });
}

class Permit {
  #held;

  constructor(held) {
    this.#held = held;
  }

  release() {
    const held = this.#held;
    this.#held = undefined;
    held?.free();
  }
}
if (Symbol.dispose) Object.defineProperty(Permit.prototype, Symbol.dispose, { value: Permit.prototype.release });
