// A part: a sink as the module uses it. It asks a sink only for what it can do, one call after the other, and puts what
// the sink throws into the core's words.
import { Failed, diskFailure, messageOf } from "./errors.js";

/** Read at once, to be compared or hashed. */
const READ_BYTES = 1 << 20;

/** What `find` answers. */
const FOUND = { nothing: 0, part: 1, destination: 2 };

export class Part {
  device = 0;
  inode = 0;
  mount;
  #job;
  #sink;
  #name;
  /** The call under way, also one whose answer nobody waits for any more. */
  #busy;
  /** By algorithm: the hasher of the bytes so far, while they are only added to. */
  #hashers = new Map();
  /** What a write or a flush failed with: that counts, and not that the sink cannot be cut afterwards. */
  #fault;

  constructor(job, sink, name) {
    this.#job = job;
    this.#sink = sink;
    this.#name = name;
  }

  exists() {
    const sink = this.#sink;
    return this.#call("look at", async () => (sink.exists ? sink.exists() : (await sink.size()) > 0));
  }

  open(create) {
    this.#fault = undefined;
    const sink = this.#sink;
    sink.setStopping?.(false);
    return this.#call("open", async () => {
      if (sink.open) {
        const { device = 0, inode = 0, mount } = (await sink.open(create)) ?? {};
        Object.assign(this, { device, inode, mount });
      } else if ((await sink.size()) > 0 && create) {
        throw Object.assign(new Error("there are bytes in it already"), { code: "ForeignPart" });
      }
    });
  }

  size() {
    return this.#call("look at", () => this.#sink.size(), checkedSize);
  }

  write(chunk, at) {
    return this.#call("write", () => this.#sink.write(chunk, at));
  }

  /** Returns true if the part has these bytes. Bytes that cannot be read back never count as equal. */
  matches(chunk, at) {
    const sink = this.#sink;
    return this.#call("read", async () => {
      if (!sink.read) return false;
      for (let done = 0; done < chunk.length; ) {
        const there = await sink.read(at + done, Math.min(READ_BYTES, chunk.length - done));
        if (there.length === 0 || !equal(there, chunk.subarray(done, done + there.length))) return false;
        done += there.length;
      }
      return true;
    });
  }

  /** Returns true if all bytes from `from` up to `to` are equal. */
  isUniform(from, to) {
    const sink = this.#sink;
    return this.#call("read", async () => {
      let first;
      for (let at = from; at < to; ) {
        const there = await sink.read(at, Math.min(READ_BYTES, to - at));
        first ??= there[0];
        if (there.length === 0 || there.some((byte) => byte !== first)) return false;
        at += there.length;
      }
      return true;
    });
  }

  truncate(size) {
    const sink = this.#sink;
    this.#forget((hasher) => hasher.at !== size);
    return this.#call("truncate", async () => {
      if (sink.truncate) return sink.truncate(size);
      if ((await sink.size()) !== size) throw this.#fault ?? new Error("this sink takes no bytes back");
    });
  }

  /** Answers with the bytes that are durable then: all of them. */
  flush() {
    return this.#call("sync", async () => {
      await this.#sink.flush?.();
      return this.#sink.size();
    });
  }

  /** What identifies the bytes, also under their final name. */
  get token() {
    return `${this.device}:${this.inode}`;
  }

  /** The time within which no written byte is lost: a boot and, if the sink knows it, a mount. */
  get epoch() {
    const boot = this.#job.platform.bootId();
    return this.mount === undefined ? boot : `${boot} mount ${this.mount}`;
  }

  /** How many of the last bytes can be compared. */
  get readBackBytes() {
    return orMissing(() => (this.#sink.read ? (this.#sink.readBackBytes ?? Infinity) : 0), 0);
  }

  /** True if the download can start over. */
  get truncates() {
    return orMissing(() => this.#sink.truncate !== undefined, false);
  }

  /** Answers with what went wrong after the sink gave the file its name, if anything did. */
  commit(replace) {
    const text = (warning) => {
      if (!(warning instanceof Error)) return undefined;
      if (this.#job.isFile) return messageOf(warning);
      // The core would speak of a folder.
      this.#job.warning = messageOf(warning);
    };
    const commit = () => this.#sink.commit?.(replace);
    const digest = this.#lateDigest();
    return this.#call("rename", () => (digest ? digest().then(commit) : commit()), text, this.#job.path);
  }

  /** Reads all bytes for a digest that was asked for after the core began without one. What goes wrong is the asker's. */
  #lateDigest() {
    const { transfer } = this.#job;
    transfer.sealed = true;
    const late = transfer.algorithms.filter((algorithm) => !this.#hashers.has(algorithm));
    if (late.length === 0) return undefined;
    return async () => {
      try {
        for (const algorithm of late) {
          const { hasher } = await this.#job.newHasher(algorithm);
          const hashed = await this.#hash(new Running(hasher, 0), await this.#sink.size());
          transfer.digests.set(algorithm, hashed.finish());
        }
      } catch (error) {
        transfer.digestError = error;
      }
    };
  }

  find(token, size) {
    const sink = this.#sink;
    const [device, inode] = token.split(":").map(Number);
    return this.#call("look at", async () => {
      if (sink.find) return FOUND[await sink.find({ device, inode, size })];
      return (await sink.size()) > 0 ? FOUND.part : FOUND.nothing;
    });
  }

  remove() {
    this.#hashers.clear();
    const sink = this.#sink;
    return this.#call("remove", () => (sink.remove ? sink.remove() : this.#sink.truncate?.(0)));
  }

  /** Nobody waits for it, and what it has to say is not what the download ended with. */
  close() {
    const closed = this.#call("close", () => this.#sink.close?.());
    if (isPromise(closed)) closed.catch(() => {});
  }

  /** The attempt is to end: nobody waits for more than what is under way. */
  stop() {
    this.#sink.setStopping?.(true);
  }

  /** Resolves once no call is under way any more. */
  async settled() {
    while (this.#busy) await this.#busy;
  }

  /**
   * A hasher of the first `to` bytes: the one at hand, one from a saved state, or one that reads them all again. Nothing if
   * they would have to be read and cannot be.
   */
  digest(algorithm, state, from, to) {
    const atHand = this.#hashers.get(algorithm);
    if (atHand?.at === to) return Promise.resolve(atHand);
    this.#hashers.delete(algorithm);
    return this.#call("read", async () => {
      const { hasher, restored } = await this.#job.newHasher(algorithm, from <= to ? state : undefined);
      const running = new Running(hasher, restored ? from : 0);
      const unread = running.at < to ? (await this.#sink.size()) - running.at : 0;
      if (unread > this.readBackBytes) return undefined;
      this.#hashers.set(algorithm, await this.#hash(running, to));
      return running;
    });
  }

  #forget(which) {
    for (const [algorithm, hasher] of this.#hashers) if (which(hasher)) this.#hashers.delete(algorithm);
  }

  async #hash(running, to) {
    while (running.at < to) {
      if (!this.#sink.read) throw new Error("this sink gives no bytes back to be hashed");
      const bytes = await this.#sink.read(running.at, Math.min(READ_BYTES, to - running.at));
      if (bytes.length === 0) throw new Error("there are fewer bytes than there were");
      running.update(bytes);
    }
    return running;
  }

  /**
   * Returns at once if the sink does and no call is under way, else a promise. The module takes any object for a promise, so
   * what a sink returns at once goes no further, unless `check` makes a value of it.
   */
  #call(what, work, check, path = this.#name) {
    const failed = (error) => {
      const failure = error instanceof Failed ? error : diskFailure(what, path, error);
      if (what === "write" || what === "sync") this.#fault ??= failure;
      return what === "close" ? failure : this.#job.failed(failure);
    };
    if (this.#busy) return this.#track(this.#busy.then(work), failed, check);
    try {
      const answer = work();
      if (isPromise(answer)) return this.#track(answer, failed, check);
      return check?.(answer);
    } catch (error) {
      return Promise.reject(failed(error));
    }
  }

  #track(answer, failed, check = (answer) => answer) {
    const promise = Promise.resolve(answer).then(check);
    const busy = promise.then(
      () => {},
      () => {},
    );
    this.#busy = busy;
    busy.then(() => {
      if (this.#busy === busy) this.#busy = undefined;
    });
    return promise.catch((error) => {
      throw failed(error);
    });
  }
}

/** Counts what it hashes. */
class Running {
  constructor(hasher, at) {
    this.hasher = hasher;
    this.at = at;
  }
  update(chunk) {
    this.hasher.update(chunk);
    this.at += chunk.length;
  }
  save() {
    return this.hasher.save?.();
  }
  finish() {
    this.at = -1; // a finished one goes on from nowhere
    return this.hasher.finish();
  }
}

/** A property of a sink; one that throws counts as missing. */
function orMissing(read, missing) {
  try {
    return read();
  } catch {
    return missing;
  }
}

function checkedSize(size) {
  if (!Number.isInteger(size) || size < 0) throw new TypeError("size() did not answer with a number of bytes");
  return size;
}

function isPromise(value) {
  return typeof value === "object" && value !== null && typeof value.then === "function";
}

function equal(one, other) {
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false;
  return true;
}
