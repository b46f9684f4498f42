// Several callers of one file, and several files of one URL: each call has its own promise, digest, signal, headers and events.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Engine, FileSink, MemorySink, StreamSink, download } from "../pkg/node.js";
import { sha256 } from "./faultd.mjs";
import { assertFile, prepareWorld, until, world } from "./world.mjs";

prepareWorld();

const QUICK = { retryBaseDelayMs: 1, retryMaxDelayMs: 5 };

/** A server that answers half of the file, and the rest once it is released. */
let server, origin, asked, released, release;
const hold = () => (released = new Promise((done) => (release = done)));
beforeEach(async () => {
  asked = [];
  hold();
  server = createServer(async (request, response) => {
    asked.push(request);
    const { authorization, range, "if-range": ifRange } = request.headers;
    if (request.url.startsWith("/private") && !["Bearer good", "Bearer fine"].includes(authorization)) return response.writeHead(403).end();
    const from = ifRange === '"one"' ? Number(/\d+/.exec(range)[0]) : 0;
    const rest = world.one.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, { "Content-Length": rest.length, ETag: '"one"', ...(from > 0 && { "Content-Range": `bytes ${from}-${world.one.length - 1}/${world.one.length}` }) });
    response.write(rest.subarray(0, 3_000_000));
    await released;
    response.end(rest.subarray(3_000_000));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${server.address().port}`;
});
afterEach(() => {
  release();
  server.close();
  server.closeAllConnections();
});

const place = (name = "film") => join(world.folder, name);
const begun = (engine) => until(async () => (await engine.list())[0]?.bytes > 0);

// FJ02
test("a digest of a call that joins is checked for that call only, and two that differ are a conflict", async () => {
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const url = `${origin}/film`;
  const first = engine.start({ url, to: place() });
  await begun(engine);
  const right = engine.download(url, place(), { sha256: sha256(world.one) });
  const computed = engine.download(url, place(), { sha256: true });
  const events = [];
  await assert.rejects(engine.download(url, place(), { sha256: sha256(world.two) }), { code: "DigestConflict", class: "permanent" });
  release();
  assert.equal((await right).sha256, sha256(world.one));
  assert.equal((await computed).sha256, sha256(world.one));
  assert.equal((await first.done).sha256, undefined);

  const alone = engine.start({ url, to: place("other") });
  const wrong = engine.start({ url, to: place("other"), sha256: sha256(world.two), onEvent: ({ event, code }) => events.push(code ?? event) });
  await assert.rejects(wrong.done, { code: "DigestMismatch", class: "permanent" });
  assert.equal(events.at(-1), "DigestMismatch");
  assert.equal((await alone.done).bytes, world.one.length);
  assert.equal(asked.length, 2);
});

test("a call whose digest is right does not fail by the wrong digest of the call that it joined", async () => {
  release();
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const url = `${origin}/film`;
  const wrong = engine.start({ url, to: place(), sha256: sha256(world.two) });
  const plain = engine.start({ url, to: place() });
  const events = [];
  plain.terms.onEvent = ({ event }) => events.push(event);
  await assert.rejects(wrong.done, { code: "DigestMismatch" });
  assert.equal((await plain.done).bytes, world.one.length);
  await assertFile(place(), world.one);
  assert.ok(!events.includes("failed"), events.join(" "));
});

test("a digest that cannot be read back for is an error of the call that asked for it late", async () => {
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const url = `${origin}/film`;
  const got = [];
  const sink = new StreamSink(new WritableStream({ write: (chunk) => void got.push(chunk) }));
  const first = engine.start({ url, to: sink });
  await until(() => got.length > 0);
  const late = engine.start({ url, to: sink, sha256: sha256(world.one) });
  const asking = engine.start({ url, to: sink, sha256: true });
  release();
  await assert.rejects(late.done, { code: "Disk", message: /cannot be read back/ });
  // One that is only asked for is left out.
  const { warning, ...rest } = await asking.done;
  assert.deepEqual([warning, rest.sha256], ["sha256 could not be computed: the bytes cannot be read back", undefined]);
  await first.done;
  assert.ok(world.one.equals(Buffer.concat(got)));
});

// K06
test("an abort ends its own call; the transfer goes on for the others and is cancelled with the last, and the part stays", async () => {
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const url = `${origin}/film`;
  const [one, two, three] = [new AbortController(), new AbortController(), new AbortController()];
  const events = [];
  const calls = [one, two, three].map(({ signal }, index) => engine.start({ url, to: place(), signal, onEvent: index === 0 ? ({ event }) => events.push(event) : undefined }));
  await begun(engine);
  const reason = new Error("enough");
  one.abort(reason);
  await assert.rejects(calls[0].done, (error) => error === reason);
  assert.equal(events.at(-1), "cancelled");
  two.abort();
  await assert.rejects(calls[1].done, { name: "AbortError", code: "cancelled" });
  assert.equal((await engine.list())[0].status, "downloading");
  assert.ok(!asked[0].destroyed);
  three.abort("stop");
  await assert.rejects(calls[2].done, (error) => error === "stop");
  const [record] = await engine.list();
  assert.deepEqual([record.status, record.bytes], ["cancelled", (await readFile(`${place()}.part`)).length]);
  assert.ok(record.bytes > 0);
  assert.ok(!events.slice(0, -1).includes("cancelled"));
});

test("a call that comes while the last one is being aborted goes on from its part", async () => {
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const url = `${origin}/film`;
  const stop = new AbortController();
  const first = engine.download(url, place(), { signal: stop.signal });
  await begun(engine);
  stop.abort();
  const second = engine.download(url, place());
  const third = engine.download(url, place());
  release();
  await assert.rejects(first, { code: "cancelled" });
  assert.equal((await second).attempts, 2);
  assert.deepEqual(await third, await second);
  assert.match(asked[1].headers.range, /^bytes=[1-9]\d+-$/);
  await assertFile(place(), world.one);
});

test("calls with options join too, and are one request", async () => {
  const url = `${origin}/film`;
  const first = download(url, place(), QUICK);
  const second = download(url, place(), { ...QUICK, sha256: sha256(world.one) });
  const third = download(url, place());
  release();
  const [one, two, three] = await Promise.all([first, second, third]);
  assert.deepEqual([one.sha256, two.sha256, three.sha256], [undefined, sha256(world.one), undefined]);
  assert.equal(asked.length, 1);
});

test("engine.cancel ends all calls of a download, wherever its folder is", async () => {
  const engine = new Engine(QUICK);
  const calls = [1, 2].map(() => engine.start({ url: `${origin}/film`, to: place() }));
  await begun(engine);
  await engine.cancel(calls[0].id);
  for (const { done } of calls) await assert.rejects(done, { name: "AbortError", code: "cancelled" });
});

// FJ03
test("one URL with two tokens is two files, each with its own headers", async () => {
  release();
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const url = `${origin}/private`;
  const tokens = ["Bearer good", "Bearer fine"];
  await Promise.all(tokens.map((authorization, index) => engine.download(url, place(`film${index}`), { headers: { authorization } })));
  assert.deepEqual(asked.map(({ headers }) => headers.authorization).sort(), tokens.sort());
  for (const index of [0, 1]) await assertFile(place(`film${index}`), world.one);
});

// X10
test("a user with a password in the URL is sent as a header, and shown and kept nowhere", async () => {
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const events = [];
  const users = ["me:s%C3%A9cret", "you:other"];
  const calls = users.map((user, index) => engine.start({ url: `${origin.replace("//", `//${user}@`)}/film`, to: `film${index}`, onEvent: (event) => events.push(event) }));
  await until(() => asked.length === 2);
  const record = await readFile(`${place("film0")}.part.json`, "utf8");
  release();
  await Promise.all(calls.map(({ done }) => done));
  const basic = (text) => `Basic ${Buffer.from(text).toString("base64")}`;
  assert.deepEqual(asked.map(({ headers }) => headers.authorization).sort(), [basic("me:sécret"), basic("you:other")].sort());
  assert.ok(!/cret/.test(record + JSON.stringify(events)));
});

test("a call that joins with other headers goes on with them, where those of the first are refused or the first has left", async () => {
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const refused = engine.start({ url: `${origin}/private`, to: place(), headers: { authorization: "Bearer bad" } });
  const good = engine.start({ url: `${origin}/private`, to: place(), headers: { authorization: "Bearer good" } });
  const same = engine.start({ url: `${origin}/private`, to: place(), headers: { authorization: "Bearer bad" } });
  await assert.rejects(refused.done, { code: "Status", status: 403 });
  await assert.rejects(same.done, { code: "Status", status: 403 });
  await until(() => asked.length === 2);
  const fine = engine.start({ url: `${origin}/private`, to: place(), headers: { authorization: "Bearer fine" } });
  good.cancel();
  await assert.rejects(good.done, { code: "cancelled" });
  await begun(engine);
  asked[1].socket.destroy();
  release();
  await fine.done;
  assert.deepEqual(asked.map(({ headers }) => headers.authorization), ["Bearer bad", "Bearer good", "Bearer fine"]);
  await assertFile(place(), world.one);
});

// FJ10
test("leaving the iteration leaves the download; iterating again goes on with what comes", async () => {
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const started = engine.start({ url: `${origin}/film`, to: place() });
  for await (const { event } of started) if (event === "headers") break;
  release();
  const later = [];
  for await (const { event } of started) later.push(event);
  assert.equal(later.at(-1), "completed");
  assert.ok(!later.includes("headers"));
  for await (const event of started) assert.fail(`after the end: ${event.event}`);
  assert.equal((await started.done).bytes, world.one.length);
});

// FJ06
test("the reader of a stream that is cancelled with a reason ends the download with that reason, also during a wait", async () => {
  const makes = {
    "a transform stream": () => new TransformStream(),
    "one that reads ahead": () => new TransformStream(undefined, { highWaterMark: 4 }, { highWaterMark: 4 }),
    "one of few bytes": () => new TransformStream(undefined, new ByteLengthQueuingStrategy({ highWaterMark: 100_000 }), new ByteLengthQueuingStrategy({ highWaterMark: 100_000 })),
  };
  for (const [name, make] of Object.entries(makes)) {
    for (const reason of [new Error("no more"), "no more", { a: 1 }]) {
      const { readable, writable } = make();
      const failing = download(`${origin}/film`, writable, QUICK);
      const reader = readable.getReader();
      await reader.read();
      await reader.cancel(reason);
      await assert.rejects(failing, (error) => error === reason, name);
    }
  }
  const { readable, writable } = new TransformStream();
  const failing = download(`${origin}/film`, writable, QUICK);
  await readable.cancel();
  await assert.rejects(failing, { name: "AbortError", code: "cancelled" });

  const waiting = new TransformStream();
  const events = [];
  const never = new Engine({ retryBaseDelayMs: 3_600_000, retryMaxDelayMs: 3_600_000 }).download("http://127.0.0.1:9/film", waiting.writable, { onEvent: ({ event }) => events.push(event) });
  await until(() => events.includes("retrying"));
  const reason = new Error("gone");
  await waiting.readable.cancel(reason);
  await assert.rejects(never, (error) => error === reason);
});

test("a stream whose reader reads no more keeps neither an abort nor a pause", { timeout: 30_000 }, async () => {
  release();
  let taken;
  const makes = {
    "a transform stream": () => {
      const { readable, writable } = new TransformStream({ transform: (chunk, controller) => (taken++, controller.enqueue(chunk)) });
      readable.getReader().read();
      return writable;
    },
    "a write that never settles": () => new WritableStream({ write: () => (taken++, new Promise(() => {})) }),
  };
  for (const [name, make] of Object.entries(makes)) {
    taken = 0;
    const engine = new Engine();
    const stop = new AbortController();
    const events = [];
    const download = engine.start({ url: `${origin}/film`, to: make(), signal: stop.signal, onEvent: ({ event }) => events.push(event) });
    await until(() => taken > 0);
    await setTimeout(100); // the next chunk waits for its reader by then
    await engine.pause();
    await until(() => events.includes("waiting"));
    await engine.resume();
    await until(() => events.lastIndexOf("headers") > events.indexOf("waiting"));
    await setTimeout(100);
    const reason = new Error(name);
    stop.abort(reason);
    await assert.rejects(download.done, (error) => error === reason);
  }
});

test("what a sink throws is the cause, and no error before it or after it is", async () => {
  const fault = new Error("broken");
  const full = Object.assign(new Error("full"), { code: "ENOSPC" });
  release();
  const url = `${origin}/film`;
  const isCause = (cause, code = "Disk") => (error) => error.code === code && error.cause === cause;
  await assert.rejects(download(url, new WritableStream({ write: () => Promise.reject(fault) }), QUICK), isCause(fault));
  await assert.rejects(download(url, new WritableStream({ write: () => { throw full; } }), QUICK), isCause(full, "DiskFull"));
  await assert.rejects(download(url, new WritableStream({ close: () => Promise.reject(fault) }), QUICK), isCause(fault));
  const sink = () => Object.assign(new MemorySink(), { close: () => Promise.reject(new Error("later")) });
  await assert.rejects(download(url, Object.assign(sink(), { write: () => Promise.reject(fault) }), QUICK), isCause(fault));
  await assert.rejects(download(url, Object.assign(sink(), { commit: () => { throw fault; } }), QUICK), isCause(fault));
  await assert.rejects(download(url, Object.assign(sink(), { size: () => { throw fault; } }), QUICK), isCause(fault));
  const ledger = { load: async () => undefined, save: () => Promise.reject(fault), remove() {}, list: async () => [] };
  await assert.rejects(download(url, place(), { ...QUICK, ledger }), isCause(fault, "Ledger"));
});

test("a sink that fails in any way ends only its own download", async () => {
  const fault = new Error("broken");
  const fail = () => { throw fault; };
  release();
  const url = `${origin}/film`;
  const failing = [
    { write: fail },
    { write: () => Promise.reject(fault) },
    { write: () => ({ then: fail }) },
  ];
  for (const [number, broken] of failing.entries()) {
    const sink = Object.defineProperties(new MemorySink(), Object.getOwnPropertyDescriptors(broken));
    const failed = download(url, sink, QUICK);
    const beside = download(url, new MemorySink(), QUICK);
    await assert.rejects(failed, (error) => error.code === "Disk" && error.cause === fault, `sink ${number}`);
    await beside;
    await download(url, new MemorySink(), QUICK);
  }
});

test("what a sink returns at once is no promise, whatever it is, and a property that throws is missing", async () => {
  release();
  const fail = () => { throw new Error("broken"); };
  for (const name of ["readBackBytes", "truncate"]) await download(`${origin}/film`, Object.defineProperty(new MemorySink(), name, { get: fail }), QUICK);
  const sink = Object.assign(new MemorySink(), { write(...given) { return MemorySink.prototype.write.apply(this, given), { written: 1 }; } });
  await download(`${origin}/film`, sink, QUICK);
  assert.ok(sink.bytes().length > 0);
});

test("a stream is aborted with the reason, also where nothing was asked yet", async () => {
  const reason = new Error("enough");
  let aborted;
  const stream = () => new WritableStream({ abort: (reason) => void (aborted = reason) });
  await assert.rejects(download(`${origin}/film`, stream(), { signal: AbortSignal.abort(reason) }), (error) => error === reason);
  assert.equal(aborted, reason);
  aborted = undefined;
  const stop = new AbortController();
  const stopped = download(`${origin}/film`, stream(), { signal: stop.signal, onEvent: ({ event }) => event === "progress" && stop.abort(reason) });
  await assert.rejects(stopped, (error) => error === reason);
  assert.equal(aborted, reason);
  const fault = new Error("abort failed");
  const failing = download("http://127.0.0.1:9/film", new WritableStream({ abort: () => Promise.reject(fault) }), { maxDownloadAttempts: 1 });
  await assert.rejects(failing, (error) => error.code === "Network" && error.cause instanceof TypeError);
});

// FJ11, FW11
test("after a reload what list() shows is enough to go on: by its id, also with a new signature, as it is, or by its URL and path", async () => {
  const url = `${origin}/film?signature=secret`;
  const renewed = `${origin}/film?signature=new`;
  for (const [signature, how] of [
    ["secret", (engine, record) => engine.resume(record.id).then(({ done }) => done)],
    ["new", (engine, record) => engine.resume(record.id, { url: renewed }).then(({ done }) => done)],
    ["secret", (engine, record) => engine.start(record).done],
    ["secret", (engine, record) => engine.start({ url: record.url, to: record.path }).done],
    ["secret", (engine, record) => engine.download(record.url, "film")],
  ]) {
    hold();
    const first = new Engine({ ...QUICK, folder: world.folder });
    const stop = new AbortController();
    const left = first.start({ url, to: "film", sha256: sha256(world.one), signal: stop.signal });
    await begun(first);
    stop.abort();
    await assert.rejects(left.done, { code: "cancelled" });

    const engine = new Engine({ ...QUICK, folder: world.folder });
    const [record, ...more] = await engine.list();
    assert.equal(more.length, 0);
    assert.deepEqual([record.url, record.path, record.bytes], [`${origin}/film`, place(), (await readFile(`${place()}.part`)).length]);
    const before = asked.length;
    const resumed = how(engine, record);
    await until(() => asked.length > before);
    release();
    assert.equal((await resumed).attempts, 2);
    assert.deepEqual([asked.at(-1).url, asked.at(-1).headers.range], [`/film?signature=${signature}`, `bytes=${record.bytes}-`]);
    await assertFile(place(), world.one);
    assert.deepEqual(await readdir(world.folder), ["film"]);
  }
});

test("a listed download that needs headers names them, and goes on with them", async () => {
  const headers = { authorization: "Bearer good" };
  const first = new Engine({ ...QUICK, folder: world.folder });
  const left = first.start({ url: `${origin}/private`, to: "film", headers });
  await begun(first);
  left.cancel();
  await assert.rejects(left.done, { code: "cancelled" });
  release();
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const [{ id, headerNames }] = await engine.list();
  assert.deepEqual(headerNames, ["authorization"]);
  await assert.rejects((await engine.resume(id)).done, { code: "CredentialsMissing" });
  await (await engine.resume(id, { headers })).done;
  await assertFile(place(), world.one);
});

test("a download whose bytes are in a sink of the program's own goes on only with that sink", async () => {
  const sink = Object.assign(new MemorySink(place()), { persistent: true });
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const first = engine.start({ url: `${origin}/film`, to: sink });
  await begun(engine);
  first.cancel();
  await assert.rejects(first.done, { code: "cancelled" });
  release();
  const [{ id, bytes }] = await engine.list();
  assert.equal(bytes, sink.size());
  await assert.rejects((await engine.resume(id)).done, { code: "Disk", message: /sink of the program's own/ });
  await (await engine.resume(id, { to: sink })).done;
  assert.ok(world.one.equals(sink.bytes()));
});

test("a listener that returns a promise may have it rejected", async () => {
  const unhandled = [];
  const note = (reason) => unhandled.push(reason);
  process.on("unhandledRejection", note);
  const fail = async ({ event }) => {
    throw new Error(`heard ${event}`);
  };
  const engine = new Engine({ folder: world.folder, onEvent: fail });
  await engine.download(world.faultd.url("/1"), "film", { onEvent: fail });
  await setTimeout(20);
  process.off("unhandledRejection", note);
  assert.deepEqual(unhandled, []);
});

test("a call joins only where its destination is the same one: one sink, or one name", async () => {
  const url = world.faultd.url("/1");
  const engine = new Engine({ folder: world.folder });
  const path = join(world.folder, "film");
  for (const [one, other] of [[new MemorySink("film"), new MemorySink("film")], [new MemorySink(path), "film"], ["film", new FileSink(path)], ["film", new MemorySink(path)]]) {
    const [first, second] = await Promise.allSettled([engine.download(url, one), engine.download(url, other)]);
    assert.deepEqual([first.value?.bytes, second.reason?.code], [world.one.length, "DestinationBusy"]);
    if (one instanceof MemorySink) assert.equal(sha256(one.bytes()), sha256(world.one));
    if (other instanceof MemorySink) assert.equal(other.size(), 0);
  }
  const sink = new MemorySink("film");
  const joined = await Promise.all([engine.download(url, sink), engine.download(url, sink), download(url, path), download(url, path, { maxDownloadAttempts: 2 })]);
  assert.ok(joined.every(({ bytes }) => bytes === world.one.length));
});

test("a persistent sink of the program's own may have any name, is one row, and is only forgotten by remove", async () => {
  const names = ["own.bin", "s3://bucket/key", "a b", "100%", "../up", "x".repeat(300), "a\0b"];
  const engine = new Engine({ ...QUICK, folder: world.folder });
  for (const name of names) {
    const sink = Object.assign(new MemorySink(name), { persistent: true });
    const first = engine.start({ url: `${origin}/film`, to: sink });
    await begun(engine);
    const running = await engine.list();
    assert.deepEqual(running.map(({ id, path, ownSink }) => [id, path, ownSink]), [[first.id, name, true]]);
    first.cancel();
    await assert.rejects(first.done, { code: "cancelled" });
    assert.deepEqual((await readdir(world.folder)).map((name) => name.endsWith(".part.json")), [true]);

    const later = new Engine({ ...QUICK, folder: world.folder });
    const [record] = await later.list();
    assert.deepEqual([record.path, record.ownSink], [name, true]);
    await assert.rejects(later.start(record).done, { code: "Disk", advice: /resume\(id, \{ to: sink \}\)/ });
    const bytes = sink.size();
    release();
    await (await later.retry(record.id, { to: sink })).done;
    assert.equal(sha256(sink.bytes()), sha256(world.one));
    assert.ok(bytes > 0);
    assert.deepEqual([await later.list(), await readdir(world.folder)], [[], []]);
    hold();
  }
  await assert.rejects(async () => engine.download(`${origin}/film`, Object.assign(new MemorySink(5), { persistent: true })), TypeError);

  // A file beside that has the name of a part belongs to another program.
  const sink = Object.assign(new MemorySink("own.bin"), { persistent: true });
  const first = engine.start({ url: `${origin}/film`, to: sink });
  await begun(engine);
  first.cancel();
  await assert.rejects(first.done, { code: "cancelled" });
  await writeFile(place("own.bin.part"), "precious");
  const later = new Engine({ ...QUICK, folder: world.folder });
  await later.remove((await later.list())[0].id);
  assert.deepEqual([await later.list(), await readdir(world.folder)], [[], ["own.bin.part"]]);
  assert.ok(sink.size() > 0);
});

test("bytes in memory are resumed by the same object, whatever the options, and no other call takes them for its own", async () => {
  const url = `${origin}/film`;
  const sink = new MemorySink();
  const stop = new AbortController();
  await assert.rejects(download(url, sink, { ...QUICK, signal: stop.signal, onEvent: ({ event }) => event === "progress" && stop.abort() }), { code: "cancelled" });
  const bytes = sink.size();
  release();
  assert.equal((await download(url, sink, { ...QUICK, maxDownloadAttempts: 8 })).restarts, 0);
  assert.equal(sha256(sink.bytes()), sha256(world.one));
  assert.deepEqual(asked.map(({ headers }) => headers.range), ["bytes=0-", `bytes=${bytes}-`]);
  await assert.rejects(download(url, sink, QUICK), { code: "ForeignPart", message: /^sink \d+ already exists/ });
  await assert.rejects(download(url, Object.assign(new MemorySink("film"), { size: () => 5 }), QUICK), { code: "ForeignPart", message: /^film already exists/ });
});

test("a digest that was only asked for is left out where a sink that is resumed cannot be read, and one that is known has it start over", async () => {
  for (const [options, restarts] of [[{ sha256: true }, 0], [{ digest: "md5" }, 0], [{ sha256: sha256(world.one) }, 1]]) {
    const memory = new MemorySink();
    const sink = { size: () => memory.size(), write: (chunk) => memory.write(chunk), truncate: (to) => memory.truncate(to) };
    const engine = new Engine({ ...QUICK, folder: world.folder });
    const first = engine.start({ url: `${origin}/film`, to: sink, ...options });
    await begun(engine);
    first.cancel();
    await assert.rejects(first.done, { code: "cancelled" });
    release();
    const completed = [];
    const summary = await engine.download(`${origin}/film`, sink, { ...options, onEvent: (event) => event.event === "completed" && completed.push(event) });
    assert.equal(sha256(memory.bytes()), sha256(world.one));
    const algorithm = options.digest ?? "sha256";
    const warning = restarts ? undefined : `${algorithm} could not be computed: the bytes cannot be read back`;
    assert.deepEqual([summary.restarts, summary.warning, completed[0].warning, summary.sha256], [restarts, warning, warning, restarts ? options.sha256 : undefined]);
    hold();
  }
});

test("what a sink of the program's own returns from commit is the warning, in its own words", async () => {
  const completed = [];
  const sink = Object.assign(new MemorySink("film"), { commit: () => new Error("the index is not written") });
  release();
  const { warning } = await download(`${origin}/film`, sink, { onEvent: (event) => event.event === "completed" && completed.push(event) });
  assert.deepEqual([warning, completed[0].warning], ["the index is not written", "the index is not written"]);
});
