// Downloads: the idiomatic interface, the same on every platform. What differs is in `platform`:
//
//   sinkFor(to, folder)   → { path, sink }; a path names the destination
//   ledgerFor(options)    → a Ledger
//   lock(path, folder)    → { unlock(), check()? }; throws an error with code PartLocked
//   exists(path)          → whether a finished file is there
//   newHasher(algorithm, state) → { hasher, restored }
//   places                → what `to` may be, for an error
//   isFile(sink)          → whether it writes what a path or name stands for
//   partOf(path)?         → the name of its part; else with `.part`
//   beside(path)          → the names of its part and of what belongs to that
//   whenOnline()          → a promise while there is no network, else undefined
//   redirectsByHand       → whether `fetch` shows redirects
//   cookies?              → the cookies of the process, for a `fetch` that keeps none
//   addsIdentity          → whether `fetch` adds `accept-encoding: identity` to a range by itself
//   maySendIfRange(url), sendNoIfRange(url)?, bootId()
import { unlessAborted } from "./abort.js";
import { found, isUrl, optional, refuseUnknown, signalGiven } from "./checks.js";
import { claim, meeting } from "./claims.js";
import { Download } from "./download.js";
import { RegripError, cancelled, diskFailure, failureEvent, messageOf, refusalCode } from "./errors.js";
import { resumableFetchBy } from "./fetch.js";
import { Fields } from "./fields.js";
import { Host, Job, heldWeakly, quietly } from "./host.js";
import { fieldsOf, split } from "./options.js";
import { needed } from "./load.js";
import { Sources } from "./sources.js";
import { digestsOf, isRecord, names, rowsOf, shown, termsOf } from "./terms.js";
import { Transfer } from "./transfer.js";

const ENGINE_OPTIONS = ["ledger", "fetch", "onEvent", "folder"];
const UNFINISHED = ["queued", "downloading", "waiting", "committing"];
/** What a paused download takes anew from the call that resumes it, for all of its callers. */
const CHANGED_BY_RESUME = ["priority", "mirrors", "onExpired", "expectedBytes", "adoptPart"];
/** Under `rename`: `file.1.bin`, `file.2.bin` and so on. */
const MOST_NAMES = 9_999;

/** Sinks that a download of any engine writes to. */
const inUse = new WeakSet();

/** The end of a name that may be kept for partial data. */
const BESIDE = /\.(part|lock)(\.json)?(\.new){0,2}$/;
const AFTER_NAME = /\.part(\.json|\.lock)?(\.new){0,2}$/;

/** Returns true if an engine is fetching a URL to a place at this moment. */
const fetches = Symbol("fetches");

/** The interface on a platform. */
export function on(platform) {
  class Engine extends Downloads {
    constructor(options) {
      super(platform, options);
    }
  }
  return { Engine, download: downloadBy(Engine), resumableFetch: resumableFetchBy(Engine, platform) };
}

/** One call, one file. Calls with the same options share an engine, and so do calls for the same file at the same time. */
function downloadBy(Engine) {
  /** `{ engine, options, fetch, ledger, calls }`; those with something of their own are forgotten when their last call is over. */
  const engines = [];
  return (url, to, options = {}) => {
    const [own, { fetch, ledger, ...job }] = split(options);
    fieldsOf(own); // refuses what is out of range, or cannot be compared below
    const text = JSON.stringify(Object.entries(own).sort());
    const alike = engines.filter((other) => other.fetch === fetch && other.ledger === ledger);
    let entry = alike.find(({ engine }) => engine[fetches](url, to)) ?? alike.find(({ options }) => options === text);
    if (!entry) engines.push((entry = { engine: new Engine({ ...own, fetch, ledger }), options: text, fetch, ledger, calls: 0 }));
    entry.calls++;
    const over = () => {
      const lasts = entry.options === "[]" && !fetch && !ledger;
      if (--entry.calls === 0 && !lasts) engines.splice(engines.indexOf(entry), 1);
    };
    try {
      const done = entry.engine.download(url, to, job);
      done.then(over, over);
      return done;
    } catch (error) {
      over();
      throw error;
    }
  };
}

