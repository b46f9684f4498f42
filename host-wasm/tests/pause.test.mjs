// Pausing, resuming, and the order in which downloads start.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Engine, MemorySink } from "../pkg/node.js";
import { sha256 } from "./faultd.mjs";
import { ONE, TWO, assertFile, from, prepareWorld, until, world } from "./world.mjs";

prepareWorld();

const QUICK = { retryBaseDelayMs: 1, retryMaxDelayMs: 5 };
const STALL = [{ stall: { after: 2_000_000 } }];
const names = (events) => events.map(({ event }) => event).filter((event) => event !== "progress");

async function serveFiles(files) {
  await world.faultd.play({ files: Object.fromEntries(Object.entries(files).map(([name, answers]) => [`/${name}`, { versions: [ONE], answers }])) });
  return (name) => world.faultd.url(`/${name}`);
}

/** Waits until the last event but progress is this one, and some bytes are there. */
const at = (events, event, bytes = 0) => until(() => names(events).at(-1) === event && (events.at(-1).bytes ?? 0) >= bytes);

// K08
test("a paused download gives its permit back, keeps its bytes, and goes on from them", async () => {
  const url = await serveFiles({ one: [STALL], two: [] });
  const events = [];
  const engine = new Engine({ ...QUICK, folder: world.folder, maxConcurrentDownloads: 1 });
  const one = engine.start({ url: url("one"), to: "one", sha256: true, onEvent: (event) => events.push(event) });
  await at(events, "headers", 1);
  const two = engine.start({ url: url("two"), to: "two" });
  await engine.pause(one.id);
  await two.done;
  assert.deepEqual([names(events).at(-1), events.at(-1).why], ["waiting", "paused"]);
  const [record] = await engine.list();
  const { bytes } = record;
  assert.deepEqual([record.status, record.attempts, bytes > 0 && bytes <= 2_000_000], ["paused", 1, true]);
  assert.ok((await readFile(join(world.folder, "one.part"))).equals(world.one.subarray(0, bytes)));

  const other = new Engine({ ...QUICK, folder: world.folder });
  assert.deepEqual((await other.list()).map(({ status }) => status), ["paused"]);
  assert.deepEqual(await other.resumeUnfinished(), []);
  await engine.pause(one.id); // once more: nothing changes

  const again = await engine.resume(one.id);
  const [summary, same] = await Promise.all([one.done, again.done]);
  assert.deepEqual([summary.attempts, summary.sha256, same.bytes], [2, sha256(world.one), summary.bytes]);
  await assertFile(join(world.folder, "one"), world.one);
  assert.deepEqual(names(events), ["queued", "started", "headers", "waiting", "queued", "started", "headers", "completed"]);
  assert.equal(from((await world.faultd.gets("/one"))[1]), bytes);
});

test("a paused stream goes on too, and all downloads are paused and resumed together", async () => {
  const url = await serveFiles({ one: [STALL], two: [STALL] });
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const [sink, events] = [new MemorySink(), []];
  const stream = new WritableStream({ write: (chunk) => sink.write(chunk) });
  const downloads = [engine.start({ url: url("one"), to: stream, onEvent: (event) => events.push(event) }), engine.start({ url: url("two"), to: "two" })];
  await at(events, "headers", 1);
  await until(async () => (await world.faultd.gets("/two")).length > 0);
  await engine.pause();
  await until(async () => (await engine.list()).every(({ status }) => status === "paused"));
  assert.equal((await engine.resume()).length, 2);
  await Promise.all(downloads.map(({ done }) => done));
  assert.ok(world.one.equals(sink.bytes()));
  await assertFile(join(world.folder, "two"), world.one);
  assert.deepEqual(await engine.resume(), []);
});

