// The last bytes that were written to what cannot be read back.
export class Tail {
  #keep;
  /** All bytes so far. */
  #size = 0;
  /** The last chunks, together at least `#keep` bytes if that many were written. */
  #chunks = [];
  #kept = 0;

  constructor(keepBytes) {
    this.#keep = keepBytes;
  }

  get size() {
    return this.#size;
  }

  add(chunk) {
    // A copy if the chunk is small beside its buffer or the buffer is transferred.
    this.#chunks.push(chunk.slice(-Math.max(this.#keep, 1)));
    const added = this.#chunks.at(-1).length;
    this.#size += chunk.length;
    if (added < chunk.length) {
      this.#chunks = [this.#chunks.at(-1)];
      this.#kept = 0;
    }
    this.#kept += added;
    while (this.#chunks.length > 1 && this.#kept - this.#chunks[0].length >= this.#keep) {
      this.#kept -= this.#chunks.shift().length;
    }
  }

  /** Reads only kept bytes; returns none if `at` is before them. */
  read(at, length) {
    let start = this.#size - this.#kept;
    const bytes = new Uint8Array(at < start ? 0 : Math.max(Math.min(length, this.#size - at), 0));
    if (bytes.length === 0) return bytes;
    for (const chunk of this.#chunks) {
      const part = chunk.subarray(Math.max(at - start, 0), Math.max(at + length - start, 0));
      if (part.length > 0) bytes.set(part, Math.max(start - at, 0));
      start += chunk.length;
    }
    return bytes;
  }

  /** The bytes end here now. */
  cut(size) {
    const start = this.#size - this.#kept;
    const kept = this.read(start, Math.max(size - start, 0));
    this.#chunks = kept.length > 0 ? [kept] : [];
    this.#kept = kept.length;
    this.#size = size;
  }
}
