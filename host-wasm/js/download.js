// One caller's view of a download: a promise, a signal, a digest, a listener and iterators of its own.
import { RegripError, cancelled, digestMismatch } from "./errors.js";
import { quietly } from "./host.js";
import { algorithmOf } from "./terms.js";

export class Download {
  /** Settles for this caller only. Nobody has to wait for it. */
  done;
  terms;
  /** What fetches the bytes; other callers may wait for it too. */
  transfer;
  /** `{ reason }` once this caller gave it up. */
  left;
  #resolve;
  #reject;
  #over = false;
  /** Events that nobody has iterated over yet. */
  #early = [];
  #iterators = new Set();

  constructor(terms) {
    this.terms = terms;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => {});
    terms.signal?.addEventListener("abort", this.#abort, { once: true });
  }

  /** One that failed before anything was asked. `about`: its id and path, if it has them. */
  static failed(error, about) {
    const download = new Download({});
    download.transfer = about;
    download.fail(error);
    return download;
  }

  get id() {
    return this.transfer?.id;
  }

  get path() {
    return this.transfer?.path;
  }

  cancel() {
    this.leave(undefined);
  }

  /** Gives it up. The bytes are kept, and move on while another caller waits for them. */
  leave(reason) {
    if (this.left || this.#over) return;
    this.left = { reason };
    this.transfer?.leave(this);
  }

  tell(event) {
    if (this.#over) return;
    quietly(this.terms.onEvent, event);
    if (this.#early) enqueue(this.#early, event);
    for (const iterator of this.#iterators) iterator.push(event);
  }

  /** What this caller's digest says of the file: an error, or nothing. */
  refusal({ digests, digestError }) {
    for (const [algorithm, wanted] of this.terms.digests.map((digest) => digest.split(":"))) {
      const got = digests.get(algorithm);
      if (got === undefined && wanted !== undefined) {
        const message = `the bytes cannot be read back for the ${algorithm} that was asked for`;
        return new RegripError(message, { code: "Disk", class: "permanent", cause: digestError });
      }
      if (wanted !== undefined && wanted !== got) return digestMismatch(algorithm, wanted, got);
    }
    return undefined;
  }

  /** A warning about digests that were only asked for, and for which the bytes could not be read. */
  warningOf({ digests }, warning) {
    const left = this.terms.digests.map(algorithmOf).filter((algorithm) => !digests.has(algorithm));
    if (left.length === 0) return warning;
    const own = `${left.join(", ")} could not be computed: the bytes cannot be read back`;
    return warning === undefined ? own : `${warning}; ${own}`;
  }

  complete(summary) {
    this.#end(() => this.#resolve(summary));
  }

  fail(error) {
    this.#end(() => this.#reject(error));
  }

  /** What it rejects with after it was given up: the reason that was given, if one was. */
  cancellation(facts) {
    const { reason } = this.left;
    return reason === undefined || isDefaultReason(reason) ? cancelled(reason, facts) : reason;
  }

  /** Leaving the iteration ends nothing but the iteration. */
  async *[Symbol.asyncIterator]() {
    const events = this.#early ?? [];
    this.#early = undefined;
    let wake = () => {};
    let over = false;
    const iterator = { push: (event) => (enqueue(events, event), wake()) };
    this.#iterators.add(iterator);
    const ended = this.done.then(
      () => {},
      (error) => ({ error }),
    );
    ended.then(() => {
      over = true;
      wake();
    });
    try {
      for (;;) {
        while (events.length > 0) yield events.shift();
        if (over) break;
        await new Promise((woken) => (wake = woken));
      }
      const failure = await ended;
      if (failure) throw failure.error;
    } finally {
      this.#iterators.delete(iterator);
    }
  }

  #abort = () => this.leave(this.terms.signal.reason);

  #end(settle) {
    if (this.#over) return;
    this.#over = true;
    this.terms.signal?.removeEventListener("abort", this.#abort);
    settle();
  }
}

/** What `abort()` without a reason gives. */
function isDefaultReason(reason) {
  return Object.prototype.toString.call(reason) === "[object DOMException]" && reason.name === "AbortError";
}

/** Nobody needs a progress that has been overtaken. */
function enqueue(events, event) {
  if (event.event === "progress" && events.at(-1)?.event === "progress") events.pop();
  events.push(event);
}