test("a cancel and an abort end a paused download, and another call takes it up", async () => {
  // However much of it is received before each pause, the last one is not complete.
  const stall = [{ stall: { after: 1_000_000 } }];
  const url = await serveFiles({ one: [stall] });
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const events = [];
  const stop = new AbortController();
  const paused = async (more) => {
    events.length = 0;
    const download = engine.start({ url: url("one"), to: "one", onEvent: (event) => events.push(event), ...more });
    await at(events, "headers");
    await engine.pause(download.id);
    await at(events, "waiting");
    return download;
  };
  const first = await paused();
  await engine.cancel(first.id);
  await assert.rejects(first.done, { code: "cancelled" });
  assert.equal(events.at(-1).event, "cancelled");
  assert.deepEqual((await engine.list()).map(({ status }) => status), ["cancelled"]);

  await serveFiles({ one: [stall] });
  const second = await paused({ signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(second.done, { message: "enough" });

  await serveFiles({ one: [stall] });
  const third = await paused();
  // As natively: who asks for it again wants it.
  await Promise.all([engine.download(url("one"), "one"), third.done]);
  await assertFile(join(world.folder, "one"), world.one);
});

test("a download that waits for its turn or its retry is paused at once, and one that is not there is an error", async () => {
  const url = await serveFiles({ one: [STALL], two: [[{ status: { code: 503, retry_after: "3600" } }]], three: [] });
  const engine = new Engine({ folder: world.folder, maxConcurrentDownloads: 1, retryMaxDelayMs: 3_600_000 });
  const events = { two: [], one: [], three: [] };
  const start = (name) => engine.start({ url: url(name), to: name, onEvent: (event) => events[name].push(event) });
  start("two").done.catch(() => {});
  await at(events.two, "retrying");
  start("one").done.catch(() => {});
  await at(events.one, "headers");
  const three = start("three");
  await at(events.three, "queued");
  await engine.pause();
  await until(() => Object.values(events).every((events) => events.at(-1).why === "paused"));
  await engine.resume(three.id);
  await three.done;
  await assert.rejects(engine.pause(99), { code: "NoSuchDownload" });
  await assert.rejects(engine.pause(three.id), { code: "NoSuchDownload" });
  for (const { id } of await engine.list()) await engine.cancel(id);
});

test("downloads start by priority, and in the order of their calls if they have the same", async () => {
  const order = ["first", "high", "higher too", "default", "default too", "low"];
  const url = await serveFiles(Object.fromEntries(order.map((name) => [name.replace(" ", "-"), name === "first" ? [STALL] : []])));
  const engine = new Engine({ ...QUICK, folder: world.folder, maxConcurrentDownloads: 1 });
  const started = [];
  const start = (name, priority) => engine.start({ url: url(name.replace(" ", "-")), to: name, priority, onEvent: ({ event }) => event === "started" && started.push(name) });
  const first = start("first", -5);
  await until(() => started.length === 1);
  const rest = [start("low", -1), start("default"), start("default too", 0), start("high", 7), start("higher too", 7)];
  await until(async () => (await engine.list()).length === 6);
  await engine.cancel(first.id);
  await Promise.all(rest.map(({ done }) => done));
  assert.deepEqual(started, order);
});

// K09
test("an origin that is busy keeps no other from starting", async () => {
  const BUSY = [{ status: { code: 503, retry_after: "3600" } }];
  const other = await serveFiles({ moving: [STALL], "busy-1": [BUSY, BUSY], "busy-2": [BUSY, BUSY], "busy-3": [BUSY, BUSY], elsewhere: [] });
  const engine = new Engine({ folder: world.folder, maxConcurrentDownloads: 2, retryMaxDelayMs: 3_600_000 });
  const events = [];
  const start = (url) => engine.start({ url, to: new MemorySink(), onEvent: (event) => events.push(event) });
  const moving = start(other("moving"));
  await until(() => events.some(({ event }) => event === "headers"));
  const busy = ["busy-1", "busy-2", "busy-3"].map((name) => start(other(name)));
  await until(() => events.some(({ event, why }) => event === "waiting" && /origin_busy/.test(why)));
  // The same server by another name is another origin.
  await start(other("elsewhere").replace("127.0.0.1", "localhost")).done;
  for (const download of [moving, ...busy]) download.cancel();
  await Promise.allSettled([moving, ...busy].map(({ done }) => done));
});

test("a paused download is resumed with what the call gives anew: another URL, a digest, sources, a priority", async () => {
  const url = await serveFiles({ one: [STALL], moved: [], gone: [[{ status: { code: 404 } }]], other: [] });
  for (const onExists of ["overwrite", "rename", "fail"]) {
    await world.faultd.play({ files: { "/one": { versions: [ONE], answers: [STALL] }, "/moved": { versions: [ONE] }, "/gone": { versions: [ONE], then: [{ status: { code: 404 } }] }, "/other": { versions: [TWO] } } });
    const engine = new Engine({ ...QUICK, folder: world.folder, onExists });
    const start = async (name) => {
      const events = [];
      const download = engine.start({ url: url("one"), to: name, headers: { authorization: "Bearer secret" }, onEvent: (event) => events.push(event) });
      await at(events, "headers", 1);
      await engine.pause(download.id);
      await at(events, "waiting");
      return download;
    };
    // Another URL, with headers of its own.
    const name = `moved ${onExists}`;
    const moved = await start(name);
    const again = await engine.resume(moved.id, { url: url("moved"), headers: { "x-new": "1" }, sha256: sha256(world.one), priority: 3 });
    const [first, second] = await Promise.all([moved.done, again.done]);
    assert.deepEqual([first.path, first.url, first.sha256, second.sha256], [join(world.folder, name), url("moved"), undefined, sha256(world.one)]);
    await assertFile(join(world.folder, name), world.one);
    const asked = await world.faultd.gets("/moved");
    assert.ok(from(asked[0]) > 0);

    // A digest that is wrong is an error of its own caller.
    await world.faultd.play({ files: { "/one": { versions: [ONE], answers: [STALL] }, "/other": { versions: [TWO] } } });
    const digested = await start(`digested ${onExists}`);
    const wrong = await engine.resume(digested.id, { sha256: "0".repeat(64) });
    await assert.rejects(wrong.done, { code: "DigestMismatch" });
    await digested.done;

    // Sources: the first URL fails then.
    await world.faultd.play({ files: { "/one": { versions: [ONE], answers: [STALL], then: [{ status: { code: 404 } }] }, "/moved": { versions: [ONE] }, "/other": { versions: [TWO] } } });
    const mirrored = await start(`mirrored ${onExists}`);
    const resumed = await engine.resume(mirrored.id, { mirrors: [url("moved")], onExpired: () => undefined });
    await Promise.all([mirrored.done, resumed.done]);
    await assertFile(join(world.folder, `mirrored ${onExists}`), world.one);

    // What cannot be is refused, and the download stays as it is.
    await world.faultd.play({ files: { "/one": { versions: [ONE], answers: [STALL] }, "/other": { versions: [TWO] } } });
    const kept = await start(`kept ${onExists}`);
    await assert.rejects(engine.resume(kept.id, { url: "ftp://host/" }), TypeError);
    await assert.rejects(engine.resume(kept.id, { colour: 1 }), TypeError);
    await assert.rejects((await engine.resume(kept.id, { to: "elsewhere" })).done, { code: "DestinationBusy" });
    await assert.rejects((await engine.resume(kept.id, { signal: AbortSignal.abort() })).done, { name: "AbortError" });
    assert.equal((await engine.list())[0].status, "paused");
    await (await engine.resume(kept.id, { to: `kept ${onExists}`, url: url("one") })).done;
    await assertFile(join(world.folder, `kept ${onExists}`), world.one);
  }
});

test("a URL of another file is refused, and the record stays as it was", async () => {
  const url = await serveFiles({ one: [STALL] });
  await world.faultd.play({ files: { "/one": { versions: [ONE], answers: [STALL] }, "/other": { versions: [TWO] } } });
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const events = [];
  const first = engine.start({ url: url("one"), to: "one", onEvent: (event) => events.push(event) });
  await at(events, "headers", 1);
  await engine.pause(first.id);
  await at(events, "waiting");
  const [{ bytes }] = await engine.list();
  await assert.rejects((await engine.resume(first.id, { url: url("other") })).done, { code: "DestinationBusy" });
  const [record] = await engine.list();
  assert.deepEqual([record.url, record.bytes], [url("one"), bytes]);
  await (await engine.resume(record.id)).done;
  await assertFile(join(world.folder, "one"), world.one);
});
