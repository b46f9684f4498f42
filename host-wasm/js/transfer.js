// A file that is being fetched, for one caller or several.
//
// Invariant: it ends early only if its last caller leaves it, or if it is cancelled for all of them.
import { RegripError, failureEvent } from "./errors.js";
import { algorithmOf, isAboutTerms, shown } from "./terms.js";

export class Transfer {
  id;
  path;
  /** As it is asked for; a query that was left out is filled in from the record. */
  url;
  /** Those of the first caller: what the core was asked for. */
  terms;
  /** Counts the calls that began a transfer. */
  call;
  /** Resolves once nothing of it is under way any more. */
  over;
  /** The transfer of the same file that has to end first. */
  predecessor;
  /** Asks the core to end it; returns false if it is too late. */
  stopBy;
  /** The terms that it continues with from another URL, once it is resumed. */
  next;
  /** `{ over, isOver, resume() }` while it is paused, or is to be. */
  paused;
  /** Digests of the bytes by algorithm, once they are computed, or why one cannot be. */
  digests = new Map();
  digestError;
  /** True once its bytes can no longer be read for a digest. */
  sealed = false;
  /** The latest facts from events. */
  facts = { bytes: 0, attempts: 0, restarts: 0 };
  /** True once its sink is its own, to be ended by it. */
  begun = false;
  /** `{ reason }` once the sink's other end cancelled it. */
  broken;
  /** True while the core drives it. */
  running = false;
  #callers = new Set();
  #headers;
  /** Those for the URL that it was moved to, whoever waits. */
  #moved;
  #accepted = false;
  #stopped = new AbortController();

  constructor(terms, id, predecessor) {
    Object.assign(this, { terms, id, predecessor, url: terms.url, path: terms.path });
    this.#headers = terms.headers;
  }

  /** Aborted once it is to end. */
  get stopped() {
    return this.#stopped.signal;
  }

