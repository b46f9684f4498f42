// One writer to a file: worker threads, processes, the native regrip, sinks that two downloads share.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { unlinkSync, writeFileSync } from "node:fs";
import { readFile, readdir, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { Worker } from "node:worker_threads";
import { Engine, MemorySink, download } from "../pkg/node.js";
import { assertFile, prepareWorld, serve, until, world } from "./world.mjs";

prepareWorld();

const STALL = [{ stall: { after: 2_000_000 } }];
const PACKAGE = new URL("../pkg/node.js", import.meta.url).href;

const workers = [];
afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.terminate())));

/** A download in a worker thread; `ended` resolves to "completed" or to a code and a message. */
async function inWorker(url, path) {
  const program = `
    const { parentPort, workerData: { PACKAGE, url, path } } = require("node:worker_threads");
    import(PACKAGE).then(async ({ download }) => {
      const onEvent = ({ event }) => parentPort.postMessage({ event });
      await download(url, path, { onEvent }).then(
        () => parentPort.postMessage({ end: ["completed"] }),
        ({ code, message, advice }) => parentPort.postMessage({ end: [code, message, advice] }),
      );
    });`;
  const worker = new Worker(program, { eval: true, workerData: { PACKAGE, url, path } });
  workers.push(worker);
  const seen = [];
  worker.on("message", (message) => seen.push(message));
  return {
    saw: (event) => until(() => seen.some((message) => message.event === event)),
    ended: async () => {
      await until(() => seen.some(({ end }) => end));
      return seen.find(({ end }) => end).end;
    },
    terminate: () => worker.terminate(),
  };
}

/** `regrip get` in the folder of the test. */
function native(...args) {
  const env = { ...process.env, XDG_STATE_HOME: join(world.folder, "state") };
  const child = spawn(process.env.REGRIP, ["get", ...args], { cwd: world.folder, env, stdio: ["ignore", "ignore", "pipe"] });
  let err = "";
  child.stderr.on("data", (chunk) => (err += chunk));
  return { child, ended: once(child, "close").then(([code]) => ({ code, err })) };
}

const partBytes = (path) => stat(`${path}.part`).then(({ size }) => size, () => 0);

// FJ01
test("of two worker threads that download two versions to one path the second gets PartLocked, and there is one whole file", async () => {
  const path = join(world.folder, "film");
  // Half of the first version, and the rest once the second download has ended.
  let release;
  const released = new Promise((done) => (release = done));
  const server = createServer(async ({ url }, response) => {
    const bytes = url === "/one" ? world.one : world.two;
    response.writeHead(200, { "Content-Length": bytes.length, ETag: `"${url}"` });
    response.write(bytes.subarray(0, 3_000_000));
    if (url === "/one") await released;
    response.end(bytes.subarray(3_000_000));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  try {
    const first = await inWorker(`${origin}/one`, path);
    await first.saw("progress");
    const second = await inWorker(`${origin}/two`, path);
    const [code, message, advice] = await second.ended();
    assert.equal(code, "PartLocked", message);
    assert.ok(message.includes("another download of this process") && message.includes(`${path}.part.lock`), message);
    assert.match(advice, /if its thread was terminated, delete/);
    release();
    assert.deepEqual(await first.ended(), ["completed"]);
    await assertFile(path, world.one);
    assert.deepEqual(await readdir(world.folder), ["film"]);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("a thread that was terminated keeps its lock until the process ends or a person deletes it", async () => {
  const path = join(world.folder, "film");
  const url = await serve([STALL]);
  const first = await inWorker(url, path);
  await first.saw("progress");
  await first.terminate();
  await assert.rejects(download(url, path), { code: "PartLocked", advice: new RegExp(`delete ${path}.part.lock`) });
  unlinkSync(`${path}.part.lock`);
  await download(url, path);
  await assertFile(path, world.one);
});

test("a download whose lock was replaced ends before its next write, and leaves record and lock to the other one", async () => {
  const path = join(world.folder, "film");
  const url = await serve();
  const theirs = JSON.stringify({ host: "nas", pid: 1, token: "theirs" });
  const onEvent = ({ event }) => {
    if (event !== "headers") return;
    unlinkSync(`${path}.part.lock`);
    writeFileSync(`${path}.part.lock`, theirs);
  };
  const failing = new Engine({ folder: world.folder }).download(url, path, { onEvent });
  await assert.rejects(failing, { code: "PartLocked", class: "permanent", attempts: 1, message: /no longer locked by this download: .*film\.part\.lock/ });
  const record = JSON.parse(await readFile(`${path}.part.json`, "utf8"));
  assert.equal(record.status, "downloading");
  assert.equal(await partBytes(path), 0);
  assert.equal(await readFile(`${path}.part.lock`, "utf8"), theirs);
});

// K05
test("a sink that two engines are given has one writer", async () => {
  const url = await serve([STALL]);
  const sink = new MemorySink();
  const first = new Engine().start({ url, to: sink });
  await until(async () => sink.size() > 0);
  await assert.rejects(new Engine().download(world.faultd.url("/film"), sink), { code: "PartLocked", message: /another download of this process/ });
  first.cancel();
  await assert.rejects(first.done, { code: "cancelled" });
  await new Engine().download(await serve(), new MemorySink());
});

test("while Node writes a part, the native regrip gets PartLocked, and the other way round", { skip: !process.env.REGRIP && "REGRIP names no binary" }, async () => {
  const path = join(world.folder, "film");
  const url = await serve([STALL, STALL]);
  const engine = new Engine({ folder: world.folder });
  const ours = engine.start({ url, to: "film" });
  await until(async () => (await partBytes(path)) > 0);
  for (const more of [[], ["--adopt-part"]]) {
    const { code, err } = await native(url, ...more).ended;
    assert.notEqual(code, 0);
    assert.ok(err.includes(`being written by process ${process.pid} `) && err.includes(`${path}.part.lock`), err);
  }
  ours.cancel();
  await assert.rejects(ours.done, { code: "cancelled" });
  await engine.remove(ours.id);
  await assert.rejects(stat(`${path}.part`), { code: "ENOENT" });

  const theirs = native(url);
  await until(async () => (await partBytes(path)) > 0);
  const before = await readdir(world.folder);
  await assert.rejects(download(url, path, { adoptPart: true }), { code: "PartLocked", message: new RegExp(`is being written by process ${theirs.child.pid}`) });
  assert.deepEqual(await readdir(world.folder), before);
  theirs.child.kill("SIGKILL");
  await theirs.ended;
  await download(url, path, { adoptPart: true });
  await assertFile(path, world.one);
});

test("the native regrip takes over the lock file of a Node process that was killed, and leaves none", { skip: !process.env.REGRIP && "REGRIP names no binary" }, async () => {
  const path = join(world.folder, "film");
  const url = await serve([STALL]);
  const program = `const { download } = await import(${JSON.stringify(PACKAGE)}); await download(${JSON.stringify(url)}, ${JSON.stringify(path)});`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program]);
  await until(async () => (await partBytes(path)) > 0);
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.ok((await readdir(world.folder)).includes("film.part.lock"));
  const { code, err } = await native(url, "--adopt-part").ended;
  assert.equal(code, 0, err);
  await assertFile(path, world.one);
  assert.ok(!(await readdir(world.folder)).includes("film.part.lock"));
});
