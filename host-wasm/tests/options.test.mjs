// What a caller may give: wrong options are refused by name before anything is asked, and a URL object does wherever a text does.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { Engine, FileLedger, FileSink, MemorySink, download } from "../pkg/node.js";
import { assertFile, prepareWorld, serve, world } from "./world.mjs";

prepareWorld();

const URL_ = "http://127.0.0.1:9/film";
const never = () => assert.fail("asked");
const SECRET = "http://host/ film?key=secret";

/** Each option with values that it refuses. */
const ENGINE = {
  fetch: [null, 1, "fetch", {}],
  onEvent: [null, 1, "x", {}],
  ledger: [null, 1, "x", {}, { load: never, save: never }],
  folder: [null, 1, {}, new URL("http://host/")],
  maxConcurrentDownloads: [0, -1, 1.5, NaN, Infinity, "3", null, 2 ** 32],
  maxDownloadAttempts: [0, -1, 1.5, NaN, Infinity, "3", null],
  maxTotalAttempts: [0, NaN, "3", null],
  retryBaseDelayMs: [-1, 1.5, NaN, Infinity, "1", null],
  retryMaxDelayMs: [-1, 1.5, NaN, "1", null],
  connectTimeoutMs: [0, -1, "1", null],
  headersTimeoutMs: [0, -1, "1", null],
  idleTimeoutMs: [0, -1, "1", null],
  lowSpeedBytesPerSec: [-1, "1", null],
  lowSpeedWindowMs: [0, "1", null],
  maxDownloadBytes: [-1, "1", null],
  resumeOverlapBytes: [-1, "1", null],
  progressResetBytes: [-1, "1", null],
  connections: [0, 17, 1.5, "all", "4", null, []],
  onExists: ["replace", "", 1, null, {}],
  extraRetryStatuses: [408, "408", null, {}, [200], [500], ["408"], [NaN]],
};
const JOB = {
  headers: [null, 1, "a: b", [["a"]], { "bad name": "x" }, { name: "secret\nvalue" }, { name: "a\r\nsecret: b" }],
  signal: [1, "x", {}, new AbortController()],
  onEvent: [null, 1, "x", {}],
  adoptPart: [null, 1, "yes", {}],
  expectedBytes: [-1, 1.5, NaN, "1", null],
  sha256: [1, "", "abc", "0".repeat(63), {}, null],
  digest: ["", "sha256:abc", "crc32", 1, null, {}, ["sha256", "md4"], "sha256:" + "0".repeat(64) + ":x"],
  mirrors: [null, 1, URL_, {}, [1], ["no url"], ["ftp://host/"], [null]],
  onExpired: [null, 1, "x", {}],
  priority: [1.5, NaN, Infinity, "1", null],
};

