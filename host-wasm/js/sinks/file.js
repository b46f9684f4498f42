// A sink for Node's file system: the bytes go to the part beside it (`paths.js`), and get the name `path` when they are all there.
//
// Links, folders and devices at either name are never followed, opened or replaced.
import { constants } from "node:fs";
import { link, lstat, open, readFile, rename, unlink } from "node:fs/promises";
import { basename, dirname, resolve, sep } from "node:path";
import { NAME_BYTES, nameOf, partPath } from "../paths.js";

/** Chunks are gathered to batches of this many bytes: one is written while the next one fills. */
const BATCH_BYTES = 1 << 20;

// No link is followed: it could lead anywhere. A pipe is not waited for.
const FLAGS = constants.O_RDWR | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** What `link` fails with where a file system has no hard links, or not as many. */
const HAS_NO_LINKS = ["EPERM", "EMLINK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EINVAL"];

export class FileSink {
  /** The destination, absolute. */
  name;
  persistent = true;
  #part;
  /** It was written as a folder is, with a `/` at the end. */
  #asFolder;
  #file = null;
  /** The lock of the part: what may no longer be written is not. */
  #lock;
  /** The batch being filled: its chunks, their first offset, their total of bytes. */
  #chunks = [];
  #start = 0;
  #bytes = 0;
  /** The batch that is written. It rejects from the first failure on, so that nothing is written beyond a hole. */
  #written = Promise.resolve();

  constructor(given) {
    const path = nameOf("path", given);
    this.name = resolve(path);
    this.#part = partPath(this.name);
    this.#asFolder = path.endsWith("/") || path.endsWith(sep);
  }

