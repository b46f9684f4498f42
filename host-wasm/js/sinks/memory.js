// Bytes in memory.
export class MemorySink {
  #chunks = [];
  #size = 0;

  constructor(name) {
    if (name !== undefined) this.name = name;
  }

  bytes() {
    return this.read(0, this.#size);
  }

  size() {
    return this.#size;
  }

  write(chunk) {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  read(at, length) {
    const end = Math.min(at + length, this.#size);
    const bytes = new Uint8Array(Math.max(end - at, 0));
    let start = 0;
    for (const chunk of this.#chunks) {
      const from = Math.max(at - start, 0);
      const to = Math.min(end - start, chunk.length);
      if (from < to) bytes.set(chunk.subarray(from, to), start + from - at);
      start += chunk.length;
    }
    return bytes;
  }

  truncate(size) {
    const kept = this.read(0, size);
    this.#chunks = kept.length > 0 ? [kept] : [];
    this.#size = kept.length;
  }

  flush() {}

  commit() {}
}
