// One writer to a part, by a lock file: `<path>.part.lock`, made as a whole and never twice, with the process that holds it.
// One whose process is gone is taken away.
import { randomBytes } from "node:crypto";
import { link, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";

/** What this process holds, here and in other copies of this file in it. */
const HELD = Symbol.for("regrip.locks");
const held = (globalThis[HELD] ??= new Set());

/** How often a lock that changes hands is looked at. */
const TRIES = 16;

/** Thrown where another download holds the lock. */
export class Locked extends Error {
  constructor(path, pid) {
    super(`${path} is being written by ${pid === process.pid ? "another download of this process" : `process ${pid}`}`);
    this.code = "PartLocked";
    this.pid = pid;
  }
}

/** Locks the part of `path`; resolves to what unlocks it. */
export async function lock(path) {
  const name = `${path}.part.lock`;
  if (held.has(name)) throw new Locked(`${path}.part`, process.pid);
  held.add(name);
  try {
    await take(name, path);
  } catch (error) {
    held.delete(name);
    throw error;
  }
  return async () => {
    await unlink(name).catch(() => {});
    held.delete(name);
  };
}

async function take(name, path) {
  const mine = `${name}.${process.pid}.${randomBytes(4).toString("hex")}`;
  await writeFile(mine, JSON.stringify({ pid: process.pid, started: startOf(process.pid) }), { flag: "wx", mode: 0o600 });
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      try {
        return await link(mine, name);
      } catch (error) {
        if (error.code !== "EEXIST") throw error;
      }
      const text = await readFile(name, "utf8").catch(unlessMissing);
      if (text === undefined) continue;
      const holder = parsed(text);
      if (holder && isAlive(holder)) throw new Locked(`${path}.part`, holder.pid);
      await takeAway(name, `${mine}.stale`, text);
    }
    throw new Error(`${name} changes hands again and again`);
  } finally {
    await unlink(mine).catch(() => {});
  }
}

/** Only one can rename it; who finds that it was another one by then puts it back. */
async function takeAway(name, aside, text) {
  try {
    await rename(name, aside);
  } catch (error) {
    return unlessMissing(error);
  }
  if ((await readFile(aside, "utf8")) !== text) await link(aside, name).catch(() => {});
  await unlink(aside);
}

function parsed(text) {
  try {
    const holder = JSON.parse(text);
    return Number.isInteger(holder.pid) ? holder : undefined;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, started }) {
  // Ours, but not held: an earlier process had this number.
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
  const now = startOf(pid);
  return started === undefined || now === undefined || started === now;
}

/** When a process started, where the system tells: numbers of processes are used again. */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

function unlessMissing(error) {
  if (error.code !== "ENOENT") throw error;
}