class Downloads {
  #platform;
  #folder;
  #options;
  #host;
  #core;
  #network;
  /** Transfers by path. */
  #driven = new Map();
  /** Sinks that bring no name have one as long as they live, and with it what is known of their bytes. */
  #names = new WeakMap();
  #unnamed = 0;
  #calls = 0;
  #sinks = new FinalizationRegistry((name) => {
    this.#host.forget(name);
  });
  /** Destinations are chosen one after the other, so that no two downloads choose the same. */
  #choosing = Promise.resolve();

  constructor(platform, options = {}) {
    const [ofEngine, rest] = split(options);
    refuseUnknown(rest, ENGINE_OPTIONS);
    fieldsOf(ofEngine); // refuses what is out of range
    for (const name of ["fetch", "onEvent"]) optional(name, rest[name], "function");
    ledgerGiven(rest.ledger);
    this.#platform = platform;
    this.#folder = rest.folder;
    this.#options = ofEngine;
    const own = rest.fetch !== undefined && rest.fetch !== globalThis.fetch;
    this.#network = {
      fetch: own ? rest.fetch : (...asked) => fetch(...asked),
      ownFetch: own,
      timeoutMs: timeoutOf(ofEngine),
      whenOnline: () => platform.whenOnline(),
      redirectsByHand: platform.redirectsByHand,
      cookies: platform.cookies,
      sendNoIfRange: platform.sendNoIfRange,
      addsIdentity: !own && platform.addsIdentity,
    };
    const ledger = rest.ledger ?? platform.ledgerFor(rest);
    this.#host = new Host({ platform, ledger, network: this.#network, onEvent: rest.onEvent, permits: () => this.#options.maxConcurrentDownloads ?? 3 });
  }

  start(given) {
    refuseOdd(given, "job");
    const { to, ...job } = given;
    const record = to === undefined && typeof job.path === "string" && typeof job.url === "string";
    if (record && job.ownSink) return Download.failed(ownSink(job.path));
    const terms = { ...(record ? fromListed(job) : termsOf(job)), ...this.#sinkOf(record ? job.path : to) };
    return this.#enter(new Download(terms));
  }

  download(url, to, options = {}) {
    refuseOdd(options);
    return this.start({ url, to, ...options }).done;
  }

  async resumeUnfinished(options = {}) {
    refuseUnknown(options, ["headers", "signal", "onEvent", "onExpired"]);
    const { headers, ...job } = options;
    optional("headers", headers, "function");
    for (const name of ["onEvent", "onExpired"]) optional(name, job[name], "function");
    signalGiven(job.signal);
    const records = await this.#records(this.#host.ledger);
    const unfinished = records.filter((record) => UNFINISHED.includes(record.status) && !this.#driven.has(record.path));
    return unfinished.map((record) => {
      const { path, url } = record;
      try {
        return this.#resume(record, { headers: headers?.(url), ...job });
      } catch (error) {
        return Download.failed(error, { id: this.#host.idOf(path), path });
      }
    });
  }

  async list() {
    const { ledger, passing: sinks, jobs } = this.#host;
    const records = new Map((await this.#records(ledger)).map((record) => [record.path, record]));
    // A ledger need not see what this engine is writing.
    for (const { record, path, ledger: its } of jobs.values()) if (record && its === ledger) records.set(path, record);
    const lasting = [...records.values()].map(async (record) => this.#listed(record, await this.#lengthOf(record)));
    const passing = (await sinks.list()).map((record) => this.#listed(record));
    return Promise.all([...lasting, ...passing]);
  }

  /** Anything else in a ledger is an error of the download whose record it should be. */
  async #records(ledger) {
    return (await ledger.list()).filter((record) => isRecord(record) && typeof record.path === "string");
  }

  /** The length of a part that no transfer of this engine writes. */
  async #lengthOf({ path, ownSink }) {
    if (ownSink || this.#driven.has(path)) return undefined;
    return this.#sinkOf(path).sink.length?.().catch(() => {});
  }

  #listed({ path, url, status, bytes, expectedBytes, attempts, restarts, code, error, headerNames, ownSink }, length) {
    const driven = this.#driven.get(path)?.facts;
    const moved = driven?.attempts > 0 ? driven.bytes : bytes;
    const facts = { id: this.#host.idOf(path), url: shown(url), path, status, bytes: length ?? moved, attempts, restarts };
    if (expectedBytes !== undefined) facts.expectedBytes = expectedBytes;
    if (headerNames) facts.headerNames = headerNames.split(",");
    if (ownSink) facts.ownSink = true;
    if (status === "failed") Object.assign(facts, { code, error });
    return facts;
  }

  async cancel(id) {
    const transfer = this.#driven.get(this.#host.pathOf(id));
    if (!transfer) throw noSuch(id);
    transfer.cancel();
    await transfer.over;
  }

  async retry(id, options = {}) {
    refuseOdd(options);
    return this.#resume(await this.#recordOf(id), options);
  }

  /** Has a download that runs, or each of them, give its permit back and wait until it is resumed. */
  async pause(id) {
    const transfers = id === undefined ? [...this.#driven.values()] : [this.#driven.get(this.#host.pathOf(id))];
    for (const transfer of transfers) {
      if (!transfer) throw noSuch(id);
      if (!transfer.pause() && id !== undefined) throw wrongState(id, "committing");
    }
  }

  async resume(id, options = {}) {
    refuseOdd(options);
    const paused = [...this.#driven.values()].filter((transfer) => transfer.paused?.isOver === false && (id === undefined || transfer.id === id));
    if (id !== undefined && paused.length === 0) return this.retry(id, options);
    const downloads = paused.map((transfer) => this.#join(transfer, options));
    return id === undefined ? downloads : downloads[0];
  }

  /** Continues a paused download, for those who wait for it and for a new caller, with what that one gives anew. */
  #join(transfer, { url, to, ...options }) {
    const { terms, path } = transfer;
    const asked = termsOf({ url: url ?? transfer.url, ...options });
    const moves = !names(asked.url, transfer.url);
    const isAtHome = new URL(asked.url).origin === new URL(transfer.url).origin;
    if (options.headers === undefined && asked.headers.length === 0 && isAtHome) asked.headers = transfer.headers;
    const download = new Download({ ...terms, ...asked, url: moves ? asked.url : terms.url });

    const destination = to === undefined ? terms : this.#sinkOf(to);
    const conflict = transfer.conflict(asked);
    if (!isSameDestination(terms, destination) || ![terms.path, path].includes(destination.path)) download.fail(destinationBusy(path, transfer.id, transfer.url));
    else if (conflict) download.fail(digestConflict(...conflict));
    else if (asked.signal?.aborted) {
      download.left = { reason: asked.signal.reason };
      download.fail(download.cancellation(transfer.facts));
    } else {
      const given = Object.keys(options).filter((name) => options[name] !== undefined && CHANGED_BY_RESUME.includes(name));
      for (const name of given) terms[name] = asked[name];
      this.#host.jobs.get(path)?.sources.change(terms);
      if (moves) transfer.next = asked;
      transfer.add(download);
      transfer.resume();
    }
    return download;
  }

  async remove(id) {
    const record = await this.#recordOf(id);
    const { path } = record;
    if (this.#driven.has(path)) throw wrongState(id, record.status);
    // The bytes in a sink of the program's own are not ours to remove, and a file of that name is another one's.
    const sink = record.ownSink ? {} : this.#sinkOf(path).sink;
    const unlock = await this.#lock({ path, sink, persistent: true });
    try {
      if (record.claimed && !record.ownSink) await sink.remove();
      await this.#host.ledger.remove(path);
      this.#host.forget(path);
    } finally {
      await unlock();
    }
  }

  async configure(options) {
    const [known, rest] = split(options);
    refuseUnknown(rest, []);
    const all = { ...this.#options, ...known };
    const fields = fieldsOf(all);
    const core = await this.#loaded();
    core.configure(fields);
    this.#options = all;
    this.#network.timeoutMs = timeoutOf(all);
  }

  /** Returns true if a call for this would join a running download. */
  [fetches](url, to) {
    if (typeof to === "string" || isUrl(to)) {
      const known = this.#driven.get(this.#sinkOf(to).path);
      return known?.terms.made && URL.canParse(url) && names(termsOf({ url }).url, known.url);
    }
    return [...this.#driven.values()].some(({ terms }) => terms.sink === to);
  }

  // ---- from a job to its end ----

  #resume(record, { url, to, ...options }) {
    const { headerNames, path } = record;
    if (options.mirrors === undefined && record.mirrors) options.mirrors = record.mirrors;
    if (headerNames && !options.headers) return Download.failed(missing(record));
    if (record.ownSink && to === undefined) return Download.failed(ownSink(path));
    const destination = this.#sinkOf(to ?? path);
    const terms = termsOf({ ...resumedBy(record, options), url: url ?? record.url, ...options });
    return this.#enter(new Download({ ...terms, ...destination, isNamed: destination.path === path }));
  }

  /** Has a caller wait for the transfer of its file, which is started unless it is under way. */
  #enter(download) {
    const { terms } = download;
    if (terms.signal?.aborted) {
      download.left = { reason: terms.signal.reason };
      const reason = download.cancellation();
      if (!inUse.has(terms.sink)) terms.sink.abandon?.(reason).catch(() => {});
      download.fail(reason);
      return download;
    }
    const known = this.#driven.get(terms.path);
    const same = known !== undefined && isSameDestination(known.terms, terms) && names(terms.url, known.url);
    if (same && known.admits(terms)) {
      const conflict = known.conflict(terms);
      if (conflict === undefined) {
        known.add(download);
        known.resume();
      } else download.fail(digestConflict(...conflict));
      return download;
    }
    const transfer = new Transfer(terms, this.#host.idOf(terms.path), same ? known.over : undefined);
    transfer.call = ++this.#calls;
    if (!known || same) this.#driven.set(terms.path, transfer);
    transfer.add(download);
    transfer.over = this.#run(transfer);
    return download;
  }

  /** Never rejects. */
  async #run(transfer) {
    let again = [];
    try {
      const summary = await this.#fetched(transfer);
      this.#letGo(transfer);
      transfer.complete(summary);
    } catch (error) {
      this.#letGo(transfer);
      const { sink } = transfer.terms;
      // One that another download writes is that one's.
      if (!transfer.begun && !inUse.has(sink) && error.code !== "DestinationBusy") await abandon(sink, transfer.reasonOf(error));
      again = transfer.fail(error);
    }
    for (const download of again) this.#enter(download);
  }

  #letGo(transfer) {
    for (const path of [transfer.terms.path, transfer.path]) {
      if (this.#driven.get(path) === transfer) this.#driven.delete(path);
    }
  }

  async #fetched(transfer) {
    const { stopped, terms } = transfer;
    await unlessAborted(transfer.predecessor, stopped);
    // Without a network it can take any time.
    const core = await unlessAborted(this.#loaded(), stopped);
    const { job, unlock } = await this.#inTurn(() => this.#begin(transfer, terms));
    transfer.begun = true;
    try {
      transfer.stopBy = () => this.#stop(core, job);
      return await this.#drive(core, job, terms);
    } finally {
      this.#host.line.leave(job);
      await job.settled();
      this.#host.jobs.delete(job.path);
      if (!job.ofUse) this.#host.forget(job.path);
      await unlock();
    }
  }

  /** Chooses the destination and makes it this transfer's own. */
  async #begin(transfer, terms) {
    transfer.stopped.throwIfAborted();
    // One that goes on has a name, also from another URL.
    const chosen = this.#options.onExists === "rename" && !terms.isNamed ? await this.#freeName(terms, transfer) : terms;
    const busy = this.#busy(chosen.path, transfer);
    if (busy) throw destinationBusy(chosen.path, busy.id, busy.url);
    await this.#admit(chosen, transfer);
    const release = await this.#claim(chosen, transfer);
    try {
      const unlock = await this.#lock(chosen, transfer);
      try {
        const unclaim = () => unlock().finally(release);
        return { job: await this.#jobOf(transfer, chosen), unlock: unclaim };
      } catch (error) {
        await unlock();
        throw error;
      }
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Takes the destination and the names beside it, unless one of them is the other kind of name of another download. */
  async #claim(chosen, transfer) {
    const unfinished = await this.#keptFor(chosen);
    const names = this.#besides(chosen);
    const met = meeting(chosen.path, names);
    if (!unfinished && !met) return claim(chosen.path, names);
    const refused = met
      ? kept(met.name, met.path, met.path === chosen.path ? "and the destination of another download" : "which is being downloaded")
      : kept(chosen.path, unfinished, "whose download is unfinished");
    this.#tellFailed(transfer, chosen.path, refused);
    throw refused;
  }

  #besides({ path, sink, persistent }) {
    return persistent && this.#platform.isFile(sink) ? this.#platform.beside(path) : [];
  }

  /** The unfinished download that keeps this name for its partial data. */
  async #keptFor({ path, sink, persistent }) {
    if (!persistent || !this.#platform.isFile(sink) || !BESIDE.test(path)) return undefined;
    const { ledger } = this.#host;
    const listed = await Promise.resolve().then(() => this.#records(ledger)).catch(() => []);
    for (const other of [path.replace(AFTER_NAME, ""), ...listed.map((record) => record.path)]) {
      if (!other || other === path || !this.#platform.beside(other).includes(path)) continue;
      const record = await Promise.resolve(other).then((other) => ledger.load(other)).catch(() => {});
      if (isRecord(record) && !record.ownSink) return other;
    }
    return undefined;
  }

  /** Refuses what no file can be, before anything is asked of the server. */
  async #admit({ sink, path }, transfer) {
    try {
      await sink.admit?.();
    } catch (error) {
      const code = refusalCode(error);
      if (!code) return; // what is wrong with it is said when it is opened
      const advice = code === "NameRefused" ? "choose a shorter name" : "choose another destination: the name of a file";
      const refused = new RegripError(messageOf(error), { code, class: "permanent", cause: error, advice });
      this.#tellFailed(transfer, path, refused);
      throw refused;
    }
  }

  async #jobOf(transfer, chosen) {
    const { path, sink, persistent } = chosen;
    const { jobs, passing } = this.#host;
    const ledger = persistent ? this.#host.ledger : passing;
    if (!persistent) passing.name(path, sink);
    const there = this.#options.onExists === "fail" && persistent && (await this.#platform.exists(path));
    // An error is left to the core, which loads it again.
    const record = await Promise.resolve(path).then((path) => ledger.load(path)).catch(() => {});
    if (there && !record) throw new RegripError(`${path} already exists`, { code: "DestinationExists", class: "permanent" });
    // A file and a sink of the program's own may have one name.
    if (persistent && isRecord(record) && Boolean(record.ownSink) !== Boolean(chosen.own)) {
      throw record.ownSink ? ownSink(path) : destinationBusy(path, this.#host.idOf(path), record.url);
    }
    transfer.id = this.#host.idOf(path);
    transfer.path = path;
    transfer.moveOn();
    if (isRecord(record) && names(transfer.url, record.url)) transfer.url = record.url;
    if (record && transfer.terms.listed) Object.assign(transfer.terms, { ...wantedBy(record), ...given(transfer.terms) });
    // Only a file has its bytes under another name until it is complete.
    const isFile = this.#platform.isFile(sink);
    const partName = isFile ? (this.#platform.partOf?.(path) ?? `${path}.part`) : path;
    const job = new Job({ transfer, chosen, partName, ledger, platform: this.#platform, isFile });
    job.sources = new Sources(job, transfer.terms, this.#options.maxDownloadAttempts ?? 5);
    sink.whenBroken?.((reason) => transfer.breakOff(reason));
    jobs.set(path, job);
    this.#driven.set(path, transfer);
    return job;
  }

  /** Runs the core until the file is complete: again after a pause, and from another source if one failed. */
  async #drive(core, job, terms) {
    const { transfer } = job;
    try {
      for (;;) {
        while (transfer.paused) await this.#resumed(job);
        const next = transfer.moveOn();
        if (next) job.moveTo(next);
        const failure = await this.#attempts(core, job, terms);
        if (!failure) break;
        if (transfer.paused && failure.all.code === "cancelled") continue;
        await this.#moveOn(job, errorOf(failure.all, job));
      }
    } catch (error) {
      await abandon(terms.sink, transfer.reasonOf(error), error);
      throw error;
    }
    const { bytes, attempts, restarts, warning } = job.ended;
    const summary = { id: job.id, url: job.shownUrl, path: job.path, bytes, attempts, restarts };
    if (warning !== undefined) summary.warning = warning;
    return summary;
  }

  /** One run of the core; resolves to its failure. */
  async #attempts(core, job, { digests, adoptPart, expectedBytes, isNamed }) {
    const { onExists = "overwrite" } = this.#options;
    try {
      return await core.run(
        new Fields({
          url: job.markedUrl,
          path: job.path,
          part: job.partName,
          // Both replace nothing, and `rename` refuses a new URL.
          onExists: onExists === "rename" && (isNamed || job.moved) ? "fail" : onExists,
          adopt: adoptPart,
          releaseBytes: expectedBytes,
          digests: rowsOf(digests),
        }),
      );
    } finally {
      job.transfer.running = false;
      this.#host.line.leave(job);
    }
  }

  /** Has the job continue from its next source, or ends it with the error. */
  async #moveOn(job, error) {
    const { held, transfer } = job;
    try {
      const next = await job.sources.after(error);
      if (held) this.#host.pass(job, Sources.event(held, transfer.facts.attempts, next.url));
      job.moveTo(next);
    } catch (thrown) {
      if (held && transfer.stopped.aborted) this.#host.pass(job, { ...held, event: "cancelled", code: "cancelled", class: "permanent", error: "cancelled", advice: undefined });
      else if (held) this.#host.pass(job, failureEvent("failed", held, { ...held, ...factsOf(thrown) }));
      throw thrown;
    }
  }

  /** Waits until a paused job is resumed. A cancel ends the wait. */
  async #resumed(job) {
    const { transfer } = job;
    const { paused } = transfer;
    try {
      await unlessAborted(paused.over, transfer.stopped);
      if (transfer.paused === paused) transfer.paused = undefined;
    } catch (reason) {
      transfer.paused = undefined;
      const { facts } = transfer;
      if (job.record) await this.#host.keep(job, { ...job.record, status: "cancelled" });
      this.#host.pass(job, failureEvent("cancelled", job.event(), cancelled(reason, facts)));
      throw reason;
    }
  }

  /** Has the core end a job. One that waits for its turn is let through, for only then the core can end it. */
  #stop(core, job) {
    const stop = () => {
      const stops = core.cancel(job.id);
      if (stops) job.part.stop();
      return stops;
    };
    if (!this.#host.line.release(job)) return stop();
    setTimeout(stop);
    return true;
  }

  /** Resolves to what unlocks it. */
  async #lock({ path, sink, persistent }, transfer) {
    try {
      if (inUse.has(sink)) throw Object.assign(new Error(`${path} is being written by another download of this process`), { code: "PartLocked" });
      inUse.add(sink);
      try {
        const lock = persistent ? await this.#platform.lock(path, this.#folder) : undefined;
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
      const code = error.code === "PartLocked" ? "PartLocked" : diskFailure("lock", path, error).code;
      const locked = new RegripError(messageOf(error), {
        code,
        class: code === "TooManyFiles" ? "transient" : "permanent",
        cause: error,
        advice: code === "PartLocked" ? (error.advice ?? "wait for the other one to end, or stop it; the bytes are kept") : undefined,
      });
      if (transfer) this.#tellFailed(transfer, path, locked);
      throw locked;
    }
  }

  /** The last event of a download that the core never saw. */
  #tellFailed(transfer, path, error) {
    const event = failureEvent("failed", { id: this.#host.idOf(path), url: shown(transfer.url), path }, error);
    quietly(this.#host.onEvent, event);
    transfer.tell(event);
  }

  /** Another transfer that has this destination. */
  #busy(path, transfer) {
    const other = this.#driven.get(path);
    return other === transfer ? undefined : other;
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
  async #freeName(asked, transfer) {
    if (!asked.persistent) return asked;
    for (let number = 0; number <= MOST_NAMES; number++) {
      const chosen = number === 0 ? asked : this.#sinkOf(numbered(asked.path, number));
      if (this.#busy(chosen.path, transfer) || meeting(chosen.path, this.#besides(chosen)) || (await this.#keptFor(chosen))) continue;
      const record = await this.#host.ledger.load(chosen.path);
      if (record ? isRecord(record) && names(asked.url, record.url) : !(await this.#platform.exists(chosen.path))) return chosen;
    }
    throw new RegripError(`${asked.path} already exists`, { code: "DestinationExists", class: "permanent" });
  }

  #sinkOf(to) {
    const { path, sink } = this.#platform.sinkFor(to, this.#folder);
    if (path !== undefined) return { path, sink, persistent: true, made: true };
    if (typeof sink?.size !== "function" || typeof sink.write !== "function") throw new TypeError(`to is ${found(to)}, expected ${this.#platform.places}, or an object with size() and write()`);
    optional("the sink's name", sink.name, "string");
    const persistent = Boolean(sink.persistent);
    if (persistent && !(sink.name && sink.flush)) throw new TypeError("a persistent sink has a name and flush()");
    const own = persistent && !this.#platform.isFile(sink);
    if (sink.name !== undefined) return { path: sink.name, sink, persistent, own };
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
    if (!isRecord(record)) throw noSuch(id);
    return { ...record, path };
  }

  async #loaded() {
    const core = await needed();
    this.#core ??= new core.Core(fieldsOf(this.#options), heldWeakly(this.#host));
    return this.#core;
  }
}

/** Returns true for one sink, and for one name that the engine itself makes sinks for. */
const isSameDestination = (one, other) => one.sink === other.sink || Boolean(one.made && other.made);

/** Ends a sink without all of its bytes. What that throws is the cause of an error that has none. */
async function abandon(sink, reason, error) {
  try {
    await sink.abandon?.(reason);
  } catch (thrown) {
    if (error && error.cause === undefined) error.cause = thrown;
  }
}

// ---- what a caller gave ----

/** The terms of what `list` showed: what else was asked for is in the record. */
function fromListed({ url, headers, signal, onEvent, sha256, digest, adoptPart, mirrors, onExpired, priority }) {
  return { ...termsOf({ url, headers, signal, onEvent, sha256, digest, adoptPart, mirrors, onExpired, priority }), listed: true };
}

/** What a record says that its download was asked for with. */
function wantedBy(record) {
  return { digests: digestsOf(record), adoptPart: Boolean(record.adopt && !record.claimed) };
}

/** The same as options, but for digests that are given anew. */
function resumedBy(record, { sha256, digest }) {
  const { digests, adoptPart } = wantedBy(record);
  return { adoptPart, ...(sha256 === undefined && digest === undefined && { digest: digests }) };
}

function given({ digests, adoptPart }) {
  return { ...(digests.length > 0 && { digests }), ...(adoptPart && { adoptPart }) };
}

function refuseOdd(value, name = "options") {
  if (value === null || typeof value !== "object") throw new TypeError(`${name} is ${found(value)}, expected an object`);
}

function ledgerGiven(ledger) {
  if (ledger === undefined) return;
  const missing = ["load", "save", "remove", "list"].filter((name) => typeof ledger?.[name] !== "function");
  if (missing.length > 0) throw new TypeError(`ledger is ${found(ledger)} without ${missing.join(", ")}, expected a Ledger`);
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

// ---- errors ----

const factsOf = ({ code, class: itsClass, message: error, advice }) => ({ code, class: itsClass, error, message: error, advice });

function errorOf({ code, class: itsClass, message, advice, status, retryAfterMs }, job) {
  const { attempts = 0, restarts, bytes } = job.held ?? job.ended ?? {};
  return new RegripError(message, {
    name: code === "cancelled" ? "AbortError" : undefined,
    cause: job.causeOf(code),
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

const noSuch = (id) => new RegripError(`there is no download ${id}`, { code: "NoSuchDownload", class: "permanent" });

const wrongState = (id, status) => new RegripError(`download ${id} is ${status}`, { code: "WrongState", class: "permanent" });

function destinationBusy(path, id, url) {
  const message = `${path} is the destination of download ${id} from ${shown(url)}`;
  return new RegripError(message, { code: "DestinationBusy", class: "permanent" });
}

function kept(name, path, why) {
  const advice = "choose another name, or have the other download end first";
  return new RegripError(`${name} is the name of the partial data of ${path}, ${why}`, { code: "DestinationBusy", class: "permanent", advice });
}

function missing({ headerNames, attempts, restarts, bytes }) {
  const message = `the download needs credentials that are not stored: ${headerNames}`;
  return new RegripError(message, { code: "CredentialsMissing", class: "permanent", attempts, restarts, bytes });
}

function digestConflict(first, second) {
  const message = `two digests differ: ${first} from the call that is under way, ${second} from this one`;
  return new RegripError(message, { code: "DigestConflict", class: "permanent" });
}

function ownSink(path) {
  const message = `the bytes of ${path} are in a sink of the program's own: give it as \`to\``;
  return new RegripError(message, { code: "Disk", class: "permanent", advice: "call resume(id, { to: sink })" });
}