  /** What the callers' digests are computed by. */
  get algorithms() {
    return [...new Set([...this.#callers].flatMap(({ terms }) => terms.digests.map(algorithmOf)))];
  }

  /** Those of the first caller who still waits, for every request. */
  get headers() {
    const [first] = this.#callers;
    if (this.#moved) return this.#moved;
    if (first) this.#headers = first.terms.headers;
    return this.#headers;
  }

  /** Takes the next URL, with its headers, if there is one. */
  moveOn() {
    const { next } = this;
    this.next = undefined;
    if (!next) return undefined;
    this.url = next.url;
    this.#moved = next.headers;
    return { url: next.url };
  }

  /** Returns true if another caller can still join it. */
  admits({ digests }) {
    if (this.#stopped.signal.aborted) return false;
    return !this.sealed || digests.every((digest) => this.digests.has(algorithmOf(digest)));
  }

  /** The digest that an earlier caller gave and the one of the same algorithm that this one gives, if they differ. */
  conflict({ digests }) {
    const earlier = [...this.#callers].flatMap(({ terms }) => terms.digests).filter((digest) => digest.includes(":"));
    for (const digest of digests.filter((digest) => digest.includes(":"))) {
      const other = earlier.find((other) => algorithmOf(other) === algorithmOf(digest) && other !== digest);
      if (other !== undefined) return [other, digest];
    }
    return undefined;
  }

  add(download) {
    download.transfer = this;
    this.#callers.add(download);
  }

  /** A caller gave it up. */
  leave(download) {
    if (this.#callers.size === 1) return this.stop();
    this.#callers.delete(download);
    const { id, path, url } = this;
    const error = download.cancellation(this.facts);
    const { bytes, attempts, restarts } = this.facts;
    download.tell(failureEvent("cancelled", { id, path, url: shown(url) }, new RegripError("cancelled", { code: "cancelled", class: "permanent", bytes, attempts, restarts })));
    download.fail(error);
  }

  /** Ends it for all of its callers. */
  cancel() {
    for (const download of this.#callers) download.left ??= { reason: undefined };
    this.stop();
  }

  /** Has the core end it until it is resumed. Returns false if it is too late. */
  pause() {
    if (this.paused && !this.paused.isOver) return true;
    const paused = { isOver: false };
    paused.over = new Promise((resume) => (paused.resume = resume));
    this.paused = paused;
    // Before it is accepted, and while it changes its source, nothing runs that could be ended.
    if (this.running && this.stopBy && !this.stopBy()) this.paused = undefined;
    return this.paused !== undefined;
  }

  /** The core may still be ending it: until it has, it counts as paused. */
  resume() {
    if (!this.paused) return;
    this.paused.isOver = true;
    this.paused.resume();
  }

  /** The other end of the sink takes no more. */
  breakOff(reason) {
    this.broken ??= { reason };
    this.stop();
  }

  /** Once it is too late, it ends by itself. */
  stop() {
    this.#stopped.abort();
    if (this.#accepted) this.stopBy?.();
  }

  tell(event) {
    this.#note(event);
    if (event.event === "queued") {
      this.#accepted = this.running = true;
      // The core drives it right after this event.
      if (this.#stopped.signal.aborted || this.paused) queueMicrotask(() => this.stopBy?.());
    }
    for (const download of this.#callers) {
      if (event.event === "failed" && this.#goesOn(download, event.code)) continue;
      const refusal = event.event === "completed" && download.refusal(this);
      const warning = event.event === "completed" ? download.warningOf(this, event.warning) : undefined;
      download.tell(refusal ? failureEvent("failed", event, refusal) : warning === undefined ? event : { ...event, warning });
    }
  }

  #note({ event, bytes, from, attempt, attempts, restarts, discardedBytes, digests }) {
    const { facts } = this;
    if (event === "started") Object.assign(facts, { attempts: attempt, bytes: from });
    if (event === "progress") facts.bytes = bytes;
    if (event === "restart") Object.assign(facts, { bytes: Math.max(facts.bytes - discardedBytes, 0), restarts: facts.restarts + 1 });
    if (attempts !== undefined) Object.assign(facts, { attempts, restarts, bytes });
    if (event === "completed") for (const digest of digests ?? []) this.digests.set(...digest.split(":"));
  }

  /** Returns true if a caller of a failed transfer continues alone: the failure was about another caller's terms. */
  #goesOn(download, code) {
    const { terms } = download;
    // What was written to a stream cannot be taken back.
    return terms !== this.terms && !download.left && terms.sink.truncate !== undefined && isAboutTerms(code, this.terms, terms);
  }

  /** Why its sink is ended without all of its bytes. */
  reasonOf(error) {
    const [download] = this.#callers;
    if (this.broken) return this.broken.reason;
    return download?.left && (error.code === "cancelled" || error === this.#stopped.signal.reason) ? download.cancellation(error) : error;
  }

  complete(summary) {
    for (const download of this.#callers) {
      const own = { ...summary };
      const asked = [...new Set(download.terms.digests.map(algorithmOf))].filter((algorithm) => this.digests.has(algorithm));
      if (asked.includes("sha256")) own.sha256 = this.digests.get("sha256");
      if (asked.some((algorithm) => algorithm !== "sha256")) own.digests = asked.map((algorithm) => `${algorithm}:${this.digests.get(algorithm)}`);
      const warning = download.warningOf(this, summary.warning);
      if (warning !== undefined) own.warning = warning;
      const refusal = download.refusal(this);
      if (refusal) download.fail(refusal);
      else download.complete(own);
    }
  }

  /** Answers with the callers that go on by themselves. */
  fail(error) {
    const goOn = [];
    for (const download of this.#callers) {
      if (this.broken) download.left = this.broken;
      const wasLeft = download.left && (this.broken || error === this.#stopped.signal.reason || error.code === "cancelled");
      if (wasLeft) download.fail(download.cancellation(error.code === "cancelled" ? error : this.facts));
      else if (this.#goesOn(download, error.code)) goOn.push(download);
      else download.fail(error);
    }
    return goOn;
  }
}
