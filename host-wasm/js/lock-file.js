// One writer to a part, by a lock file: `<path>.part.lock` names the host, the boot, the process namespace, the process with its
// start time, the thread, and a token.
//
// Invariant: a lock file is created exclusively, and only the holder of `<lock>.new`, which is locked by the same rules, may
// replace it, by a rename, after its process is provably gone. So two writers that find the same stale lock file never both
// get it. The native regrip has the same rules (`store/lock_file.rs`), and `tests/locks.json` tests both.
import { randomBytes } from "node:crypto";
import { closeSync, constants, openSync, readFileSync, readdirSync, readlinkSync, statSync, unlinkSync, writeSync } from "node:fs";
import { lstat, open, rename, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { threadId } from "node:worker_threads";
import { lockPath, partPath } from "./paths.js";

/** How often a lock file may change hands under us before we give up. */
const TRIES = 16;

/** How many takeovers that a crash interrupted can be taken over: `.lock.new`, `.lock.new.new`. */
const DEEPEST = 2;

/** A lock file is about 300 bytes. */
const LONGEST_BYTES = 4096;

/** Longest host name that is read from a lock file. */
const HOST_CHARS = 255;

/** How often the kernel's list of locks is read: an entry can be missed while others come and go. */
const READS = 5;

// A link leads elsewhere, and a pipe would block.
const READ_FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Thrown if another writer has the part, or may have. */
export class Locked extends Error {
  code = "PartLocked";

  constructor(message, { file, holder, advice = "wait for the other one to end, or stop it; the bytes are kept" } = {}) {
    super(message);
    Object.assign(this, { file, host: holder?.host, pid: holder?.pid, advice });
  }
}

/** Locks the part of `path`; resolves to a `Lock`. */
export async function lock(path) {
  const part = partPath(path);
  const file = lockPath(part);
  const me = newHolder();
  await acquire(file, part, me);
  const lock = new Lock(file, part, me.token);
  try {
    await lock.check();
    // A native regrip has its flock first and looks at the lock file second: of two that begin at once at least one sees the
    // other.
    const pid = await flockHolder(part);
    if (pid !== undefined) throw new Locked(`${part} is being written by process ${pid}`, { holder: { pid } });
  } catch (error) {
    await lock.unlock();
    throw error;
  }
  return lock;
}

class Lock {
  #file;
  #part;
  #token;
  #stamp;

  constructor(file, part, token) {
    this.#file = file;
    this.#part = part;
    this.#token = token;
  }

  /** Throws if it was removed or replaced. Looks at the file only, and reads it if that was touched. */
  async check() {
    const stats = await lstat(this.#file, { bigint: true }).catch(unlessMissing);
    if (stats && this.#stamp === stampOf(stats)) return;
    const found = await read(this.#file);
    this.#stamp = found?.holder?.token === this.#token ? found.stamp : undefined;
    if (this.#stamp !== undefined) return;
    const advice = "run it again once nothing else writes the part; the bytes are kept";
    throw new Locked(`${this.#part} is no longer locked by this download: ${this.#file} was removed or replaced`, { file: this.#file, advice });
  }

  /** One that cannot be removed is taken over once this process has ended. */
  async unlock() {
    try {
      await this.check();
      await unlink(this.#file);
    } catch {
      // Another writer's by now, or it stays.
    }
  }
}

/** Creates the lock file, or replaces a stale one. */
async function acquire(file, part, me, depth = 0) {
  for (let tries = 0; tries < TRIES; tries++) {
    if (create(file, JSON.stringify(me))) return;
    const stale = await read(file);
    if (!stale) continue;
    refuseHeld(part, file, stale.holder, me);
    if (depth === DEEPEST) throw unproven(part, file, stale.holder, HIDDEN);
    const next = `${file}.new`;
    await acquire(next, part, me, depth + 1);
    try {
      if ((await read(file))?.text === stale.text) return await rename(next, file);
    } catch (error) {
      await unlink(next).catch(() => {});
      throw error;
    }
    await unlink(next);
  }
  throw new Error(`${file} is replaced again and again`);
}

/** False if there is one already. */
function create(file, text) {
  let fd;
  try {
    fd = openSync(file, "wx");
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
  // In the same turn: a process that is killed in between leaves a lock file that names nobody, and keeps everybody out.
  try {
    writeSync(fd, text);
  } catch (error) {
    unlinkSync(file);
    throw error;
  } finally {
    closeSync(fd);
  }
  return true;
}

/** What is there: its text, empty if that cannot be read, its holder, and what shows that it was not touched. */
async function read(file) {
  let handle;
  try {
    handle = await open(file, READ_FLAGS);
    const stats = await handle.stat({ bigint: true });
    if (!stats.isFile() || stats.size > LONGEST_BYTES) return { text: "" };
    const text = await handle.readFile("utf8");
    return { text, holder: parsed(text), stamp: stampOf(stats) };
  } catch (error) {
    // This says nothing about the file, not even whether there is one.
    if (error.code === "EMFILE" || error.code === "ENFILE") throw error;
    return error.code === "ENOENT" ? undefined : { text: "" };
  } finally {
    await handle?.close();
  }
}

function stampOf({ dev, ino, size, mtimeNs, ctimeNs }) {
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}

// ---- who holds a lock, and whether that process is provably gone ----

const HIDDEN = "no information about processes";

const PLACES = [
  ["host", "another host"],
  ["boot", "another boot"],
  ["pidNamespace", "another process namespace"],
];

/** This thread, with a new token. What the runtime does not show is null. */
export function newHolder() {
  return {
    host: shown(hostname) || null,
    boot: shown(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
    pidNamespace: shown(() => readlinkSync("/proc/self/ns/pid")),
    pid: process.pid,
    // The kernel's ticks since boot: process ids are used again.
    started: processAt("/proc/self/stat")?.started ?? null,
    thread: String(threadId),
    token: randomBytes(16).toString("hex"),
  };
}

function parsed(text) {
  const holder = shown(() => JSON.parse(text));
  const { host, boot, pidNamespace, pid, started, token } = holder ?? {};
  const optional = [host, boot, pidNamespace, started].every((value) => value === undefined || value === null || typeof value === "string");
  const named = !host || ([...host].length <= HOST_CHARS && !/\p{Cc}/u.test(host));
  // 0 and negative numbers mean groups of processes.
  const counted = Number.isInteger(pid) && pid > 0 && pid < 2 ** 31;
  return optional && named && counted && typeof token === "string" && token !== "" ? holder : undefined;
}

/** Throws unless the holder is provably gone. */
function refuseHeld(part, file, holder, me) {
  if (!holder) throw new Locked(`${part} is locked by ${file}, which is not a readable lock file`, { file, advice: toDelete(file) });
  const fate = fateOf(holder, me);
  if (fate === "gone") return;
  if (fate !== "running") throw unproven(part, file, holder, fate);
  if (holder.pid !== me.pid) throw new Locked(`${part} is being written by process ${holder.pid} on host ${holder.host} (lock file ${file})`, { file, holder });
  const advice = `wait for the other one to end, or stop it; if its thread was terminated, delete ${file}; the bytes are kept`;
  throw new Locked(`${part} is being written by another download of this process on host ${holder.host} (lock file ${file})`, { file, holder, advice });
}

/** "gone", "running", or why nobody can say. */
export function fateOf(holder, me) {
  for (const [place, other] of PLACES) {
    if (!holder[place] || !me[place]) return HIDDEN;
    if (holder[place] !== me[place]) return other;
  }
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (error?.code === "ESRCH") return "gone";
    // Another runtime may not look at processes at all.
    if (error?.code !== "EPERM") return HIDDEN;
  }
  const now = processOf(holder.pid);
  if (!holder.started || !now) return HIDDEN;
  return holder.started !== now.started || now.ended ? "gone" : "running";
}

function unproven(part, file, { pid, host }, why) {
  const message = `${part} may be in use by process ${pid} on host ${host ?? "unknown"}, which cannot be checked: ${why} (lock file ${file})`;
  return new Locked(message, { file, holder: { pid, host }, advice: toDelete(file) });
}

function toDelete(file) {
  return `if nothing writes the part any more, delete ${file} and run it again; the bytes are kept`;
}

function processOf(pid) {
  // `/proc` may be that of another process namespace, with other processes under these numbers.
  return shown(() => readlinkSync("/proc/self")) === String(process.pid) ? processAt(`/proc/${pid}/stat`) : undefined;
}

/** See proc_pid_stat(5). The command's name stands in parentheses and may hold any character. */
function processAt(path) {
  const stat = shown(() => readFileSync(path, "latin1"));
  if (!stat) return undefined;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // It has ended, and its parent has not asked about it yet.
  const ended = /^[ZX]$/.test(fields[0]) && Number(fields[17]) <= 1;
  return { started: fields[19], ended };
}

/** The process that has a flock on the part, as Linux shows it in the namespace of this process. */
async function flockHolder(part) {
  const stats = await lstat(part, { bigint: true }).catch(unlessMissing);
  if (!stats) return undefined;
  for (let reads = 0; reads < READS; reads++) {
    for (const line of shown(() => readFileSync("/proc/locks", "utf8"))?.split("\n") ?? []) {
      // `7: FLOCK  ADVISORY  WRITE 4713 fe:00:10019323 0 EOF`; one of a waiter has `->` after the number.
      const [, kind, , , pid, file] = line.split(/\s+/);
      if (kind !== "FLOCK" || !file?.endsWith(`:${stats.ino}`)) continue;
      if (file === `${deviceOf(stats)}:${stats.ino}` || hasOpen(pid, stats)) return Number(pid);
    }
  }
}

function deviceOf({ dev }) {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  return [major, minor].map((number) => number.toString(16).padStart(2, "0")).join(":");
}

/** Btrfs shows other device numbers in the list of locks than of a file. */
function hasOpen(pid, { dev, ino }) {
  const files = shown(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  return files.some((name) => {
    const file = shown(() => statSync(`/proc/${pid}/fd/${name}`, { bigint: true }));
    return file?.dev === dev && file.ino === ino;
  });
}

/** What the system shows, or null. */
function shown(look) {
  try {
    return look();
  } catch {
    return null;
  }
}

function unlessMissing(error) {
  if (error.code !== "ENOENT") throw error;
}
