// Node's file sink by itself.
import assert from "node:assert/strict";
import files, { link, mkdtemp, open, readFile, readdir, rename, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { FileSink } from "../js/sinks/file.js";

let folder, path, sink;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "regrip-"));
  path = join(folder, "file");
  sink = new FileSink(path);
});
afterEach(async () => {
  await sink.close().catch(() => {});
  await rm(folder, { recursive: true });
});

const bytes = (length, first = 0) => Uint8Array.from({ length }, (_, index) => (first + index) % 251);

async function fill(size, piece) {
  for (let at = 0; at < size; at += piece) {
    await sink.write(bytes(Math.min(piece, size - at), at), at);
  }
}

// X11
test("small chunks and large ones all arrive, in order", async () => {
  await sink.size();
  await fill(3_000_000, 1013);
  await sink.write(bytes(2_000_000, 3_000_000), 3_000_000);
  assert.equal(await sink.size(), 5_000_000);
  await sink.commit(true);
  assert.deepEqual(await readdir(folder), ["file"]);
  assert.ok((await readFile(path)).equals(bytes(5_000_000)));
});

test("what was handed over counts, is read and is cut, before it is on the disk", async () => {
  await sink.size();
  await sink.write(bytes(1000), 0);
  assert.equal(await sink.size(), 1000);
  await sink.write(bytes(500, 1000), 1000);
  assert.deepEqual(await sink.read(900, 200), bytes(200, 900));
  assert.equal((await sink.read(1400, 200)).length, 100);
  await sink.write(bytes(500, 1500), 1500);
  await sink.truncate(1200);
  assert.equal(await sink.size(), 1200);
});

// D15
test("a folder that cannot be opened after the rename is a warning, and the file has its name", async () => {
  const { chmod, chown } = await import("node:fs/promises");
  const root = process.geteuid() === 0;
  await sink.size();
  await sink.write(bytes(1000), 0);
  if (root) await Promise.all([chown(folder, 65534, 65534), chown(`${path}.part`, 65534, 65534)]);
  await chmod(folder, 0o300);
  if (root) process.seteuid(65534); // root may open everything
  const warning = await sink.commit(true).finally(() => root && process.seteuid(0));
  await chmod(folder, 0o700);
  assert.equal(warning?.code, "EACCES");
  assert.deepEqual(await readdir(folder), ["file"]);
});

// D11
test("a link in the part's place is not followed", async () => {
  await writeFile(join(folder, "elsewhere"), "precious");
  await symlink(join(folder, "elsewhere"), `${path}.part`);
  await assert.rejects(sink.size(), { code: "ForeignPart" });
  await assert.rejects(sink.open(true), { code: "ForeignPart" });
});

/** Has writev answer as `instead` says, until the test is over. */
async function tamper(context, instead) {
  const handle = await open(folder);
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  const { writev } = prototype;
  prototype.writev = function (chunks, at) {
    return instead(chunks, at, writev.bind(this));
  };
  context.after(() => (prototype.writev = writev));
}

// D04
test("a write that takes only some of the bytes is continued", async (context) => {
  await tamper(context, (chunks, at, writev) => writev([chunks[0].subarray(0, 700)], at));
  await sink.size();
  await fill(10_000, 1000);
  await sink.commit(true);
  assert.ok((await readFile(path)).equals(bytes(10_000)));
});

// D04
test("a write of nothing is an error", async (context) => {
  await tamper(context, async () => ({ bytesWritten: 0 }));
  await sink.size();
  await fill(10_000, 1000);
  await assert.rejects(sink.commit(true), { message: "the system writes nothing" });
});

// D04
test("after a write that failed nothing is written beyond the hole", async (context) => {
  const starts = [];
  await tamper(context, async (chunks, at, writev) => {
    starts.push(at);
    if (at > 0) throw Object.assign(new Error("full"), { code: "ENOSPC" });
    return writev(chunks, at);
  });
  await sink.size();
  const batch = bytes(1 << 20);
  await sink.write(batch, 0);
  await sink.write(batch, batch.length);
  await assert.rejects(sink.write(batch, 2 * batch.length), { code: "ENOSPC" });
  await assert.rejects(sink.flush(), { code: "ENOSPC" });
  await assert.rejects(sink.close(), { code: "ENOSPC" });
  assert.deepEqual(starts, [0, batch.length]);
  assert.equal(await sink.size(), batch.length);
});

test("a file that has taken the part's name is neither committed nor removed", async () => {
  for (const act of ["commit", "remove"]) {
    await sink.open(true);
    await sink.write(bytes(1000), 0);
    await sink.flush();
    await writeFile(join(folder, "other"), "precious");
    await rename(join(folder, "other"), `${path}.part`);
    await assert.rejects(sink[act](true), { message: "its name now belongs to another file" });
    assert.deepEqual(await readdir(folder), ["file.part"]);
    assert.equal(await readFile(`${path}.part`, "utf8"), "precious");
    await sink.close();
    await unlink(`${path}.part`);
  }
  await sink.open(true);
  await unlink(`${path}.part`);
  await assert.rejects(sink.commit(true), { message: "its name is gone" });
  await symlink("elsewhere", `${path}.part`);
  await assert.rejects(sink.remove(), { code: "ForeignPart" });
  assert.deepEqual(await readdir(folder), ["file.part"]);
});

test("a file that got its second name before a crash loses the first one", async () => {
  for (const replace of [true, false]) {
    await sink.open(true);
    await sink.write(bytes(1000), 0);
    await sink.flush();
    await link(`${path}.part`, path);
    assert.equal(await sink.commit(replace), undefined);
    assert.deepEqual(await readdir(folder), ["file"]);
    await unlink(path);
  }
});

/** Has this function of `node:fs/promises` be another one until the test is over. */
function replaced(context, name, other) {
  const own = files[name];
  const use = (call) => {
    files[name] = call;
    syncBuiltinESMExports();
  };
  use(other);
  context.after(() => use(own));
}

test("without hard links a new name is taken by an empty file, which the part replaces", async (context) => {
  const refuse = async () => {
    throw Object.assign(new Error("operation not permitted"), { code: "EPERM" });
  };
  replaced(context, "link", refuse);
  await sink.open(true);
  await sink.write(bytes(1000), 0);
  assert.equal(await sink.commit(false), undefined);
  assert.deepEqual(await readdir(folder), ["file"]);
  assert.ok((await readFile(path)).equals(bytes(1000)));

  await sink.open(true);
  await assert.rejects(sink.commit(false), { code: "EEXIST" });
  assert.deepEqual((await readdir(folder)).sort(), ["file", "file.part"]);
  await unlink(path);
  replaced(context, "rename", refuse);
  await assert.rejects(sink.commit(false), { code: "EPERM" });
  assert.deepEqual(await readdir(folder), ["file.part"]);
});
