// Downloads: the idiomatic interface, the same on every platform. What differs is in `platform`:
//
//   sinkFor(to, folder)   → { path, sink }; a path names the destination
//   ledgerFor(options)    → a Ledger
//   lock(path)            → { unlock(), check()? }; throws an error with code PartLocked
//   exists(path)          → whether a finished file is there
//   newHasher(state)      → { hasher, restored }
//   whenOnline()          → a promise while there is no network, else undefined
//   redirectsByHand       → whether `fetch` shows redirects
//   maySendIfRange(url), sendNoIfRange(url)?, bootId()
import { Failed, RegripError, diskFailure, messageOf } from "./errors.js";
import { Fields } from "./fields.js";
import { Host, Job, partOf, quietly } from "./host.js";
import { fieldsOf, refuseUnknown, split, whole } from "./knobs.js";
import { needed } from "./load.js";

const ENGINE_OPTIONS = ["ledger", "fetch", "onEvent", "folder"];
const JOB_OPTIONS = ["sha256", "headers", "signal", "onEvent", "adoptPart", "expectedBytes"];
const UNFINISHED = ["queued", "downloading", "waiting", "committing"];
/** Under `rename`: `file.1.bin`, `file.2.bin` and so on. */
const MOST_NAMES = 9_999;

/** Sinks that a download of any engine writes to. */
const inUse = new WeakSet();

/** The interface on a platform. */
export function on(platform) {
  class Engine extends Downloads {
    constructor(options) {
      super(platform, options);
    }
  }

  let shared;
  function download(url, to, options = {}) {
    const [knobs, rest] = split(options);
    const { fetch, ledger, ...job } = rest;
    const own = Object.keys(knobs).length > 0 || fetch || ledger;
    const engine = own ? new Engine({ ...knobs, fetch, ledger }) : (shared ??= new Engine());
    return engine.download(url, to, job);
  }
  return { Engine, download };
}

