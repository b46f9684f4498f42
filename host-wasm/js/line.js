// The order in which downloads of one engine start: by priority, then in the order of the calls.
//
// The core starts them in the order in which they reach its queue, so that they are let through to it only when a permit is
// free. A download that waits for its origin (429, 503) must not keep others from starting: of such an origin, one is let
// through at a time, and it is not counted.

export class Line {
  #limit;
  /** Downloads that wait here: `{ job, open }`, the first one at the start. */
  #waiting = [];
  /** Those that were let through and have not started. */
  #ahead = new Set();
  /** Those that hold a permit. */
  #moving = new Set();
  /** All that the core has, or will have. */
  #all = new Set();
  /** Origins that said they were busy, as long as a download of them is known. */
  #busy = new Set();

  /** `limit`: returns the number of permits. */
  constructor(limit) {
    this.#limit = limit;
  }

  /** A promise of the job's turn; undefined if it is its turn now. */
  enter(job) {
    const waiter = { job, open: undefined };
    const place = this.#waiting.findIndex((other) => isBefore(job, other.job));
    this.#all.add(job);
    this.#waiting.splice(place < 0 ? this.#waiting.length : place, 0, waiter);
    this.advance();
    if (!this.#waiting.includes(waiter)) return undefined;
    return new Promise((open) => (waiter.open = open));
  }

  /** Lets a job through at once. Returns false if it does not wait here. */
  release(job) {
    const waiter = this.#waiting.find((waiter) => waiter.job === job);
    if (waiter) this.#open(waiter);
    return waiter !== undefined;
  }

  note(job, { event, why }) {
    switch (event) {
      case "started":
        this.#ahead.delete(job);
        this.#moving.add(job);
        return;
      case "waiting":
        if (why.startsWith("origin_busy")) this.#busy.add(originOf(job));
      // falls through
      case "retrying":
        this.#ahead.delete(job);
        this.#moving.delete(job);
        this.advance();
    }
  }

  /** The core is through with a job. */
  leave(job) {
    this.#ahead.delete(job);
    this.#moving.delete(job);
    this.#all.delete(job);
    const known = [...this.#all].map(originOf);
    for (const origin of this.#busy) if (!known.includes(origin)) this.#busy.delete(origin);
    this.advance();
  }

  /** Lets through as many as there are permits for. */
  advance() {
    for (const waiter of [...this.#waiting]) if (this.#isTurnOf(waiter.job)) this.#open(waiter);
  }

  #isTurnOf(job) {
    const ahead = [...this.#ahead];
    if (this.#busy.has(originOf(job))) return !ahead.some((other) => originOf(other) === originOf(job));
    return this.#moving.size + ahead.filter((other) => !this.#busy.has(originOf(other))).length < this.#limit();
  }

  #open(waiter) {
    this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
    this.#ahead.add(waiter.job);
    waiter.open?.();
  }
}

const isBefore = (one, other) => one.priority > other.priority || (one.priority === other.priority && one.call < other.call);

const originOf = (job) => new URL(job.url).origin;
