// A file of the origin private file system: by a synchronous handle, on a page in a worker of our own.
import { SyncFile, existing } from "./private-file.js";
import { NO_WORKER, RemoteFile } from "./remote-file.js";
import { WritableFile } from "./writable-file.js";

/** Chunks are gathered to batches of this many bytes: one is written while the next one fills. */
const BATCH_BYTES = 1 << 20;

const isWorker = () => "FileSystemFileHandle" in globalThis && "createSyncAccessHandle" in FileSystemFileHandle.prototype;

export class OpfsSink {
  persistent = true;
  #file;
  #chunks = [];
  #start = 0;
  #bytes = 0;
  /** The end of what was given to be written. */
  #end = 0;
  /** The batch that is written. It rejects from the first failure on, so that nothing is written beyond a hole. */
  #written = Promise.resolve();

  constructor(name, { worker = true } = {}) {
    this.name = name;
    if (isWorker()) this.#file = new SyncFile(name);
    else if (worker && "Worker" in globalThis) this.#file = new RemoteFile(name);
    else this.#file = new WritableFile({ name });
  }

  /** How many of the last bytes can be compared; all of them by a synchronous handle. */
  get readBackBytes() {
    return this.#file.readBackAfter ? this.#file.readBackAfter(this.#end) : this.#file.readBackBytes;
  }

  /** Throws if no file can have this name: before anything is asked of a server. */
  async admit() {
    try {
      await existing(this.name);
    } catch (error) {
      const what = { TypeError: "no name of a file", TypeMismatchError: "a folder, which is never replaced" }[error.name];
      if (!what) throw error;
      throw Object.assign(new Error(`${this.name} is ${what}`), { code: "DestinationRefused" });
    }
  }

  /** The bytes in the part, which is not opened for it. */
  async length() {
    const part = await existing(`${this.name}.part`);
    return part ? (await part.getFile()).size : 0;
  }

  exists() {
    return this.#begun((file) => file.exists());
  }

  async open(create) {
    await this.#begun((file) => file.open(create));
  }

  async size() {
    await this.#settled();
    return this.#begun((file) => file.size());
  }

  write(chunk, at) {
    // In a worker of the page's own there is nobody to wait for, and nothing to gather.
    if (this.#file.isOpen) return this.#file.put(chunk, at);
    if (this.#bytes === 0) this.#start = at;
    this.#end = at + chunk.length;
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
    this.#end = size;
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
    if (await this.exists()) return "part";
    const there = await existing(this.name);
    return there && (await there.getFile()).size === size ? "destination" : "nothing";
  }

  async remove() {
    this.#forget();
    await this.#begun((file) => file.remove());
  }

  async close() {
    try {
      await this.#settled();
    } finally {
      this.#forget();
      await this.#file.close();
    }
  }

  /** Where the worker cannot be started (a policy, a script of another origin), the page writes by itself. */
  async #begun(ask) {
    try {
      return await ask(this.#file);
    } catch (error) {
      if (error.code !== NO_WORKER) throw error;
      this.#file = new WritableFile({ name: this.name });
      return ask(this.#file);
    }
  }

  #forget() {
    this.#chunks = [];
    this.#bytes = this.#end = 0;
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
    this.#written.catch(() => {}); // the next one to await it gets the error
  }
}
