// A thousand downloads, of which some are cut, refused or cancelled, leave nothing behind: not in the module's memory, not
// on the heap of JavaScript.
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as core from "../pkg/core.js";
import { Engine, MemorySink, download, resumableFetch, retry } from "../pkg/node.js";
import { prepareWorld, world } from "./world.mjs";

prepareWorld();

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

const AT_ONCE = 20;
const ROUND = 400;
const PAGE = 65_536;
const ROUNDS = 4;
/** What a download may leave on the heap: less than a tenth of them would with a record. */
const LEFT_BYTES = 64;
const SMALL = { seed: 1, size: 10_000, etag: '"small"' };

/** One of every kind, to a place of its own. */
async function downloadOne(engine, number) {
  const path = join(world.folder, `film ${number}`);
  const url = (name) => world.faultd.url(`/${name}`);
  switch (number % 10) {
    case 0:
      return assert.rejects(engine.download(url("gone"), path), { code: "Status" });
    case 1: {
      const stop = new AbortController();
      const onEvent = ({ event }) => event === "progress" && stop.abort();
      return assert.rejects(engine.download(url("stalls"), new MemorySink(), { signal: stop.signal, onEvent }), { name: "AbortError" });
    }
    case 2:
      return engine.download(url("film"), new MemorySink(), { sha256: true });
    case 3:
      return engine.download(url("cut"), path);
    case 4:
      return assert.rejects(retry(() => Promise.reject(new TypeError("no")), { maxAttempts: 2, baseDelayMs: 0, isRetryable: () => true }));
    default:
      return engine.download(url("film"), path, { sha256: true });
  }
}

async function downloadMany(engine, from, to) {
  for (let first = from; first < to; first += AT_ONCE) {
    const numbers = Array.from({ length: AT_ONCE }, (_, index) => first + index);
    await Promise.all(numbers.map((number) => downloadOne(engine, number)));
  }
}

/** Bytes in use. Finalizers run between two turns of the event loop, so that one collection does not find everything. */
async function inUse() {
  for (let time = 0; time < 5; time++) {
    collectGarbage();
    await new Promise((done) => setTimeout(done, 10));
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return { heap: heapUsed + arrayBuffers, module: core.initSync().memory.buffer.byteLength };
}

test("a thousand downloads leave the module's memory and the heap as they were", async () => {
  const answers = Array.from({ length: 1000 }, (_, index) => (index % 2 ? [] : [{ cut: { after: 5_000 } }]));
  const versions = [SMALL];
  await world.faultd.play({
    files: {
      "/film": { versions },
      "/cut": { versions, answers },
      "/stalls": { versions, then: [{ stall: { after: 5_000 } }] },
      "/gone": { versions, then: [{ status: { code: 404 } }] },
    },
  });
  const engine = new Engine({ retryBaseDelayMs: 0, maxConcurrentDownloads: 10 });
  await downloadMany(engine, 0, ROUND);
  const before = await inUse();

  // The first rounds also leave what V8 learns; a leak is in every one.
  const left = [];
  let last = before;
  for (let round = 1; round <= ROUNDS; round++) {
    await downloadMany(engine, round * ROUND, (round + 1) * ROUND);
    const now = await inUse();
    left.push((now.heap - last.heap) / ROUND);
    last = now;
  }

  // One page more if more than before was needed at one moment.
  assert.ok(last.module - before.module <= PAGE, `the module's memory grew from ${before.module} to ${last.module} bytes`);
  assert.ok(Math.min(...left) < LEFT_BYTES, `each download left ${left} bytes on the heap, by round`);
  assert.equal((await readdir(world.folder)).length, (ROUNDS + 1) * ROUND * 0.6);
});

/** What a call that has an engine of its own may leave on the heap: an engine takes 4 KB. */
const LEFT_OF_AN_ENGINE_BYTES = 512;

test("an engine that nobody has any more is freed, and leaves nothing of its downloads", async () => {
  await world.faultd.play({ files: { "/film": { versions: [SMALL] } } });
  const url = world.faultd.url("/film");
  const calls = [
    async () => (await resumableFetch(url)).arrayBuffer(),
    () => download(url, new MemorySink(), { fetch: (...asked) => fetch(...asked) }),
  ];
  for (const call of calls) {
    const left = [];
    let last;
    for (let round = 0; round <= ROUNDS; round++) {
      for (let number = 0; number < ROUND; number += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, call));
      const now = await inUse();
      if (last) left.push((now.heap - last.heap + now.module - last.module) / ROUND);
      last = now;
    }
    assert.ok(Math.min(...left) < LEFT_OF_AN_ENGINE_BYTES, `each call left ${left} bytes, by round`);
  }

  const engines = [];
  for (let number = 0; number < AT_ONCE; number++) {
    const engine = new Engine({ folder: world.folder, onEvent: () => engine });
    engines.push(new WeakRef(engine));
    await engine.download(url, join(world.folder, `film ${number}`));
  }
  await inUse();
  // The last one may still be on the stack.
  assert.ok(engines.filter((engine) => engine.deref()).length <= 1);
});
