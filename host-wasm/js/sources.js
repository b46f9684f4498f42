// Where a download continues after its source failed for good: a mirror, or a new URL that the caller supplies.
//
// The core fetches from one URL at a time. After an error of the source it is run again with the next URL for the same destination;
// before it appends a byte from there, it proves that both serve the same file.
import { unlessAborted } from "./abort.js";
import { addressOf, shown } from "./terms.js";

/** Errors of this side, which another source would not change. */
const OWN =
  /^(cancelled|paused|interrupted|superseded|Disk|DiskFull|TooManyFiles|PartLocked|ForeignPart|Ledger|Destination(Exists|Refused)|NameRefused|CredentialsMissing|DigestConflict|NoSuchDownload|WrongState)$/;
const EXPIRED = [401, 403, 410];

export class Sources {
  #job;
  #given;
  /** Those that were not used yet. */
  #mirrors;
  #onExpired;
  /** How many URLs were supplied since bytes were last added, and the limit. */
  #supplied = 0;
  #most;
  #furthest = 0;
  /** The error of the first source: it says more than that of one which was compared with it. */
  #first;
  #usesMirror = false;

  constructor(job, { mirrors, onExpired }, most) {
    this.#job = job;
    this.#given = mirrors;
    this.#mirrors = [...mirrors];
    this.#onExpired = onExpired;
    this.#most = most;
  }

  /** It was given others. */
  change({ mirrors, onExpired }) {
    if (mirrors !== this.#given) this.#mirrors = [...mirrors];
    this.#given = mirrors;
    this.#onExpired = onExpired;
  }

  /** Returns true if a download that failed with this code may continue from somewhere else. */
  mayFollow(code) {
    return !OWN.test(code) && (this.#mirrors.length > 0 || this.#onExpired !== undefined);
  }

  /** The next source, `{ url, authorization }`. If none is left, rejects with the error that the download ends with. */
  async after(error) {
    if (OWN.test(error.code)) throw error;
    this.#first ??= error;
    if (error.bytes > this.#furthest) this.#supplied = 0;
    this.#furthest = Math.max(this.#furthest, error.bytes ?? 0);
    const supplied = await this.#supply(error);
    if (supplied) return supplied;
    const mirror = this.#mirrors.shift();
    if (!mirror) throw this.#usesMirror || error.code === "DestinationBusy" ? this.#first : error;
    this.#usesMirror = true;
    return mirror;
  }

  async #supply(error) {
    const { url, transfer } = this.#job;
    if (!this.#onExpired || !EXPIRED.includes(error.status) || this.#supplied >= this.#most) return undefined;
    this.#supplied++;
    try {
      const given = await unlessAborted(this.#onExpired({ url, status: error.status, path: transfer.path }), transfer.stopped);
      return given === undefined || given === null ? undefined : addressOf(given, "the URL that onExpired returned");
    } catch (thrown) {
      if (transfer.stopped.aborted) throw thrown;
      error.cause = thrown;
      throw error;
    }
  }

  /** An event for the change to another source, in place of the failure. */
  static event({ id, at, url, path, class: itsClass, error }, attempt, next) {
    const words = `${url}: ${error}; next source: ${shown(next)}`;
    return { event: "retrying", id, at, url, path, attempt, delayMs: 0, askedBy: "jitter", class: itsClass, error: words };
  }
}
