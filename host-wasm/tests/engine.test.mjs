// The engine's interface in Node: iterators, records, locks, other processes, sinks.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Engine, MemoryLedger, MemorySink, RegripError, StreamSink, download } from "../pkg/node.js";
import { sha256 } from "./faultd.mjs";
import { ONE, SIZE, TWO, assertFile, from, prepareWorld, serve, until, world } from "./world.mjs";

prepareWorld();

const QUICK = { retryBaseDelayMs: 1, retryMaxDelayMs: 5 };
const STALL = [{ stall: { after: 2_000_000 } }];
const names = (events) => events.map(({ event }) => event);

/** A download in a process of its own, which is killed when it has told of progress. */
async function killedInTheMiddle(url, to) {
  const program = `
    import { download } from ${JSON.stringify(new URL("../pkg/node.js", import.meta.url).href)};
    await download(${JSON.stringify(url)}, ${JSON.stringify(to)}, { onEvent: ({ event }) => console.log(event) });`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  for await (const chunk of child.stdout) if (String(chunk).includes("progress")) break;
  return {
    pid: child.pid,
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

test("the six lines: one call downloads a file", async () => {
  const url = await serve();
  const summary = await download(url, join(world.folder, "film"), { sha256: true });
  await assertFile(join(world.folder, "film"), world.one);
  assert.deepEqual(summary, { id: summary.id, url, path: join(world.folder, "film"), bytes: SIZE, attempts: 1, restarts: 0, sha256: sha256(world.one) });
  assert.deepEqual(await readdir(world.folder), ["film"]);
});

test("a download is an async iterator of its events", async () => {
  const url = await serve([[{ cut: { after: 2_000_000 } }]]);
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const events = [];
  for await (const event of engine.start({ url, to: "film" })) events.push(event);
  assert.deepEqual(
    names(events).filter((name) => name !== "progress"),
    ["queued", "started", "headers", "retrying", "started", "headers", "completed"],
  );
  await assertFile(join(world.folder, "film"), world.one);
});

test("the iterator throws what the download ended with", async () => {
  const url = await serve([[{ status: { code: 403 } }]]);
  const engine = new Engine({ folder: world.folder });
  const events = [];
  const iterate = async () => {
    for await (const { event } of engine.start({ url, to: "film" })) events.push(event);
  };
  await assert.rejects(iterate(), { code: "Status", status: 403, class: "permanent", attempts: 1 });
  assert.deepEqual(events, ["queued", "started", "failed"]);
});

test("an error says what was asked for, how often it was tried, and what fetch threw", async () => {
  const busy = await serve([[{ status: { code: 503, retry_after: "1" } }], [{ status: { code: 503, retry_after: "1" } }]]);
  const options = { maxDownloadAttempts: 2, retryMaxDelayMs: 1 };
  const failing = download(busy, join(world.folder, "film"), options);
  await assert.rejects(failing, (error) => {
    assert.ok(error instanceof RegripError && error instanceof Error);
    const { name, code, class: itsClass, attempts, retryAfterMs, status } = error;
    assert.deepEqual({ name, code, itsClass, attempts, retryAfterMs, status }, { name: "RegripError", code: "Status", itsClass: "transient", attempts: 2, retryAfterMs: 1000, status: 503 });
    return true;
  });
  const gone = download("http://127.0.0.1:9/film", join(world.folder, "gone"), { maxDownloadAttempts: 1 });
  await assert.rejects(gone, (error) => error.cause instanceof TypeError && error.code === "Network");
});

// C03, C04, D06
test("what a killed process left is found and resumed by the next one", async () => {
  const url = await serve([STALL]);
  const path = join(world.folder, "film");
  const other = await killedInTheMiddle(url, path);
  await other.kill();
  const kept = (await readFile(`${path}.part`)).length;
  assert.ok(kept > 0 && kept <= 2_000_000);

  const engine = new Engine({ folder: world.folder });
  const [left] = await engine.list();
  assert.deepEqual([left.status, left.path, left.url, left.attempts], ["downloading", path, url, 1]);
  const [resumed, ...more] = await engine.resumeUnfinished();
  assert.equal(more.length, 0);
  assert.equal((await resumed.done).attempts, 2);

  await assertFile(path, world.one);
  const second = (await world.faultd.gets("/film"))[1];
  assert.equal(from(second), kept);
  assert.equal(second.if_range, '"one"');
  assert.deepEqual(await readdir(world.folder), ["film"]);
  assert.deepEqual(await engine.list(), []);
});

// C10
test("while a process writes a part, another one is told so and touches nothing", async () => {
  const url = await serve([STALL]);
  const path = join(world.folder, "film");
  const other = await killedInTheMiddle(url, path);
  try {
    const before = await readFile(`${path}.part.json`, "utf8");
    const events = [];
    const failing = download(url, path, { onEvent: ({ event }) => events.push(event) });
    await assert.rejects(failing, { code: "PartLocked", class: "permanent", message: new RegExp(`process ${other.pid}`) });
    assert.deepEqual(events, ["failed"]);
    assert.equal(await readFile(`${path}.part.json`, "utf8"), before);
  } finally {
    await other.kill();
  }
  await download(url, path);
  await assertFile(path, world.one);
});

test("two engines of one process keep each other out too", async () => {
  const url = await serve([STALL]);
  const first = new Engine({ folder: world.folder }).start({ url, to: "film" });
  await until(async () => (await world.faultd.gets("/film")).length === 1);
  await assert.rejects(new Engine({ folder: world.folder }).download(url, "film"), { code: "PartLocked", message: /another download of this process/ });
  first.cancel();
  await assert.rejects(first.done, { name: "AbortError" });
});

test("headers are sent, are not kept, and are missed by a resume", async () => {
  const url = await serve([STALL]);
  const stop = new AbortController();
  const engine = new Engine({ folder: world.folder });
  const headers = { "X-Api-Key": "secret" };
  const onEvent = ({ event }) => event === "progress" && stop.abort();
  await assert.rejects(engine.download(url, "film", { headers, signal: stop.signal, onEvent }), { code: "cancelled" });
  const record = await readFile(join(world.folder, "film.part.json"), "utf8");
  assert.ok(record.includes("x-api-key") && !record.includes("secret"));

  // As a process leaves it that was ended.
  await writeFile(join(world.folder, "film.part.json"), record.replace('"cancelled"', '"queued"'));
  const later = new Engine({ folder: world.folder });
  const [without] = await later.resumeUnfinished();
  await assert.rejects(without.done, { code: "CredentialsMissing", class: "permanent" });
  const [withThem] = await later.resumeUnfinished({ headers: (asked) => (asked === url ? headers : undefined) });
  await withThem.done;
  await assertFile(join(world.folder, "film"), world.one);
  for (const { headers } of await world.faultd.gets("/film")) assert.ok(headers.some(([name, value]) => name.toLowerCase() === "x-api-key" && value === "secret"));
});

// X12
test("an aborted signal asks for nothing", async () => {
  const url = await serve();
  const to = join(world.folder, "film");
  const reason = new Error("no");
  await assert.rejects(download(url, to, { signal: AbortSignal.abort(reason) }), (error) => error === reason);
  await assert.rejects(download(url, to, { signal: AbortSignal.abort() }), { name: "AbortError", code: "cancelled" });
  assert.equal((await world.faultd.gets("/film")).length, 0);
  assert.deepEqual(await readdir(world.folder), []);
});

test("a download is called off, listed, taken up again and removed by its id", async () => {
  const url = await serve([STALL, STALL]);
  const engine = new Engine({ folder: world.folder });
  const first = engine.start({ url, to: "film" });
  await until(async () => (await engine.list())[0]?.bytes > 0);
  const [{ id }] = await engine.list();
  await engine.cancel(id);
  await assert.rejects(first.done, { name: "AbortError", code: "cancelled" });
  assert.equal((await engine.list())[0].status, "cancelled");

  const second = await engine.retry(id);
  await until(async () => (await world.faultd.gets("/film")).length === 2);
  second.cancel();
  await assert.rejects(second.done, { code: "cancelled" });
  await engine.remove(id);
  assert.deepEqual(await readdir(world.folder), []);
  assert.deepEqual(await engine.list(), []);
  await assert.rejects(engine.retry(id), { code: "NoSuchDownload" });
});

test("a name that is taken is replaced, refused, or another one chosen", async () => {
  const url = await serve();
  const path = join(world.folder, "film.mkv");
  await writeFile(path, "here first");
  const { path: other } = await download(url, path, { onExists: "rename" });
  assert.equal(other, join(world.folder, "film.1.mkv"));
  assert.equal(await readFile(path, "utf8"), "here first");
  await assert.rejects(download(url, path, { onExists: "fail" }), { code: "DestinationExists" });
  await download(url, path);
  await assertFile(path, world.one);
});

test("a digest that does not hold is no file", async () => {
  const url = await serve();
  const failing = download(url, join(world.folder, "film"), { sha256: sha256(world.two) });
  await assert.rejects(failing, { code: "DigestMismatch", class: "permanent" });
  assert.ok(!(await readdir(world.folder)).includes("film"));
});

test("a resume in another process hashes what is there", async () => {
  const url = await serve([STALL]);
  const path = join(world.folder, "film");
  await (await killedInTheMiddle(url, path)).kill();
  const summary = await download(url, path, { sha256: sha256(world.one) });
  assert.equal(summary.sha256, sha256(world.one));
});

test("memory and streams take the bytes too, and a cut does not show in them", async () => {
  const cuts = [[{ cut: { after: 2_000_000 } }], [{ cut: { after: 1_000_000 } }]];
  const sink = new MemorySink();
  await download(await serve(cuts), sink, QUICK);
  assert.ok(world.one.equals(sink.bytes()));

  const got = [];
  const stream = new WritableStream({ write: (chunk) => void got.push(chunk) });
  const { sha256: digest } = await download(await serve(cuts), stream, { ...QUICK, sha256: true });
  assert.ok(world.one.equals(Buffer.concat(got)));
  assert.equal(digest, sha256(world.one));
});

// D08
test("a stream is compared with its last bytes, and fails rather than start over", async () => {
  const bare = ({ seed, size }) => ({ seed, size });
  const url = await serve([[{ cut: { after: 2_000_000 } }]], [bare(ONE)]);
  const got = [];
  await download(url, new WritableStream({ write: (chunk) => void got.push(chunk) }), QUICK);
  assert.ok(world.one.equals(Buffer.concat(got)));

  const replaced = await serve([[{ cut: { after: 2_000_000 } }], [{ replace: { version: 1 } }]], [bare(ONE), bare(TWO)]);
  let aborted;
  const stream = new WritableStream({ abort: (reason) => void (aborted = reason) });
  await assert.rejects(download(replaced, new StreamSink(stream), QUICK), { code: "NotResumable", class: "permanent" });
  assert.equal(aborted.code, "NotResumable");
});

test("a sink that cannot be read starts over where no ETag vouches for its bytes", async () => {
  const bare = ({ seed, size }) => ({ seed, size });
  const url = await serve([[{ cut: { after: 2_000_000 } }]], [bare(ONE)]);
  const sink = new MemorySink();
  const blind = { size: () => sink.size(), write: (chunk) => sink.write(chunk), truncate: (size) => sink.truncate(size) };
  const restarts = [];
  await download(url, blind, { ...QUICK, onEvent: ({ event, reason }) => event === "restart" && restarts.push(reason) });
  assert.deepEqual(restarts, ["overlap_mismatch"]);
  assert.ok(world.one.equals(sink.bytes()));
});

// L02
test("a ledger of one's own is asked, and nothing is called durable before it was flushed", async () => {
  const url = await serve([[{ cut: { after: 2_000_000 } }]]);
  const story = [];
  const bytes = new MemorySink("film");
  const sink = Object.assign(bytes, { persistent: true, flush: () => void story.push(`flush ${bytes.size()}`) });
  const memory = new MemoryLedger();
  const ledger = {
    load: (path) => memory.load(path),
    save: (path, record) => (story.push(`durable ${record.durableBytes}`), memory.save(path, structuredClone(record))),
    remove: (path) => memory.remove(path),
    list: () => memory.list(),
  };
  // Nothing locks it but the name of its part, so that it is in this folder.
  process.chdir(world.folder);
  await download(url, sink, { ...QUICK, ledger });
  let flushed = 0;
  for (const line of story) {
    const [what, count] = line.split(" ");
    if (what === "flush") flushed = Number(count);
    else assert.ok(Number(count) <= flushed, story.join(", "));
  }
  assert.ok(flushed === SIZE && world.one.equals(bytes.bytes()));
  assert.deepEqual(await ledger.list(), []);
  process.chdir(fileURLToPath(new URL(".", import.meta.url)));
});

// L04, L07
test("a record that is no record is an error of the ledger, and nothing is overwritten", async () => {
  const url = await serve();
  const path = join(world.folder, "film");
  const later = { url, path, status: "of a later version" };
  for (const text of ["rubbish", "{}", "null", JSON.stringify(later)]) {
    await writeFile(`${path}.part.json`, text);
    await assert.rejects(download(url, path), { code: "Ledger", class: "permanent" }, text);
    assert.equal(await readFile(`${path}.part.json`, "utf8"), text);
    assert.deepEqual(await new Engine({ folder: world.folder }).list(), []);
    assert.deepEqual(await new Engine({ folder: world.folder }).resumeUnfinished(), []);
  }
  for (const record of [later, {}, "rubbish", 7, []]) {
    const never = () => assert.fail("changed");
    const ledger = { load: async () => record, save: never, remove: never, list: async () => [record] };
    await assert.rejects(download(url, join(world.folder, "other"), { ledger }), { code: "Ledger", class: "permanent" }, JSON.stringify(record));
    assert.deepEqual(await new Engine({ ledger }).list(), []);
  }
  assert.equal((await world.faultd.gets("/film")).length, 0);
});

test("what makes no sense is refused at once", async () => {
  const engine = new Engine();
  assert.throws(() => engine.start({ url: "ftp://host/film", to: "film" }), TypeError);
  assert.throws(() => engine.start({ url: "http://host/film", to: 7 }), TypeError);
  assert.throws(() => engine.start({ url: "http://host/film", to: "film", sha: "" }), /there is no option sha/);
  assert.throws(() => engine.start({ url: "http://host/film", to: "film", sha256: "abc" }), TypeError);
  assert.throws(() => new Engine({ maxAttempts: 3 }), /there is no option maxAttempts/);
  assert.throws(() => new Engine({ onExists: "ask" }), RangeError);
  assert.throws(() => new Engine({ fetch: "node-fetch" }), TypeError);
  assert.throws(() => new Engine({ extraRetryStatuses: [500] }), RangeError);
});

test("other options count from the next attempt on", async () => {
  const url = await serve([[{ status: { code: 425 } }], [{ status: { code: 425 } }]]);
  const engine = new Engine({ ...QUICK, folder: world.folder });
  await engine.configure({ extraRetryStatuses: [425] });
  await engine.download(url, "film");
  await assertFile(join(world.folder, "film"), world.one);
  await assert.rejects(engine.configure({ maxDownloadAttempts: 0 }), RangeError);
});

test("a record that cannot be resumed is a download that fails, and the others are started", async () => {
  const url = await serve();
  const records = { bad: "ftp://host/film", headers: `${url}?headers`, thrown: `${url}?thrown`, good: `${url}?good` };
  for (const [name, url] of Object.entries(records)) await writeFile(join(world.folder, `${name}.part.json`), JSON.stringify({ url, path: name, status: "downloading" }));
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const headers = (url) => {
    if (url.endsWith("thrown")) throw new Error("no headers");
    return url.endsWith("headers") ? { "no name": "x" } : undefined;
  };
  await assert.rejects(engine.resumeUnfinished({ onEvent: 1 }), TypeError);
  await assert.rejects(engine.resumeUnfinished({ signal: 1 }), TypeError);
  const downloads = await engine.resumeUnfinished({ headers });
  const ends = await Promise.all(downloads.map(async ({ id, path, done }) => [id > 0, path, await done.then(({ bytes }) => bytes, ({ message }) => message)]));
  assert.deepEqual(ends.sort(([, one], [, other]) => (one < other ? -1 : 1)), [
    [true, join(world.folder, "bad"), "url has the scheme ftp, expected http or https"],
    [true, join(world.folder, "good"), SIZE],
    [true, join(world.folder, "headers"), "headers has a name or value that no HTTP header can have"],
    [true, join(world.folder, "thrown"), "no headers"],
  ]);
  await assertFile(join(world.folder, "good"), world.one);
});