const isNamed = (name) => (error) =>
  (error instanceof TypeError || error instanceof RangeError) && new RegExp(`\\b${name}\\b`).test(error.message) && !/secret/.test(error.message) && !/is not a function|undefined \(reading/.test(error.message);

/** What a call throws, or its promise rejects with. */
const failing = async (call) => call();

test("a wrong option of an engine is refused by name", async () => {
  for (const [name, values] of Object.entries(ENGINE)) {
    for (const value of values) {
      assert.throws(() => new Engine({ fetch: never, [name]: value }), isNamed(name), `${name}: ${JSON.stringify(value)}`);
      if (name === "folder") continue;
      if (name !== "onEvent") await assert.rejects(failing(() => download(URL_, new MemorySink(), { fetch: never, [name]: value })), isNamed(name), `${name}: ${value}`);
      if (!["fetch", "ledger", "onEvent"].includes(name)) await assert.rejects(new Engine().configure({ [name]: value }), isNamed(name), `${name}: ${value}`);
    }
  }
});

// X09, X12
test("a wrong option of a download is refused by name, by every call that takes it", async () => {
  const engine = new Engine({ fetch: never, folder: world.folder });
  for (const [name, values] of Object.entries(JOB)) {
    for (const value of values) {
      const what = `${name}: ${JSON.stringify(value)}`;
      await assert.rejects(failing(() => download(URL_, new MemorySink(), { fetch: never, [name]: value })), isNamed(name), what);
      await assert.rejects(failing(() => engine.download(URL_, new MemorySink(), { [name]: value })), isNamed(name), what);
      assert.throws(() => engine.start({ url: URL_, to: new MemorySink(), [name]: value }), isNamed(name), what);
    }
  }
});

// X06, X10
test("a missing, wrong or hostile URL or destination is refused by name, and shows no secret", async () => {
  const engine = new Engine({ fetch: never, folder: world.folder });
  for (const url of [undefined, null, 1, "", "film", SECRET.replace("http://", "http:// "), "ftp://host/film", "file:///etc/passwd", "data:,film", {}, []]) {
    await assert.rejects(failing(() => download(url, "film")), isNamed("url"), String(url));
    assert.throws(() => engine.start({ url, to: "film" }), isNamed("url"), String(url));
  }
  for (const to of [undefined, null, 1, {}, [], { size: 0, write: 0 }, new URL("http://host/film"), () => {}]) {
    await assert.rejects(failing(() => download(URL_, to)), isNamed("to"), String(to));
    assert.throws(() => engine.start({ url: URL_, to }), isNamed("to"), String(to));
  }
});

test("options that are none, and unknown ones, are refused", async () => {
  const engine = new Engine({ fetch: never, folder: world.folder });
  for (const odd of [null, 1, "x"]) {
    assert.throws(() => new Engine(odd), isNamed("options"));
    assert.throws(() => engine.start(odd), isNamed("job"));
    await assert.rejects(failing(() => download(URL_, "film", odd)), isNamed("options"));
    await assert.rejects(failing(() => engine.download(URL_, "film", odd)), isNamed("options"));
    await assert.rejects(engine.configure(odd), isNamed("options"));
    await assert.rejects(engine.resumeUnfinished(odd), isNamed("options"));
    await assert.rejects(engine.resume(1, odd), isNamed("options"));
    await assert.rejects(engine.retry(1, odd), isNamed("options"));
  }
  assert.throws(() => new Engine({ maxAttempts: 3 }), { name: "TypeError", message: "there is no option maxAttempts" });
  await assert.rejects(failing(() => download(URL_, "film", { retries: 3 })), { name: "TypeError", message: "there is no option retries" });
  await assert.rejects(engine.resumeUnfinished({ headers: {} }), isNamed("headers"));
  for (const id of [0, -1, NaN, "1", null, {}]) {
    for (const call of ["cancel", "pause", "retry", "remove", "resume"]) await assert.rejects(engine[call](id), { name: "RegripError", code: "NoSuchDownload" }, `${call} ${id}`);
  }
});

test("a fetch that resolves to no response is a permanent error that says what is needed", async () => {
  const responses = [undefined, null, 1, {}, { status: "200" }, { status: 200 }, { status: 200, headers: {} }];
  for (const odd of responses) {
    const failing = download(URL_, new MemorySink(), { fetch: async () => odd });
    await assert.rejects(failing, { name: "RegripError", code: "Protocol", class: "permanent", message: /Response/ }, String(odd));
  }
  const body = new Response("film", { headers: { "content-length": "4" } });
  await body.text();
  await assert.rejects(download(URL_, new MemorySink(), { fetch: async () => body }), { code: "Protocol", message: /unread/ });
});

test("URL objects do wherever a text does: the source, the file, the folder, a sink and a ledger", async () => {
  const url = new URL(await serve());
  const folder = pathToFileURL(`${world.folder}/`);
  await mkdir(join(world.folder, "a b"));
  const to = new URL("a%20b/film", folder);
  await download(url, to);
  await assertFile(join(world.folder, "a b", "film"), world.one);
  const engine = new Engine({ folder });
  await engine.download(url, "two", { mirrors: [url] });
  await engine.start({ url, to: new FileSink(new URL("three", folder)) }).done;
  for (const name of ["two", "three"]) await assertFile(join(world.folder, name), world.one);
  assert.deepEqual(await new FileLedger(folder).list(), []);
  const stop = new AbortController();
  const left = engine.start({ url: new URL(await serve([[{ stall: { after: 1000 } }]])), to: new URL("four", folder), signal: stop.signal });
  for await (const { event } of left) if (event === "headers") break;
  stop.abort();
  await left.done.catch(() => {});
  const [{ id }] = await engine.list();
  await (await engine.resume(id, { url: new URL(url) })).done;
  await assertFile(join(world.folder, "four"), world.one);
  assert.throws(() => new FileSink(new URL("http://host/film")), isNamed("path"));
  assert.throws(() => new FileLedger(1), isNamed("folder"));
});

test("statuses may be given by anything that can be iterated over, and count for their own call", async () => {
  const asked = async (extraRetryStatuses) => {
    const url = await serve([[{ status: { code: 408 } }]]);
    const path = join(world.folder, `film ${extraRetryStatuses?.constructor.name}`);
    await download(url, path, { retryBaseDelayMs: 1, retryMaxDelayMs: 2, extraRetryStatuses }).catch((error) => assert.equal(error.status, 408));
    return (await world.faultd.gets("/film")).length;
  };
  function* generated() {
    yield 408;
  }
  assert.deepEqual(await Promise.all([await asked(new Set([425])), await asked(new Set([408])), await asked(generated()), await asked([408])]), [1, 2, 2, 2]);
  await assert.rejects(failing(() => download(URL_, "film", { maxDownloadBytes: 10n })), { name: "RangeError", message: "maxDownloadBytes is 10n, expected a whole number from 0" });
});
