// A file by `createWritable`: what is written goes to a copy that replaces the file when it is closed. It cannot be read
// before, so its last bytes are kept to be compared.
import { existing, give, isTaken, place, removeFile } from "./private-file.js";
import { Tail } from "./tail.js";

/** At most so much is compared by default. */
const KEPT_BYTES = 65_536;

export class WritableFile {
  #name;
  #part;
  #handle;
  #writable;
  /** The bytes in the file itself, which can be read. */
  #base = 0;
  #size = 0;
  #tail = new Tail(KEPT_BYTES);
  /** Size and time of a chosen file that has partial data of this page in it. What else is in it is replaced as a whole. */
  #partial;
  /** A chosen file has something else in it, which stays until the file is complete. */
  #replaces = false;

  /** A private file by its name, or a file that the person chose. */
  constructor({ name, handle }) {
    this.#name = name;
    this.#part = `${name}.part`;
    this.#handle = handle;
  }

  /** How many of the last bytes can be compared: all of them while no more than those kept are missing in the file. */
  get readBackBytes() {
    return this.readBackAfter(this.#size);
  }

  /** The same once the bytes up to `end` are written. */
  readBackAfter(end) {
    return Math.max(this.#size, end) - this.#base <= KEPT_BYTES ? Infinity : KEPT_BYTES;
  }

  async exists() {
    return this.#writable !== undefined || isTaken(this.#part);
  }

  async open(create) {
    if (create && this.#writable === undefined && (await this.exists())) {
      throw Object.assign(new Error(`${this.#part} already exists`), { code: "ForeignPart" });
    }
    await this.#opened();
  }

  async size() {
    await this.#opened();
    return this.#size;
  }

  async write(chunks, at) {
    const writable = await this.#opened();
    for (const chunk of chunks) {
      await writable.write({ type: "write", position: at, data: chunk });
      at += chunk.length;
      this.#tail.add(chunk);
    }
    this.#size = at;
  }

  async read(at, length) {
    await this.#opened();
    if (at >= this.#base) return this.#tail.read(at - this.#base, length);
    const file = await this.#handle.getFile();
    return new Uint8Array(await file.slice(at, Math.min(at + length, this.#base)).arrayBuffer());
  }

  async truncate(size) {
    const writable = await this.#opened();
    await writable.truncate(size);
    this.#size = size;
    this.#base = Math.min(this.#base, size);
    this.#tail.cut(size - this.#base);
  }

  /** Puts what was written into the file. The browser copies the file for it. */
  async flush() {
    await this.close();
    await this.#opened();
  }

  async commit(replace) {
    this.#replaces = false;
    await this.close();
    this.#partial = undefined;
    if (this.#name !== undefined) await give(this.#part, this.#name, replace);
  }

  async remove() {
    await this.#writable?.abort();
    this.#writable = undefined;
    if (await existing(this.#part)) await removeFile(this.#part);
  }

  /** Puts what was written into the file, unless that would replace something else by a part. Then the copy stays open. */
  async close() {
    const writable = this.#writable;
    if (!writable || this.#replaces) return;
    this.#writable = undefined;
    await writable.close();
    if (this.#name === undefined) this.#partial = stampOf(await this.#handle.getFile());
  }

  async #opened() {
    if (this.#writable) return this.#writable;
    if (this.#name !== undefined) {
      const { folder, name } = await place(this.#part, true);
      this.#handle = await folder.getFileHandle(name, { create: true });
    }
    const file = await this.#handle.getFile();
    const keepExistingData = this.#name !== undefined || stampOf(file) === this.#partial;
    // Only Chromium knows `mode`. In other browsers each writer has a copy, and the one closed last replaces the file.
    this.#writable = await this.#handle.createWritable({ keepExistingData, mode: "exclusive" });
    this.#base = this.#size = keepExistingData ? file.size : 0;
    this.#replaces = !keepExistingData && file.size > 0;
    this.#tail.cut(0);
    return this.#writable;
  }
}

const stampOf = ({ size, lastModified }) => `${size} ${lastModified}`;
