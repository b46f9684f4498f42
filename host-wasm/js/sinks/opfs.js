// A file of the origin private file system: by a synchronous handle, in a worker of our own where this is a page.
import { SyncFile, existing } from "./private-file.js";
import { WritableFile } from "./writable-file.js";

/** Chunks are gathered to batches of so many bytes: one is written while the next one fills. */
const BATCH_BYTES = 1 << 20;

const HERE = "FileSystemFileHandle" in globalThis && "createSyncAccessHandle" in FileSystemFileHandle.prototype;

export class OpfsSink {
  persistent = true;
  #file;
  #chunks = [];
  #start = 0;
  #bytes = 0;
  /** The batch that is written. It rejects from the first failure on, so that nothing is written beyond a hole. */
  #written = Promise.resolve();

  constructor(name, { worker = true } = {}) {
    this.name = name;
    if (HERE) this.#file = new SyncFile(name);
    else if (worker && "Worker" in globalThis) this.#file = new RemoteFile(name);
    else this.#file = new WritableFile({ name });
  }

  exists() {
    return this.#file.exists();
  }

  async open(create) {
    await this.#file.open(create);
  }

  async size() {
    await this.#settled();
    return this.#file.size();
  }

  write(chunk, at) {
    if (this.#bytes === 0) this.#start = at;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes >= BATCH_BYTES) return this.#push();
  }

  async read(at, length) {
    await this.#settled();
    return this.#file.read(at, length);
  }

  async truncate(size) {
    await this.#settled();
    await this.#file.truncate(size);
  }

  async flush() {
    await this.#settled();
    await this.#file.flush();
  }

  async commit(replace) {
    await this.#settled();
    await this.#file.commit(replace);
  }

  /** What a page that was closed during `commit` left. */
  async find({ size }) {
    if (await this.#file.exists()) return "part";
    const there = await existing(this.name);
    return there && (await there.getFile()).size === size ? "destination" : "nothing";
  }

  async remove() {
    this.#forget();
    await this.#file.remove();
  }

  async close() {
    try {
      await this.#settled();
    } finally {
      this.#forget();
      await this.#file.close();
    }
  }

  #forget() {
    this.#chunks = [];
    this.#bytes = 0;
    this.#written = Promise.resolve();
  }

  async #settled() {
    await this.#push();
    await this.#written;
  }

  async #push() {
    const [chunks, start] = [this.#chunks, this.#start];
    this.#chunks = [];
    this.#bytes = 0;
    await this.#written;
    if (chunks.length === 0) return;
    this.#written = this.#file.write(chunks, start);
    this.#written.catch(() => {}); // whoever waits for it next is told
  }
}

let worker;
let lastId = 0;
const asked = new Map();

/** A `SyncFile` in the worker. */
class RemoteFile {
  #path;

  constructor(path) {
    this.#path = path;
  }

  #ask(method, args, transfer = []) {
    worker ??= start();
    return new Promise((resolve, reject) => {
      const id = ++lastId;
      asked.set(id, { resolve, reject });
      worker.postMessage({ id, path: this.#path, method, args }, transfer);
    });
  }

  exists() {
    return this.#ask("exists", []);
  }
  open(create) {
    return this.#ask("open", [create]);
  }
  size() {
    return this.#ask("size", []);
  }
  write(chunks, at) {
    // Handed over rather than copied, where a chunk has its memory for itself.
    const own = chunks.filter(({ byteLength, buffer }) => byteLength === buffer.byteLength).map(({ buffer }) => buffer);
    return this.#ask("write", [chunks, at], own);
  }
  read(at, length) {
    return this.#ask("read", [at, length]);
  }
  truncate(size) {
    return this.#ask("truncate", [size]);
  }
  flush() {
    return this.#ask("flush", []);
  }
  commit(replace) {
    return this.#ask("commit", [replace]);
  }
  remove() {
    return this.#ask("remove", []);
  }
  close() {
    return this.#ask("close", []);
  }
}

function start() {
  const started = new Worker(new URL("../opfs-worker.js", import.meta.url), { type: "module", name: "regrip" });
  started.addEventListener("message", ({ data: { id, result, error } }) => {
    const { resolve, reject } = asked.get(id);
    asked.delete(id);
    if (error) reject(Object.assign(new Error(error.message), error));
    else resolve(result);
  });
  // It could not be loaded, or broke: whoever waits for it is told, and the next one starts it anew.
  started.addEventListener("error", ({ message }) => {
    worker = undefined;
    started.terminate();
    const waiting = [...asked.values()];
    asked.clear();
    for (const { reject } of waiting) reject(new Error(message || "the worker for private files could not be started"));
  });
  return started;
}
