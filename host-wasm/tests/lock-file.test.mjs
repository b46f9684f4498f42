// Node's lock files by themselves, by the table that the native store is tested with too.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs, { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, open, readFile, readdir, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { fateOf, lock, newHolder } from "../js/lock-file.js";
import { lockPath } from "../js/paths.js";
import { FileSink } from "../js/sinks/file.js";

const TABLE = JSON.parse(readFileSync(new URL("../../tests/locks.json", import.meta.url)));

let folder, path, file;
/** What stands for the names with `$` in the table. */
let words;
const children = [];

const stat = (pid) => readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1].split(" ");

before(async () => {
  const other = spawn("sleep", ["1000"]);
  const gone = spawn("true");
  await once(gone, "exit");
  // The child of a process that does not wait for it; it ends once that process is no shell any more, which would.
  const parent = spawn("sh", ["-c", "cat <&3 & echo $!; exec sleep 1000"], { stdio: ["ignore", "pipe", "inherit", "pipe"] });
  children.push(other, parent);
  const zombie = Number(String((await once(parent.stdout, "data"))[0]));
  while (readFileSync(`/proc/${parent.pid}/comm`, "latin1") !== "sleep\n") await new Promise((done) => setTimeout(done, 1));
  parent.stdio[3].destroy();
  while (stat(zombie)[0] !== "Z") await new Promise((done) => setTimeout(done, 1));
  const me = newHolder();
  words = { $host: me.host, $own: me.pid, $ownStarted: me.started, $other: other.pid, $otherStarted: stat(other.pid)[19], $zombie: zombie, $zombieStarted: stat(zombie)[19], $gone: gone.pid };
});
after(() => children.forEach((child) => child.kill()));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "regrip-"));
  path = join(folder, "film");
  file = `${path}.part.lock`;
});
afterEach(() => rm(folder, { recursive: true }));

/** A lock file of a process that is gone, with what differs. */
function holder(differs = {}) {
  const fields = { ...newHolder(), pid: words.$gone, token: "stale", ...differs };
  return JSON.stringify(fields, (_, value) => words[value] ?? value);
}

async function put({ lock, new: next, text, repeat, odd }) {
  if (lock) await writeFile(file, holder(lock));
  if (next) await writeFile(`${file}.new`, holder(next));
  if (text !== undefined) await writeFile(file, text);
  if (repeat) await writeFile(file, " ".repeat(repeat) + holder());
  const elsewhere = join(folder, "elsewhere");
  if (odd === "folder") await mkdir(file);
  if (odd === "link") await writeFile(elsewhere, holder());
  if (odd?.endsWith("link")) await symlink(elsewhere, file);
  if (odd === "pipe") execFileSync("mkfifo", [file]);
}

const filled = (text) => text.replace("$other", words.$other).replace("$host", words.$host);

for (const row of TABLE) {
  test(`a lock ${row.name} is ${row.end === "taken" ? "taken over" : "respected"}`, async () => {
    await put(row);
    const before = await readdir(folder);
    if (row.end === "taken") {
      const held = await lock(path);
      assert.equal(JSON.parse(await readFile(file, "utf8")).pid, process.pid);
      await held.check();
      await held.unlock();
      assert.deepEqual(await readdir(folder), []);
    } else {
      await assert.rejects(lock(path), (error) => {
        assert.equal(error.code, "PartLocked");
        assert.ok(error.file.startsWith(file));
        const message = error.message.replace("another download of this process", "process");
        assert.ok(message.includes(filled(row.says)) && message.includes(file), message);
        assert.match(error.advice, /the bytes are kept$/);
        return true;
      });
      assert.deepEqual(await readdir(folder), before);
    }
  });
}

test("a runtime that may not look at processes takes nothing over", async (context) => {
  const refused = Object.assign(new Error("Requires run access"), { name: "NotCapable" });
  context.mock.method(process, "kill", () => {
    throw refused;
  });
  await writeFile(file, holder());
  await assert.rejects(lock(path), { code: "PartLocked", message: /no information about processes/, advice: new RegExp(`delete ${file}`) });
});

test("a runtime that does not know where it is takes nothing over", () => {
  const gone = JSON.parse(holder());
  const me = newHolder();
  assert.equal(fateOf(gone, me), "gone");
  for (const place of ["host", "boot", "pidNamespace"]) {
    assert.equal(fateOf(gone, { ...me, [place]: null }), "no information about processes", place);
    assert.equal(fateOf({ ...gone, [place]: null }, { ...me, [place]: null }), "no information about processes", place);
  }
});

