// A sink for Node's file system: the bytes go to `<path>.part`, and get the name `path` when they are all there.
import { constants } from "node:fs";
import { link, open, rename, unlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/** Chunks are gathered to batches of so many bytes: one is written while the next one fills. */
const BATCH_BYTES = 1 << 20;

// No link is followed: it could lead anywhere.
const FLAGS = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);

export class FileSink {
  /** The destination, absolute. */
  name;
  #part;
  #file = null;
  /** The batch that fills: its chunks, where they begin, how many bytes they are. */
  #chunks = [];
  #start = 0;
  #bytes = 0;
  /** The batch that is written. It rejects from the first failure on, so that nothing is written beyond a hole. */
  #written = Promise.resolve();

  constructor(path) {
    this.name = resolve(path);
    this.#part = `${this.name}.part`;
  }

  async size() {
    const file = await this.#settled();
    return (await file.stat()).size;
  }

  write(chunk, at) {
    if (this.#bytes === 0) this.#start = at;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes >= BATCH_BYTES) return this.#push();
  }

  async read(at, length) {
    const file = await this.#settled();
    const buffer = new Uint8Array(length);
    let got = 0;
    while (got < length) {
      const { bytesRead } = await file.read(buffer, got, length - got, at + got);
      if (bytesRead === 0) break;
      got += bytesRead;
    }
    return buffer.subarray(0, got);
  }

  async truncate(size) {
    const file = await this.#settled();
    await file.truncate(size);
  }

  async flush() {
    const file = await this.#settled();
    await file.sync();
  }

  /** Gives the file its name. Without `replace` one that has it already is an EEXIST. */
  async commit(replace) {
    await this.close(); // some systems rename no open file
    if (replace) {
      await rename(this.#part, this.name);
    } else {
      await link(this.#part, this.name);
      await unlink(this.#part);
    }
    await syncFolder(dirname(this.name));
  }

  /** Whatever comes of it, the sink is as new then. */
  async close() {
    const file = this.#file;
    try {
      if (file) await this.#settled();
    } finally {
      this.#file = null;
      this.#chunks = [];
      this.#bytes = 0;
      this.#written = Promise.resolve();
      await file?.close();
    }
  }

  /** The open file, with all that was handed over written to it. */
  async #settled() {
    this.#file ??= await open(this.#part, FLAGS);
    await this.#push();
    await this.#written;
    return this.#file;
  }

  /** Has the batch written as soon as the one before is. */
  async #push() {
    const [chunks, start] = [this.#chunks, this.#start];
    this.#chunks = [];
    this.#bytes = 0;
    await this.#written;
    if (chunks.length === 0) return;
    this.#written = writeAll(this.#file, chunks, start);
    this.#written.catch(() => {}); // whoever waits for it next is told
  }
}

async function writeAll(file, chunks, at) {
  while (chunks.length > 0) {
    const { bytesWritten } = await file.writev(chunks, at);
    at += bytesWritten;
    let left = bytesWritten;
    while (chunks.length > 0 && left >= chunks[0].length) left -= chunks.shift().length;
    if (left > 0) chunks[0] = chunks[0].subarray(left);
  }
}

async function syncFolder(path) {
  if (process.platform === "win32") return; // a folder cannot be opened there
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
