// A WritableStream: it takes bytes and gives none back. Their last ones are kept, so that a resume can be compared.
import { Tail } from "./tail.js";

export class StreamSink {
  /** How many of the last bytes can be compared. */
  readBackBytes;
  #writer;
  #tail;
  /** A write has failed: the stream is broken from within. */
  #failed = false;
  /** We ended it ourselves. */
  #ended = false;
  /** `{ reason }` once its reader took no more. */
  #broken;
  #tellBroken;
  /** How many writes the stream has not settled. */
  #writes = 0;
  #stopping = false;
  #waitNoLonger;

  constructor(stream, { keepBytes = 65_536 } = {}) {
    this.#writer = stream.getWriter();
    this.#tail = new Tail(keepBytes);
    this.readBackBytes = keepBytes;
    this.#writer.closed.catch(this.#broke);
    this.#watch();
  }

  /** Calls `tell` with the reason once the stream's reader is cancelled or the stream is aborted. */
  whenBroken(tell) {
    this.#tellBroken = tell;
    if (this.#broken) tell(this.#broken.reason);
  }

  size() {
    return this.#tail.size;
  }

  /** Once the download is to end, it waits no longer for a reader who may never read again. */
  setStopping(stopping) {
    this.#stopping = stopping;
    if (stopping) this.#waitNoLonger?.();
  }

  async write(chunk) {
    await this.#paced();
    this.#writes++;
    const settled = () => this.#writes--;
    // The next `ready` or `flush` reports a failure.
    this.#writer.write(chunk).then(settled, () => {
      settled();
      this.#failed = true;
    });
    this.#watch();
    this.#tail.add(chunk);
  }

  read(at, length) {
    return this.#tail.read(at, length);
  }

  flush() {
    return this.#paced();
  }

  async commit() {
    this.#ended = true;
    await this.#writer.close();
  }

  /** The download is over without all of its bytes. */
  async abandon(reason) {
    this.#ended = true;
    const aborted = this.#writer.abort(reason);
    // A stream is aborted only once it has settled the write under way, which it may never do.
    if (this.#writes > 0) aborted.catch(() => {});
    else await aborted;
  }

  /** Resolves once the stream takes more: it paces the download. */
  #paced() {
    return new Promise((resolve, reject) => {
      this.#waitNoLonger = resolve;
      this.#writer.ready.then(resolve, reject);
      if (this.#stopping) resolve();
    });
  }

  /** A stream that is broken from outside rejects `ready` before the writes under way, one that is broken by a write after it. */
  #watch() {
    this.#writer.ready.catch(this.#broke);
  }

  #broke = (reason) => {
    // An error of the system, as Node's streams pass it on, is a failure of the sink.
    if (this.#failed || this.#ended || this.#broken || reason?.syscall !== undefined) return;
    this.#broken = { reason };
    this.#tellBroken?.(reason);
  };
}
