// The host: everything the module asks for, of one object. Nothing of it throws into the module.
import { Failed, messageOf } from "./errors.js";
import { Fields } from "./fields.js";
import { PassingLedger } from "./ledgers/passing.js";
import { Line } from "./line.js";
import { Part } from "./part.js";
import { Request, crossing } from "./request.js";
import { isRecord, shown, withDigestRows } from "./terms.js";

/** What sets a URL apart from the same one for another destination: a fragment, which no request and no record has. */
const marked = (url, id) => `${url}#${id}`;
const unmarked = (url) => url.replace(/#\d+$/, "");
const markOf = (url) => Number(/#(\d+)$/.exec(url)[1]);

export class Host {
  /** The downloads under way, by path. */
  jobs = new Map();
  /** Records of sinks whose bytes do not outlive this process. */
  passing = new PassingLedger();
  #ids = new Map();
  #lastId = 0;

  /** `network`: see `request.js`; `permits`: returns their number. */
  constructor({ platform, ledger, network, onEvent, permits }) {
    this.line = new Line(permits);
    this.platform = platform;
    this.ledger = ledger;
    this.network = network;
    this.onEvent = onEvent;
  }

  // ---- asked by the module, by `heldWeakly` ----

  tell({ all: event }) {
    if (event.digests) event.digests = event.digests.split(" ");
    const job = this.jobs.get(event.path);
    if (job) this.line.note(job, event);
    if (event.event === "completed" && job?.warning !== undefined) event.warning = job.warning;
    if (event.event === "failed" && job?.sources.mayFollow(event.code)) job.held = event;
    else if (event.event === "cancelled" && job?.transfer.paused) this.#tellPaused(job, event);
    else this.pass(job, event);
  }

  #tellPaused(job, { bytes }) {
    job.transfer.facts.bytes = bytes;
    this.pass(job, job.event("waiting", { why: "paused" }));
  }

  /** Gives an event to all who listen. */
  pass(job, event) {
    quietly(this.onEvent, event);
    job?.tell(event);
  }

  /** A promise of a download's turn; undefined if it is its turn now. */
  turn(id) {
    const job = this.jobs.get(this.pathOf(id));
    return job && this.line.enter(job);
  }

  maySendIfRange(url) {
    return this.platform.maySendIfRange(unmarked(url));
  }

  request(url, first, last, ifRange) {
    const job = this.jobs.get(this.pathOf(markOf(url)));
    return new Request(job, this.network, unmarked(url), first, last, ifRange);
  }

  part(name) {
    for (const job of this.jobs.values()) if (job.partName === name) return job.part;
  }

  idOf(path) {
    if (!this.#ids.has(path)) this.#ids.set(path, ++this.#lastId);
    return this.#ids.get(path);
  }

  async load(path) {
    const job = this.jobs.get(path);
    job.record = await guarded(job, "reading a record", async () => {
      const record = (await job.ledger.load(path)) ?? undefined;
      if (record !== undefined && !isRecord(record)) throw new Error(`what is recorded for ${path} is no record of regrip`);
      return record && { ...record, path, part: job.partName };
    });
    if (job.record?.committingInode !== undefined) {
      // As earlier versions wrote it.
      const { committingDevice, committingInode, ...record } = job.record;
      job.record = { ...record, committingToken: `${committingDevice}:${committingInode}` };
    }
    if (job.record && job.record.digests === undefined) job.record = withDigestRows(job.record);
    const missing = job.missing();
    if (missing.length > 0) throw new Failed("CredentialsMissing", { what: missing.join(", ") });
    return job.record && new Fields({ ...job.record, url: marked(job.record.url, job.id) });
  }

  save({ all: record }) {
    const job = this.jobs.get(record.path);
    record.url = unmarked(record.url);
    // The core is run again when the download is resumed.
    if (record.status === "cancelled" && job.transfer.paused) record.status = "paused";
    if (job.mirrors.length > 0) record.mirrors = job.mirrors.map(({ url }) => url);
    if (job.ownSink) record.ownSink = true;
    if (job.headerNames.length > 0) record.headerNames = job.headerNames.join(",");
    job.record = record;
    return this.keep(job, record);
  }

  /** Saves a record, or removes one that is of no more use. */
  keep(job, record) {
    const { ledger } = job;
    const ended = record.status === "failed" || record.status === "cancelled";
    job.ofUse = !(record.status === "completed" || (ended && !record.claimed));
    if (!job.ofUse) {
      return job.inTurn("removing a record", () => ledger.remove(record.path));
    }
    return job.inTurn("recording", () => ledger.save(record.path, record));
  }

  // ---- asked by `regrip.js` ----

  /** Nothing is known of this path any more. */
  forget(path) {
    this.#ids.delete(path);
    this.passing.forget(path);
  }

  pathOf(id) {
    for (const [path, of] of this.#ids) if (of === id) return path;
  }
}

/** What the module may ask of a host. */
const ASKED = ["tell", "turn", "maySendIfRange", "request", "part", "idOf", "load", "save"];

/**
 * A host as the module holds it, which the garbage collector cannot look into: so it keeps no engine alive that nobody else does.
 * While a download is driven, who waits for the module's promise has the host.
 */
export function heldWeakly(host) {
  const held = new WeakRef(host);
  const asked = ASKED.map((name) => [name, (...given) => held.deref()?.[name](...given)]);
  return { ...Object.fromEntries(asked), fields: () => new Fields() };
}

/** A download under way, as the host knows it. */
export class Job {
  /** The last event. */
  ended;
  record;
  /** The event of a failure, until it is known that there is no other source. */
  held;
  /** Where it continues after an error of its source. */
  sources;
  /** What its sink returned from `commit`, unless it is a file. */
  warning;
  /** True if its URL is no longer the one that it began with. */
  moved = false;
  /** True if its record is worth keeping. */
  ofUse = true;
  /** What was thrown last on this side, by the code that the core was given for it. */
  #causes = new Map();
  #recording;
  /** That of a user in the URL of another source. */
  #authorization;

  /** `isFile`: its sink writes what a path or name stands for. */
  constructor({ transfer, chosen, partName, ledger, platform, isFile }) {
    const { id, url, path, terms } = transfer;
    Object.assign(this, { transfer, id, url, path, partName, ledger, platform, call: transfer.call });
    this.ownSink = Boolean(chosen.own);
    this.isFile = isFile;
    this.part = new Part(this, chosen.sink, partName);
  }

  /** As the core knows it. */
  get markedUrl() {
    return marked(this.url, this.id);
  }

  get shownUrl() {
    return shown(this.url);
  }

  get headers() {
    return this.transfer.headers;
  }

  get mirrors() {
    return this.transfer.terms.mirrors;
  }

  get priority() {
    return this.transfer.terms.priority;
  }

  /** What is sent to its present URL. Another origin than the one that was asked for gets no secret of that one. */
  get headersSent() {
    const own = new Headers(this.headers);
    const isOwn = this.url === this.transfer.url || new URL(this.url).origin === new URL(this.transfer.url).origin;
    const headers = isOwn ? own : crossing(own);
    if (this.#authorization !== undefined) headers.set("authorization", this.#authorization);
    return headers;
  }

  /** It continues from another source. */
  moveTo({ url, authorization }) {
    this.url = url;
    this.moved = true;
    this.#authorization = authorization;
    this.held = undefined;
  }

  event(event, facts) {
    return { event, id: this.id, at: Date.now(), url: this.shownUrl, path: this.path, ...facts };
  }

  tell(event) {
    if (event.event === "completed" || event.event === "failed" || event.event === "cancelled") this.ended = event;
    this.transfer.tell(event);
  }

  /** It waits for something that no clock knows. */
  waits(why) {
    this.tell(this.event("waiting", { why }));
  }

  failed(failure) {
    // The query of its URL may be in a text by itself.
    const [query] = /\?[^#]+/.exec(this.url) ?? [];
    if (query !== undefined) failure.message = failure.message.replaceAll(query, "");
    this.#causes.set(failure.code, failure.cause);
    return failure;
  }

  /** What was thrown on this side for an error with this code. */
  causeOf(code) {
    return this.#causes.get(code);
  }

  get headerNames() {
    return this.headers.map(([name]) => name);
  }

  /** Names of the headers that its bytes were fetched with and that it is not asked for with again. */
  missing() {
    const { url, bytes, headerNames } = this.record ?? {};
    if (url !== this.url || !bytes || !headerNames) return [];
    return headerNames.split(",").filter((name) => !this.headerNames.includes(name));
  }

  /** Calls its ledger after the running call, even if nobody awaits that one any more. */
  inTurn(what, work) {
    const answer = this.#recording ? guarded(this, what, () => this.#recording.then(work)) : guarded(this, what, work);
    if (!answer) return undefined;
    const over = () => {
      if (this.#recording === recording) this.#recording = undefined;
    };
    const recording = answer.then(over, over);
    this.#recording = recording;
    return answer;
  }

  /** Resolves once nothing of it is under way any more. */
  async settled() {
    while (this.#recording) await this.#recording;
    await this.part.settled();
  }

  newHasher(algorithm, state) {
    return this.platform.newHasher(algorithm, state);
  }
}

/** Calls a listener; what it throws, or rejects with, is its own matter. */
export function quietly(listener, event) {
  try {
    const answer = listener?.(event);
    if (typeof answer?.then === "function") answer.then(undefined, () => {});
  } catch {
    // ignored, as the types say
  }
}

/** Calls a ledger, synchronously if the ledger answers synchronously. */
function guarded(job, what, work) {
  const failed = (error) => Promise.reject(job.failed(new Failed("Ledger", { what, message: messageOf(error), cause: error })));
  try {
    const answer = work();
    return answer?.then ? Promise.resolve(answer).catch(failed) : undefined;
  } catch (error) {
    return failed(error);
  }
}
