// A private file in the worker of `opfs-worker.js`, which all files of a page share.
/** The code of an error: there is no worker to be had. */
export const NO_WORKER = "NoWorker";

let worker;
/** It has answered once: it could be started. */
let answers = false;
let lastId = 0;
const asked = new Map();

/** A `SyncFile` in the worker. */
export class RemoteFile {
  #path;

  constructor(path) {
    this.#path = path;
  }

  #ask(method, args, transfer = []) {
    return new Promise((resolve, reject) => {
      worker ??= start();
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
    // Transferred rather than copied if a chunk is all of its buffer.
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
  let started;
  try {
    started = new Worker(new URL("../opfs-worker.js", import.meta.url), { type: "module", name: "regrip" });
  } catch (error) {
    throw notStarted(error);
  }
  started.addEventListener("message", ({ data: { id, result, error } }) => {
    answers = true;
    const { resolve, reject } = asked.get(id);
    asked.delete(id);
    if (error) reject(Object.assign(new Error(error.message), error));
    else resolve(result);
  });
  // It could not be loaded, or broke: pending calls fail, and the next one starts it again.
  started.addEventListener("error", ({ message }) => {
    worker = undefined;
    started.terminate();
    const waiting = [...asked.values()];
    asked.clear();
    const failure = answers ? new Error(message || "the worker for private files broke") : notStarted();
    for (const { reject } of waiting) reject(failure);
  });
  return started;
}

function notStarted(cause) {
  return Object.assign(new Error("the worker for private files could not be started", { cause }), { code: NO_WORKER });
}
