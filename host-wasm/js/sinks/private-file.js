// A file of the origin private file system by its synchronous handle, which only workers have.
//
// Used by `opfs-worker.js` for a page, and directly if the package itself runs in a worker.

/** The folder and last name of a path with `/`. */
export async function place(path, create) {
  const names = path.split("/");
  if (names.some((name) => ["", ".", ".."].includes(name) || name.includes("\0"))) throw new TypeError(`${path} is no name of a file`);
  let folder = await root();
  for (const name of names.slice(0, -1)) folder = await folder.getDirectoryHandle(name, { create });
  return { folder, name: names.at(-1) };
}

async function root() {
  try {
    return await navigator.storage.getDirectory();
  } catch (error) {
    const why = "this page has no private file system (private browsing, or no secure context): give a MemorySink, a stream or a file handle";
    throw Object.assign(new Error(why, { cause: error }), { code: "NoPrivateFiles" });
  }
}

/** The handle of a file, undefined if there is none. */
export async function existing(path) {
  try {
    const { folder, name } = await place(path, false);
    return await folder.getFileHandle(name);
  } catch (error) {
    if (error.name === "NotFoundError") return undefined;
    throw error;
  }
}

/** Returns true if anything has this name, also a folder. */
export async function isTaken(path) {
  try {
    return (await existing(path)) !== undefined;
  } catch (error) {
    if (error.name === "TypeMismatchError") return true;
    throw error;
  }
}

/** Gives a closed part its final name. */
export async function give(part, path, replace) {
  if (await existing(path)) {
    if (!replace) throw Object.assign(new Error(`${path} already exists`), { code: "EEXIST" });
  }
  const handle = await existing(part);
  if (!handle) throw new Error(`${part} is gone`);
  const { folder, name } = await place(path, true);
  if (handle.move) return handle.move(folder, name);
  // Browsers that cannot rename: the copy is whole before the part goes.
  const copy = await folder.getFileHandle(name, { create: true });
  await (await handle.getFile()).stream().pipeTo(await copy.createWritable());
  await removeFile(part);
}

export async function removeFile(path) {
  const { folder, name } = await place(path, false);
  await folder.removeEntry(name);
}

/** The count of bytes that Chromium returns if there is no space: -8 in 32 bits. */
const NO_SPACE = 2 ** 32 - 8;

/** Checks the count that a write returned: some browsers return an error in it instead of throwing. */
function written(count, asked) {
  if (count > 0 && count <= asked) return count;
  if (count === 0 || count === NO_SPACE) throw new DOMException("there is no more room for this site", "QuotaExceededError");
  throw new Error(`the browser says that it wrote ${count} of ${asked} bytes`);
}

export class SyncFile {
  #path;
  #name;
  #file;

  constructor(path) {
    this.#name = path;
    this.#path = `${path}.part`;
  }

  async exists() {
    return this.#file !== undefined || isTaken(this.#path);
  }

  async open(create) {
    if (create && (await this.exists())) throw Object.assign(new Error(`${this.#path} already exists`), { code: "ForeignPart" });
    await this.#opened();
  }

  async size() {
    return (await this.#opened()).getSize();
  }

  async write(chunks, at) {
    await this.#opened();
    for (const chunk of chunks) {
      this.put(chunk, at);
      at += chunk.length;
    }
  }

  get isOpen() {
    return this.#file !== undefined;
  }

  /** Writes to the open file, at once. */
  put(chunk, at) {
    for (let done = 0; done < chunk.length; ) {
      const rest = done === 0 ? chunk : chunk.subarray(done);
      done += written(this.#file.write(rest, { at: at + done }), rest.length);
    }
  }

  async read(at, length) {
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, (await this.#opened()).read(bytes, { at }));
  }

  async truncate(size) {
    (await this.#opened()).truncate(size);
  }

  async flush() {
    (await this.#opened()).flush();
  }

  async commit(replace) {
    this.close();
    await give(this.#path, this.#name, replace);
  }

  async remove() {
    this.close();
    if (await existing(this.#path)) await removeFile(this.#path);
  }

  close() {
    this.#file?.close();
    this.#file = undefined;
  }

  async #opened() {
    if (this.#file) return this.#file;
    const { folder, name } = await place(this.#path, true);
    const handle = await folder.getFileHandle(name, { create: true });
    return (this.#file = await handle.createSyncAccessHandle());
  }
}
