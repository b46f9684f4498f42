// A WritableStream: it takes bytes and gives none back. Their last ones are kept, so that a resume can be compared.
import { Tail } from "./tail.js";

export class StreamSink {
  /** How many of the last bytes can be compared. */
  readBackBytes;
  #writer;
  #tail;

  constructor(stream, { keepBytes = 65_536 } = {}) {
    this.#writer = stream.getWriter();
    this.#tail = new Tail(keepBytes);
    this.readBackBytes = keepBytes;
  }

  size() {
    return this.#tail.size;
  }

  async write(chunk) {
    await this.#writer.ready; // the stream paces us
    // What fails is told by the next `ready` or by `flush`.
    this.#writer.write(chunk).catch(() => {});
    this.#tail.add(chunk);
  }

  read(at, length) {
    return this.#tail.read(at, length);
  }

  async flush() {
    await this.#writer.ready;
  }

  async commit() {
    await this.#writer.close();
  }

  /** The download is over without all of its bytes. */
  async abandon(reason) {
    await this.#writer.abort(reason);
  }
}