/** Has the kernel's list of locks say this, until the test is over. */
function listLocks(context, text) {
  const { readFileSync } = fs;
  context.mock.method(fs, "readFileSync", (path, ...more) => (path === "/proc/locks" ? text : readFileSync(path, ...more)));
  syncBuiltinESMExports();
  context.after(() => {
    context.mock.restoreAll();
    syncBuiltinESMExports();
  });
}

test("a flock counts if it is on the part, even if the list of locks shows another device number", async (context) => {
  const part = await open(`${path}.part`, "w");
  const { ino } = await part.stat();
  const held = (pid) => `1: POSIX  ADVISORY  WRITE 1 00:99:${ino} 0 EOF\n2: FLOCK  ADVISORY  WRITE ${pid} 00:99:${ino} 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 1 00:99:${ino} 0 EOF\n`;
  listLocks(context, held(process.pid));
  await assert.rejects(lock(path), { code: "PartLocked", message: new RegExp(`by process ${process.pid}$`) });
  assert.deepEqual(await readdir(folder), ["film.part"]);
  context.mock.restoreAll();

  listLocks(context, held(words.$other));
  await (await lock(path)).unlock();
  await part.close();
});

test("of many that find a stale lock file exactly one gets it", async () => {
  for (let round = 0; round < 50; round++) {
    await writeFile(file, holder());
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => lock(path)));
    const [got, ...more] = tries.filter(({ status }) => status === "fulfilled");
    assert.equal(more.length, 0);
    for (const { reason } of tries) if (reason) assert.equal(reason.code, "PartLocked", reason.message);
    await got.value.unlock();
    assert.deepEqual(await readdir(folder), []);
  }
});

test("a lock that was removed or replaced is lost, and its successor's stays", async () => {
  for (const text of [undefined, holder({ pid: "$other", started: "$otherStarted" })]) {
    const held = await lock(path);
    const sink = new FileSink(path);
    sink.lockedBy(held);
    await sink.open(true);
    await sink.write(Buffer.from("abc"), 0);
    await sink.flush();
    await sink.write(Buffer.from("def"), 3);

    await unlink(file);
    if (text) await writeFile(file, text);
    await writeFile(`${path}.part`, "another film");
    const lost = { code: "PartLocked", message: /film\.part is no longer locked by this download/, file };
    await assert.rejects(sink.write(Buffer.alloc(2 << 20), 6).then(() => sink.flush()), lost);
    await assert.rejects(sink.truncate(0), lost);
    await assert.rejects(sink.commit(true), lost);
    await assert.rejects(sink.remove(), lost);
    await held.unlock();
    assert.equal(await readFile(`${path}.part`, "utf8"), "another film");
    assert.equal(existsSync(file) ? await readFile(file, "utf8") : undefined, text);
    await rm(`${path}.part`);
    await rm(file, { force: true });
  }
});

test("a lock file names its holder from the first moment that another turn of the event loop sees it", async () => {
  for (let time = 0; time < 50; time++) {
    const locking = lock(path);
    while (!existsSync(file)) await new Promise((done) => setImmediate(done));
    assert.equal(JSON.parse(readFileSync(file, "utf8")).pid, process.pid);
    await (await locking).unlock();
  }
});

test("a lock that was only touched is still held", async () => {
  const held = await lock(path);
  const text = await readFile(file);
  await unlink(file);
  await writeFile(file, text);
  await held.check();
  await held.unlock();
  assert.deepEqual(await readdir(folder), []);
});

test("the lock file of a long name has a name that fits", () => {
  for (const [length, expected] of [
    [242, 247],
    [243, 69],
    [255, 69],
  ]) {
    assert.equal(basename(lockPath(join("/f", "x".repeat(length)))).length, expected);
  }
});

// D02
test("too many open files do not count as a lost lock", () => {
  const script = `
    import { openSync, utimesSync } from "node:fs";
    import { lock } from ${JSON.stringify(new URL("../js/lock-file.js", import.meta.url))};
    const held = await lock(process.argv[1]);
    utimesSync(process.argv[2], 1, 1); // so that it is read again
    try {
      for (;;) openSync("/dev/null");
    } catch {}
    await held.check().catch((error) => console.log(error.code));`;
  const limited = ["-c", 'ulimit -n 64; exec "$0" "$@"', process.execPath, "--input-type=module", "-e", script, path, file];
  assert.equal(execFileSync("sh", limited, { encoding: "utf8" }), "EMFILE\n");
});