class Downloads {
  #platform;
  #folder;
  #knobs;
  #host;
  #core;
  #network;
  /** By path. */
  #driven = new Map();
  /** Sinks that bring no name have one as long as they live, and with it what is known of their bytes. */
  #names = new WeakMap();
  #unnamed = 0;
  #sinks = new FinalizationRegistry((name) => {
    this.#host.passing.remove(name);
    this.#host.forget(name);
  });
  /** Destinations are chosen one after the other, so that no two downloads choose the same. */
  #choosing = Promise.resolve();

  constructor(platform, options = {}) {
    const [knobs, rest] = split(options);
    refuseUnknown(rest, ENGINE_OPTIONS);
    fieldsOf(knobs); // refuses what is out of range
    this.#platform = platform;
    this.#folder = rest.folder;
    this.#knobs = knobs;
    this.#network = {
      fetch: rest.fetch ?? ((...asked) => fetch(...asked)),
      timeoutMs: timeoutOf(knobs),
      whenOnline: () => platform.whenOnline(),
      redirectsByHand: platform.redirectsByHand,
      sendNoIfRange: platform.sendNoIfRange,
    };
    const ledger = rest.ledger ?? platform.ledgerFor(rest);
    this.#host = new Host({ platform, ledger, network: this.#network, onEvent: rest.onEvent });
  }

  start({ url, to, ...options }) {
    refuseUnknown(options, JOB_OPTIONS);
    const asked = {
      ...options,
      url: addressOf(url),
      headers: [...new Headers(headersOf(options.headers))],
      sha256: digestOf(options.sha256),
      expectedBytes: options.expectedBytes === undefined ? undefined : whole("expectedBytes", options.expectedBytes, 0),
      ...this.#sinkOf(to),
    };
    const known = this.#driven.get(asked.path);
    if (known?.url === asked.url) return known.join(options);
    const download = new Download(asked, this.#host.idOf(asked.path));
    if (!known) this.#driven.set(asked.path, download);
    download.run((download) => this.#run(download, asked));
    return download;
  }

  download(url, to, options = {}) {
    return this.start({ url, to, ...options }).done;
  }

  async resumeUnfinished({ headers, signal, onEvent, ...rest } = {}) {
    refuseUnknown(rest, []);
    const records = await this.#host.ledger.list();
    return records
      .filter((record) => UNFINISHED.includes(record.status) && !this.#driven.has(record.path))
      .map((record) => this.#resume(record, { headers: headers?.(record.url), signal, onEvent }));
  }

  async list() {
    const records = [...(await this.#host.ledger.list()), ...(await this.#host.passing.list())];
    return records.map(({ path, url, status, bytes, expectedBytes, attempts, restarts, code, error }) => {
      const facts = { id: this.#host.idOf(path), url: shown(url), path, status, bytes, attempts, restarts };
      if (expectedBytes !== undefined) facts.expectedBytes = expectedBytes;
      if (status === "failed") Object.assign(facts, { code, error });
      return facts;
    });
  }

  async cancel(id) {
    const download = this.#driven.get(this.#host.pathOf(id));
    if (!download) throw noSuch(id);
    download.cancel();
    await download.done.catch(() => {});
  }

  async retry(id, options = {}) {
    return this.#resume(await this.#recordOf(id), options);
  }

  async remove(id) {
    const record = await this.#recordOf(id);
    const { path } = record;
    if (this.#driven.has(path)) throw wrongState(id, record.status);
    const { sink, persistent } = this.#sinkOf(path);
    const unlock = await this.#lock({ path, sink, persistent });
    try {
      if (record.claimed) await sink.remove();
      await this.#host.ledger.remove(path);
      this.#host.forget(path);
    } finally {
      await unlock();
    }
  }

  async configure(knobs) {
    const [known, rest] = split(knobs);
    refuseUnknown(rest, []);
    const all = { ...this.#knobs, ...known };
    const fields = fieldsOf(all);
    const core = await this.#loaded();
    core.configure(fields);
    this.#knobs = all;
    this.#network.timeoutMs = timeoutOf(all);
  }

  // ---- from a job to its end ----

  #resume(record, options) {
    const sha256 = record.sha256 ?? (record.digest ? true : undefined);
    const adoptPart = record.adopt && !record.claimed;
    const { url, path: to, headerNames } = record;
    if (headerNames && !options.headers) return Download.failed(missing(record));
    return this.start({ url, to, sha256, adoptPart, ...options });
  }

  async #run(download, asked) {
    try {
      asked.signal?.throwIfAborted();
      // Without a network it can take any time.
      const core = await unlessAborted(this.#loaded(), asked.signal);
      const { job, unlock } = await this.#inTurn(() => this.#begin(download, asked));
      try {
        download.stopBy = () => core.cancel(job.id);
        return await this.#drive(core, job, asked);
      } finally {
        await job.settled();
        this.#host.jobs.delete(job.path);
        if (!job.ofUse) this.#host.forget(job.path);
        await unlock();
      }
    } finally {
      for (const path of [asked.path, download.path]) {
        if (this.#driven.get(path) === download) this.#driven.delete(path);
      }
    }
  }

  /** Chooses the destination and makes it this download's own. */
  async #begin(download, asked) {
    asked.signal?.throwIfAborted();
    const chosen = this.#knobs.onExists === "rename" ? await this.#freeName(asked, download) : asked;
    const { path, sink, persistent } = chosen;
    const { jobs, ledger, passing } = this.#host;
    const busy = this.#busy(path, download);
    if (busy) throw destinationBusy(path, busy.id, busy.url);
    for (const other of jobs.values()) {
      const same = String(other.headers) === String(asked.headers);
      if (other.url === asked.url && !same) throw new TypeError("the same URL is being downloaded with other headers");
    }
    const unlock = await this.#lock(chosen, asked, download);
    try {
      const job = new Job({
        id: this.#host.idOf(path),
        url: asked.url,
        shownUrl: shown(asked.url),
        path,
        sink,
        headers: asked.headers,
        wantsDigest: asked.sha256 !== undefined,
        ledger: persistent ? ledger : passing,
        platform: this.#platform,
        listeners: [(event) => download.tell(event)],
      });
      const there = this.#knobs.onExists === "fail" && persistent && (await this.#platform.exists(path));
      if (there && !(await job.ledger.load(path))) {
        throw new RegripError(`${path} exists already`, { code: "DestinationExists", class: "permanent" });
      }
      download.id = job.id;
      download.path = path;
      jobs.set(path, job);
      this.#driven.set(path, download);
      return { job, unlock };
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  async #drive(core, job, { sha256, adoptPart, expectedBytes, signal, sink }) {
    const failure = await core.run(
      new Fields({
        url: job.url,
        path: job.path,
        part: partOf(job.path),
        onExists: this.#knobs.onExists ?? "overwrite",
        adopt: Boolean(adoptPart),
        releaseBytes: expectedBytes,
        sha256,
      }),
    );
    if (!failure) {
      const { bytes, attempts, restarts, sha256, warning } = job.ended;
      const summary = { id: job.id, url: job.shownUrl, path: job.path, bytes, attempts, restarts };
      if (sha256 !== undefined) summary.sha256 = sha256;
      if (warning !== undefined) summary.warning = warning;
      return summary;
    }
    const error = errorOf(failure.all, job, signal);
    await sink.abandon?.(error).catch(() => {});
    throw error;
  }

  /** Resolves to what unlocks it. */
  async #lock({ path, sink, persistent }, asked, download) {
    try {
      if (inUse.has(sink)) throw Object.assign(new Error(`${path} is being written by another download of this process`), { code: "PartLocked" });
      inUse.add(sink);
      try {
        const lock = persistent ? await this.#platform.lock(path) : undefined;
        sink.lockedBy?.(lock);
        return async () => {
          sink.lockedBy?.();
          inUse.delete(sink);
          await lock?.unlock();
        };
      } catch (error) {
        inUse.delete(sink);
        throw error;
      }
    } catch (error) {
      const code = error.code === "PartLocked" ? "PartLocked" : diskFailure("lock", partOf(path), error).code;
      const locked = new RegripError(messageOf(error), {
        code,
        class: code === "TooManyFiles" ? "transient" : "permanent",
        cause: error,
        advice: code === "PartLocked" ? (error.advice ?? "wait for the other one to end, or stop it; the bytes are kept") : undefined,
      });
      if (download) this.#tellFailed(download, asked, path, locked);
      throw locked;
    }
  }

  /** The last word on a download that the core never saw. */
  #tellFailed(download, { url }, path, error) {
    const { code, class: itsClass, message, advice } = error;
    const about = { event: "failed", id: this.#host.idOf(path), at: Date.now(), url: shown(url), path };
    const event = { ...about, bytes: 0, attempts: 0, restarts: 0, class: itsClass, code, error: message, advice };
    quietly(this.#host.onEvent, event);
    download.tell(event);
  }

  /** Another download that has this destination. */
  #busy(path, download) {
    const other = this.#driven.get(path);
    return other === download ? undefined : other;
  }

  #inTurn(work) {
    const turn = this.#choosing.then(work);
    this.#choosing = turn.then(
      () => {},
      () => {},
    );
    return turn;
  }

  /** The first name that is free, or has an earlier try of the same download. */
  async #freeName(asked, download) {
    if (!asked.persistent) return asked;
    for (let number = 0; number <= MOST_NAMES; number++) {
      const chosen = number === 0 ? asked : this.#sinkOf(numbered(asked.path, number));
      if (this.#busy(chosen.path, download)) continue;
      const record = await this.#host.ledger.load(chosen.path);
      if (record ? record.url === asked.url : !(await this.#platform.exists(chosen.path))) return chosen;
    }
    throw new RegripError(`${asked.path} exists already`, { code: "DestinationExists", class: "permanent" });
  }

  #sinkOf(to) {
    const { path, sink } = this.#platform.sinkFor(to, this.#folder);
    if (path !== undefined) return { path, sink, persistent: true };
    if (sink?.size === undefined || sink.write === undefined) throw new TypeError("there is nothing to download to: a name, or an object with size() and write()");
    const persistent = Boolean(sink.persistent);
    if (persistent && !(sink.name && sink.flush)) throw new TypeError("a persistent sink has a name and flush()");
    if (sink.name !== undefined) return { path: sink.name, sink, persistent };
    if (!this.#names.has(sink)) {
      const name = `sink ${++this.#unnamed}`;
      this.#names.set(sink, name);
      this.#sinks.register(sink, name);
    }
    return { path: this.#names.get(sink), sink, persistent };
  }

  async #recordOf(id) {
    const path = this.#host.pathOf(id);
    const record = path === undefined ? undefined : await this.#host.ledger.load(path);
    if (!record) throw noSuch(id);
    return { ...record, path };
  }

  async #loaded() {
    const core = await needed();
    this.#core ??= new core.Core(fieldsOf(this.#knobs), this.#host);
    return this.#core;
  }
}

/** A download under way. */
class Download {
  done;
  id;
  path;
  /** Asks the core to end it. */
  stopBy;
  #asked;
  #listeners;
  #signals = [];
  #cancelled = false;
  #accepted = false;
  /** Events that nobody has iterated over yet. */
  #early = [];
  #iterators = new Set();

  constructor(asked, id) {
    this.#asked = asked;
    this.id = id;
    this.#listeners = asked.onEvent ? [asked.onEvent] : [];
  }

  static failed(error) {
    const download = new Download({ url: "" });
    download.run(() => Promise.reject(error));
    return download;
  }

  get url() {
    return this.#asked.url;
  }

  run(work) {
    this.#stopAt(this.#asked.signal);
    this.done = work(this)
      .catch((error) => {
        throw error === this.#asked.signal?.reason ? cancelled(error) : error;
      })
      .finally(() => this.#end());
    this.done.catch(() => {}); // nobody has to wait for it
  }

  /** Asked for once more while it is under way. */
  join({ signal, onEvent }) {
    if (onEvent) this.#listeners.push(onEvent);
    this.#stopAt(signal);
    return this;
  }

  cancel() {
    this.#cancelled = true;
    this.#stop();
  }

  tell(event) {
    if (event.event === "queued") {
      this.#accepted = true;
      // The core drives it as soon as it has told this.
      if (this.#cancelled) queueMicrotask(() => this.#stop());
    }
    for (const listener of this.#listeners) quietly(listener, event);
    if (this.#early) enqueue(this.#early, event);
    for (const iterator of this.#iterators) iterator.push(event);
  }

  async *[Symbol.asyncIterator]() {
    const events = this.#early ?? [];
    this.#early = undefined;
    const iterator = { push: (event) => (enqueue(events, event), wake()), wake: () => wake() };
    let wake = () => {};
    let over = false;
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

  #stop() {
    // Where it is too late, the download ends by itself.
    if (this.#accepted) this.stopBy?.();
  }

  #stopAt(signal) {
    if (!signal) return;
    const stop = () => this.cancel();
    signal.addEventListener("abort", stop, { once: true });
    this.#signals.push([signal, stop]);
    if (signal.aborted) stop();
  }

  #end() {
    for (const [signal, stop] of this.#signals) signal.removeEventListener("abort", stop);
  }
}

/** What is promised, or the reason of the signal where that comes first. It takes as long without one: who came first stays first. */
function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal?.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).then(() => signal?.removeEventListener("abort", abort));
  });
}

/** Nobody needs a progress that has been overtaken. */
function enqueue(events, event) {
  if (event.event === "progress" && events.at(-1)?.event === "progress") events.pop();
  events.push(event);
}

// ---- what a caller gave ----

/** In its normal form, as the core compares it; a fragment is no part of it. */
function addressOf(url) {
  const address = new URL(url, globalThis.location?.href);
  if (address.protocol !== "http:" && address.protocol !== "https:") throw new TypeError(`${address.protocol} is not downloaded: http and https are`);
  if (address.username || address.password) throw new TypeError("a URL with a user name or password is refused: give a header instead");
  address.hash = "";
  return address.href;
}

function headersOf(headers) {
  if (headers === undefined) return undefined;
  return Symbol.iterator in headers ? [...headers].map(([name, value]) => [name, value]) : headers;
}

function digestOf(sha256) {
  if (sha256 === undefined || sha256 === false) return undefined;
  if (sha256 === true) return true;
  if (typeof sha256 === "string" && /^[0-9a-f]{64}$/i.test(sha256)) return sha256.toLowerCase();
  throw new TypeError("sha256 is neither 64 hex digits nor true");
}

function timeoutOf({ connectTimeoutMs = 30_000, headersTimeoutMs = 60_000 }) {
  return connectTimeoutMs + headersTimeoutMs;
}

/** `film.mkv` → `film.1.mkv`. */
function numbered(path, number) {
  const slash = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  const dot = path.lastIndexOf(".");
  return dot > slash + 1 ? `${path.slice(0, dot)}.${number}${path.slice(dot)}` : `${path}.${number}`;
}

/** A URL as it may be shown: its query may hold secrets. */
const shown = (url) => url.replace(/[?#].*$/s, "");

// ---- errors ----

function errorOf({ code, class: itsClass, message, advice, status, retryAfterMs }, job, signal) {
  const isCancelled = code === "cancelled";
  const { attempts = 0, restarts, bytes } = job.ended ?? {};
  return new RegripError(message, {
    name: isCancelled ? "AbortError" : undefined,
    cause: isCancelled ? signal?.reason : job.cause,
    code,
    class: itsClass,
    attempts,
    restarts,
    bytes,
    advice,
    status,
    retryAfterMs,
  });
}

const cancelled = (cause) => new RegripError("cancelled", { name: "AbortError", code: "cancelled", class: "permanent", cause });

const noSuch = (id) => new RegripError(`there is no download ${id}`, { code: "NoSuchDownload", class: "permanent" });

const wrongState = (id, status) => new RegripError(`download ${id} is ${status}`, { code: "WrongState", class: "permanent" });

function destinationBusy(path, id, url) {
  const message = `${path} is the destination of download ${id} from ${shown(url)}`;
  return new RegripError(message, { code: "DestinationBusy", class: "permanent" });
}

function missing({ headerNames, attempts, restarts, bytes }) {
  const message = `the download needs credentials that are not kept: ${headerNames}`;
  return new RegripError(message, { code: "CredentialsMissing", class: "permanent", attempts, restarts, bytes });
}