  /** Throws if no file can have this name: before anything is asked of a server. */
  async admit() {
    const name = basename(this.name);
    const bytes = Buffer.byteLength(name);
    if (bytes > NAME_BYTES) throw Object.assign(new Error(`the name ${JSON.stringify(name)} was refused: it is longer than ${NAME_BYTES} bytes`), { code: "NameRefused" });
    const there = (await kindOf(this.name)) ?? (this.#asFolder ? "a folder" : "a file");
    if (there !== "a file") throw refused(this.name, there);
  }

  /** The bytes in the part, which is not opened for it. */
  async length() {
    const stats = await lstat(this.#part).catch(unlessMissing);
    return stats?.isFile() ? stats.size : 0;
  }

  /** From now on nothing is changed that this lock does not hold; without one, nothing is asked. */
  lockedBy(lock) {
    this.#lock = lock;
  }

  /** Returns true if anything has the part's name. */
  async exists() {
    return (await kindOf(this.#part)) !== undefined;
  }

  /** Opens the part, or makes it; with `create` it must not be there yet. Answers with what identifies the file. */
  async open(create = false) {
    await this.close().catch(() => {});
    this.#file = await openPart(this.#part, create);
    return { ...identity(await this.#file.stat({ bigint: true })), mount: await mountOf(this.#file.fd) };
  }

  /** What a crash during `commit` left: our part, the very file at the destination, or nothing. */
  async find({ device, inode, size }) {
    const [part, destination] = await Promise.all([identityAt(this.#part), identityAt(this.name)]);
    if (isSame(part, { device, inode })) return "part";
    if (isSame(destination, { device, inode }) && (size ?? destination.size) === destination.size) {
      await syncFolder(dirname(this.name)).catch(() => {}); // its process may have died before it did
      return "destination";
    }
    return part ? "part" : "nothing";
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
    await this.#lock?.check();
    await file.truncate(size);
  }

  async flush() {
    const file = await this.#settled();
    // What is called durable is recorded next, and the record is its writer's too.
    await this.#lock?.check();
    await file.sync();
  }

  /** Gives the file its name. Without `replace` one that has it already is an EEXIST. Returns the error of what fails after that. */
  async commit(replace) {
    const file = await this.#settled();
    await this.#lock?.check();
    let warning;
    const warn = (error) => (warning ??= error);
    try {
      // The file stays open, so that no other one can be taken for it. Some systems rename no open file.
      const own = identity(await file.stat({ bigint: true }));
      await this.#refuseForeign(own);
      if (process.platform === "win32") await this.close();
      if (await this.#name(own, replace)) await unlink(this.#part).catch(warn);
      await syncFolder(dirname(this.name)).catch(warn);
    } catch (error) {
      await this.close().catch(() => {});
      throw error;
    }
    await this.close().catch(warn);
    return warning;
  }

  /** Removes the part, unless another file has its name. */
  async remove() {
    const own = this.#file && identity(await this.#file.stat({ bigint: true }));
    const kind = await kindOf(this.#part);
    if (kind !== undefined) {
      if (kind !== "a file") throw foreign(this.#part, kind);
      if (own) await this.#refuseForeign(own);
      await this.#lock?.check();
      await unlink(this.#part).catch(unlessMissing);
    }
    await this.close().catch(() => {});
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

  /** Throws unless the part's name is that of the file that was written. */
  async #refuseForeign(own) {
    const named = await identityAt(this.#part);
    if (!isSame(named, own)) throw new Error(named ? "its name now belongs to another file" : "its name is gone");
  }

  /** Gives the part the destination's name. Returns true if it has its old name, too. */
  async #name(own, replace) {
    const there = await kindOf(this.name);
    if (there !== undefined && there !== "a file") throw refused(this.name, there);
    // A process died between giving the second name and taking the first.
    if (isSame(await identityAt(this.name), own)) return true;
    if (replace) return this.#rename();
    try {
      await link(this.#part, this.name);
      return true;
    } catch (error) {
      if (!HAS_NO_LINKS.includes(error.code)) throw error;
    }
    // Takes the name exclusively, by an empty file, and renames over that.
    const taken = await open(this.name, "wx");
    const empty = identity(await taken.stat({ bigint: true }));
    await taken.close();
    try {
      await this.#rename();
    } catch (error) {
      const there = await identityAt(this.name).catch(() => {});
      if (isSame(there, empty) && there.size === 0) await unlink(this.name).catch(() => {}); // the first error is reported
      throw error;
    }
  }

  async #rename() {
    try {
      await rename(this.#part, this.name);
    } catch (error) {
      if (error.code === "EISDIR") throw refused(this.name, "a folder");
      throw error;
    }
  }

  /** The open file, with all that was handed over written to it. */
  async #settled() {
    this.#file ??= await openPart(this.#part, false);
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
    const file = this.#file;
    this.#written = Promise.resolve(this.#lock?.check()).then(() => writeAll(file, chunks, start));
    this.#written.catch(() => {}); // the next one to await it gets the error
  }
}

async function openPart(path, create) {
  for (;;) {
    const kind = create ? undefined : await kindOf(path);
    if (kind !== undefined && kind !== "a file") throw foreign(path, kind);
    try {
      return await open(path, kind === undefined ? FLAGS | constants.O_CREAT | constants.O_EXCL : FLAGS);
    } catch (error) {
      if (create && error.code === "EEXIST") throw foreign(path, "there already");
      if (error.code === "ELOOP") throw foreign(path, "a link");
      // It appeared or vanished in between.
      const passed = kind === undefined ? "EEXIST" : "ENOENT";
      if (error.code !== passed) throw error;
    }
  }
}

async function kindOf(path) {
  const stats = await lstat(path).catch(unlessMissing);
  if (!stats) return undefined;
  if (stats.isFile()) return "a file";
  if (stats.isSymbolicLink()) return "a link";
  if (stats.isDirectory()) return "a folder";
  if (stats.isFIFO()) return "a named pipe";
  return stats.isSocket() ? "a socket" : "a device";
}

async function identityAt(path) {
  const stats = await lstat(path, { bigint: true }).catch(unlessMissing);
  return stats?.isFile() ? { ...identity(stats), size: Number(stats.size) } : undefined;
}

/** The mount that an open file is on, if the kernel names it. */
async function mountOf(fd) {
  const about = await readFile(`/proc/self/fdinfo/${fd}`, "utf8").catch(() => "");
  return /^mnt_id:\s*(\d+)$/m.exec(about)?.[1];
}

/** Device and inode, as far as a number holds them: it is only compared for being the same. */
function identity({ dev, ino }) {
  const low = (number) => Number(BigInt.asUintN(53, number));
  return { device: low(dev), inode: low(ino) };
}

function isSame(one, other) {
  return one?.device === other.device && one.inode === other.inode;
}

function foreign(path, what) {
  return Object.assign(new Error(`${path} is ${what}`), { code: "ForeignPart" });
}

function refused(path, what) {
  return Object.assign(new Error(`${path} is ${what}, which is never replaced`), { code: "DestinationRefused", what });
}

function unlessMissing(error) {
  if (error.code !== "ENOENT") throw error;
}

async function writeAll(file, chunks, at) {
  while (chunks.length > 0) {
    const { bytesWritten } = await file.writev(chunks, at);
    if (bytesWritten === 0 && chunks[0].length > 0) throw new Error("the system writes nothing");
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
