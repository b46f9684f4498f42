// Where a file may go in Node, and which fetch may bring it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { mkdir, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { Engine, MemorySink, download } from "../pkg/node.js";
import { lockPath, partPath, recordPath } from "../js/paths.js";
import { assertFile, prepareWorld, serve, until, world } from "./world.mjs";

prepareWorld();

const QUICK = { retryBaseDelayMs: 1, retryMaxDelayMs: 5 };
const STALL = [{ stall: { after: 2_000_000 } }];

// C12, X12
test("what throws where the module cannot catch it ends at most its own download", async () => {
  const thrown = () => {
    throw new Error("thrown by a getter");
  };
  class Odd extends MemorySink {
    get readBackBytes() {
      return thrown();
    }
  }
  const odd = new Odd();
  const url = await serve([[{ cut: { after: 1_000_000 } }]]);
  await download(url, odd, QUICK);
  assert.equal(odd.bytes().length, world.one.length);
  // A `fetch` of one's own whose headers throw, and whose reader does.
  const fetches = async () => {
    const reader = { read: () => new Promise(() => {}), cancel: thrown };
    return { status: 200, headers: { get: thrown }, body: { getReader: () => reader } };
  };
  const path = join(world.folder, "film");
  await assert.rejects(download(url, path, { ...QUICK, fetch: fetches }), { name: "RegripError" });
  await download(url, path, QUICK);
  await assertFile(path, world.one);
});

// FJ04, X04
test("what no file can be is refused before anything is asked, and is left as it is", async () => {
  const url = await serve();
  const folder = join(world.folder, "folder");
  const link = join(world.folder, "link");
  await mkdir(folder);
  await symlink(folder, link);
  const engine = new Engine({ folder: world.folder });
  for (const to of [folder, `${folder}/`, link, "", ".", "folder", "none/", new URL(`file://${folder}`)]) {
    const events = [];
    const failing = engine.download(url, to, { onEvent: (event) => events.push(event) });
    await assert.rejects(failing, { code: "DestinationRefused", class: "permanent", message: /is never replaced$/ }, String(to));
    assert.deepEqual(events.map(({ event, code, attempts }) => [event, code, attempts]), [["failed", "DestinationRefused", 0]]);
  }
  const long = engine.download(url, "x".repeat(256));
  await assert.rejects(long, { code: "NameRefused", message: /longer than 255 bytes/ });
  assert.equal((await world.faultd.gets("/film")).length, 0);
  assert.deepEqual(await readdir(world.folder), ["folder", "link"]);
});

// FJ04, D13
test("long names are downloaded to, listed and resumed", async () => {
  for (const name of ["x".repeat(255), `${"é".repeat(125)}.mkv`, "y".repeat(250), "z".repeat(245), `.${"a".repeat(254)}`]) {
    const url = await serve([STALL]);
    const engine = new Engine({ ...QUICK, folder: world.folder });
    const first = engine.start({ url, to: name });
    await until(async () => (await engine.list())[0]?.bytes > 0);
    first.cancel();
    await assert.rejects(first.done, { code: "cancelled" });
    const [record, ...more] = await new Engine({ folder: world.folder }).list();
    assert.deepEqual([more.length, record.path], [0, join(world.folder, name)]);
    assert.equal(record.bytes, (await stat(partPath(record.path))).size);
    assert.equal((await engine.download(url, name)).attempts, 2);
    await assertFile(join(world.folder, name), world.one);
  }
  assert.equal((await readdir(world.folder)).length, 5);
});

// D13
test("parts, locks and records of long names have names that fit", () => {
  const extension = `.${"e".repeat(65)}`;
  for (const [name, part] of [
    ["x".repeat(250), 255],
    ["x".repeat(251), 69],
    [`${"x".repeat(250)}.mkv`, 73],
    [`${"x".repeat(250)}.`, 70],
    [`.${"x".repeat(253)}`, 69],
    [`${"x".repeat(180)}${extension}`, 251],
    [`${"x".repeat(186)}${extension}`, 69],
  ]) {
    const path = join("/f", name);
    assert.equal(basename(partPath(path)).length, part, name);
    for (const beside of [lockPath(partPath(path)), recordPath(path)]) assert.ok(basename(beside).length <= 251, beside);
  }
});

test("Node and the native regrip find each other's parts of long names", { skip: !process.env.REGRIP && "REGRIP names no binary" }, async () => {
  const name = `${"x".repeat(250)}.mkv`;
  const path = join(world.folder, name);
  const url = await serve([STALL, STALL]);
  const env = { ...process.env, XDG_STATE_HOME: join(world.folder, "state") };
  const theirs = spawn(process.env.REGRIP, ["get", url, "-o", name], { cwd: world.folder, env, stdio: "ignore" });
  const kept = () => stat(partPath(path)).then(({ size }) => size, () => 0);
  await until(async () => (await kept()) > 0);
  await assert.rejects(download(url, path, { adoptPart: true }), { code: "PartLocked" });
  theirs.kill("SIGKILL");
  await once(theirs, "exit");
  assert.ok((await kept()) > 0);
  await download(url, path, { ...QUICK, adoptPart: true, idleTimeoutMs: 200 });
  await assertFile(path, world.one);
});

/** A fetch that answers as `shape` makes it of a real response. */
const shaped = (shape) => async (url, init) => {
  const { status, headers, body } = await fetch(url, init);
  return shape({ status, headers, body });
};

test("a fetch may give Node's streams, async iterables, or all bytes at once", async () => {
  const shapes = {
    "a stream of Node": ({ body, ...head }) => ({ ...head, body: Readable.fromWeb(body) }),
    "an async iterable": ({ body, ...head }) => ({ ...head, body: { [Symbol.asyncIterator]: () => body[Symbol.asyncIterator]() } }),
    "all at once": ({ body, ...head }) => ({ ...head, arrayBuffer: () => new Response(body).arrayBuffer() }),
  };
  for (const [name, shape] of Object.entries(shapes)) {
    const url = await serve(name === "all at once" ? [] : [[{ cut: { after: 2_000_000 } }]]);
    await download(url, join(world.folder, name), { ...QUICK, fetch: shaped(shape), sha256: true });
    await assertFile(join(world.folder, name), world.one);
  }
});

// FJ05
test("a fetch that gives what cannot be read is asked once, and the error says what is needed", async () => {
  const url = await serve();
  const odd = {
    "a body of text": shaped(({ body, ...head }) => (body.cancel(), { ...head, body: "text" })),
    "pieces of text": shaped(({ body, ...head }) => ({ ...head, body: Readable.from(["text"]), cancel: body.cancel() })),
    "no body": shaped(({ body, ...head }) => (body.cancel(), head)),
    "a body that was read": async (...asked) => {
      const response = await fetch(...asked);
      await response.arrayBuffer();
      return response;
    },
    "no headers": async () => ({ status: 200 }),
    "no response": async () => undefined,
    "a mistake": async () => undefined.body,
    "a name that is missing": async () => nothing,
  };
  for (const [name, own] of Object.entries(odd)) {
    let calls = 0;
    const counted = (...asked) => (calls++, own(...asked));
    await assert.rejects(download(url, join(world.folder, name), { ...QUICK, fetch: counted }), { code: "Protocol", class: "permanent", attempts: 1, message: /fetch/ }, name);
    assert.equal(calls, 1, name);
  }
});

test("a fetch that ignores signals holds nothing up", async () => {
  const silent = () => new Promise(() => {});
  await assert.rejects(download("http://host/film", join(world.folder, "film"), { ...QUICK, fetch: silent, maxDownloadAttempts: 2, connectTimeoutMs: 5, headersTimeoutMs: 5 }), { code: "HeadersTimeout", attempts: 2 });
});

test("identity is the one coding that is asked for, whatever the caller's headers say", async () => {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.headers);
    if (request.url === "/away") return response.writeHead(302, { Location: `http://localhost:${server.address().port}/film` }).end();
    response.writeHead(200, { "Content-Length": 5 }).end("bytes");
  }).listen(0, "localhost");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${server.address().port}`.replace("127.0.0.1", server.address().address.includes(":") ? "[::1]" : "127.0.0.1");
  try {
    const headers = { "Accept-Encoding": "gzip", Range: "bytes=3-", "User-Agent": "me", "X-Key": "1" };
    await download(`${origin}/film`, join(world.folder, "one"), { headers });
    await download(`${origin}/away`, join(world.folder, "two"), { headers });
    const inits = [];
    await download(`${origin}/film`, join(world.folder, "three"), { headers, fetch: (url, init) => (inits.push(init), fetch(url, init)) });
    assert.equal(inits[0].headers.get("accept-encoding"), "identity");
    for (const { "accept-encoding": coding, range } of asked.slice(0, 3)) assert.deepEqual([coding, range], ["identity", "bytes=0-"]);
    assert.deepEqual([asked[2]["user-agent"], asked[2]["x-key"]], ["me", undefined]);
    assert.equal(await readFile(join(world.folder, "one"), "utf8"), "bytes");
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("what a fetch throws shows no secret of a URL, and may be nothing at all", async () => {
  const url = `${await serve()}?token=SECRET`;
  const heard = [];
  const failed = async (thrown, options) => {
    const engine = new Engine({ ...QUICK, maxDownloadAttempts: 2, folder: world.folder, onEvent: (event) => heard.push(event), fetch: thrown, ...options });
    const error = await engine.download(url, "film").catch((error) => error);
    heard.push({ message: error.message, advice: error.advice }, await engine.list());
    return error;
  };
  const fetchError = (url) => Object.assign(new Error(`request to ${url} failed, reason: cut`), { name: "FetchError", code: "ECONNRESET" });
  const { message } = await failed((url) => Promise.reject(fetchError(url)));
  assert.match(message, /request to http:\/\/[^ ?]+\/film failed, reason: cut/);
  await failed(() => Promise.reject(new TypeError("Failed to parse URL from https://user:SECRET@host/film?token=SECRET#SECRET", { cause: new Error("GET /film?token=SECRET") })));
  await failed(() => Promise.reject(new TypeError("fetch failed", { cause: new Error("GET /film?token=SECRET") })));
  let calls = 0;
  await failed((...asked) => (calls++ === 0 ? fetch(...asked) : Promise.reject(fetchError(url))), { maxDownloadBytes: 1 });
  heard.push(...(await Promise.all((await readdir(world.folder)).map((name) => readFile(join(world.folder, name), "utf8").then((text) => (name.endsWith(".json") ? { ...JSON.parse(text), url: undefined } : undefined))))));
  assert.ok(heard.length > 10);
  assert.doesNotMatch(JSON.stringify(heard), /SECRET/);

  for (const nothing of [null, undefined, 0, Object.create(null)]) {
    const error = await failed(() => Promise.reject(nothing));
    assert.deepEqual([error.name, error.code, error.attempts], ["RegripError", "Network", 2]);
  }
});

test("the names of an unfinished download's part, record and lock are no destinations", async () => {
  const url = await serve([STALL]);
  const stop = new AbortController();
  const path = join(world.folder, "x");
  await assert.rejects(download(url, path, { ...QUICK, signal: stop.signal, onEvent: ({ event }) => event === "progress" && stop.abort() }), { code: "cancelled" });
  const part = await readFile(`${path}.part`);
  const asked = (await world.faultd.gets("/film")).length;
  for (const name of ["x.part", "x.part.json", "x.part.json.new", "x.part.lock", "x.part.lock.new", "x.part.lock.new.new"]) {
    const events = [];
    const failing = download(world.faultd.url("/2"), join(world.folder, name), { ...QUICK, onEvent: (event) => events.push(event) });
    const message = `${join(world.folder, name)} is the name of the partial data of ${path}, whose download is unfinished`;
    await assert.rejects(failing, { code: "DestinationBusy", class: "permanent", message, attempts: 0, advice: /choose another name/ });
    assert.deepEqual(events.map(({ event, code }) => [event, code]), [["failed", "DestinationBusy"]]);
  }
  assert.equal((await world.faultd.gets("/film")).length, asked);
  assert.deepEqual([await readFile(`${path}.part`), (await readdir(world.folder)).sort()], [part, ["x.part", "x.part.json"]]);
  const { path: other } = await new Engine({ folder: world.folder, onExists: "rename" }).download(url, "x.part");
  assert.equal(other, join(world.folder, "x.1.part"));

  await download(url, path, QUICK);
  await download(url, `${path}.part`, QUICK);
  await Promise.all(["x", "x.part", "x.1.part"].map((name) => assertFile(join(world.folder, name), world.one)));

  // A record of a long name is found by what is in it.
  const long = join(world.folder, "y".repeat(252));
  const again = new AbortController();
  const slow = await serve([STALL]);
  const engine = new Engine({ ...QUICK, folder: world.folder });
  await assert.rejects(engine.download(slow, long, { signal: again.signal, onEvent: ({ event }) => event === "progress" && again.abort() }), { code: "cancelled" });
  for (const name of [partPath(long), recordPath(long), lockPath(partPath(long))]) await assert.rejects(engine.download(slow, name), { code: "DestinationBusy" });
});

test("of two downloads of which one's part has the other one's name, the second is refused, by any engine", async () => {
  for (const names of [["x", "x.part"], ["x.part", "x"]]) {
    const url = await serve([STALL]);
    const [first, second] = [0, 1].map(() => new Engine({ ...QUICK, folder: world.folder }));
    const events = [];
    const one = first.start({ url, to: names[0], onEvent: (event) => events.push(event) });
    await until(() => events.some(({ event }) => event === "progress"));
    for (const engine of [first, second]) {
      const message = /x\.part is the name of the partial data of .*x, (which is being downloaded|and the destination of another download)$/;
      await assert.rejects(engine.download(url, names[1]), { code: "DestinationBusy", message });
    }
    assert.equal((await world.faultd.gets("/film")).length, 1);
    one.cancel();
    await assert.rejects(one.done, { name: "AbortError" });
    await first.remove(one.id);
    const both = await Promise.allSettled([first.download(url, names[0]), second.download(url, names[1])]);
    assert.deepEqual(both.map(({ status, reason }) => reason?.code ?? status).sort(), ["DestinationBusy", "fulfilled"]);
    const [{ value }] = both.filter(({ value }) => value);
    await assertFile(value.path, world.one);
    assert.deepEqual(await readdir(world.folder), [basename(value.path)]);
    await rm(value.path);
  }
});

test("a damaged record is named, and the error says how to keep the partial data", async () => {
  const url = await serve();
  const path = join(world.folder, "film");
  await writeFile(`${path}.part`, world.one.subarray(0, 1_000_000));
  for (const text of ["{", "5", '{"url":5}', ""]) {
    await writeFile(`${path}.part.json`, text);
    const message = new RegExp(`film\\.part\\.json is no record of regrip, or damaged: move it away; then .adoptPart: true. continues`);
    await assert.rejects(download(url, path, QUICK), { code: "Ledger", message });
  }
  await rm(`${path}.part.json`);
  await download(url, path, { ...QUICK, adoptPart: true });
  await assertFile(path, world.one);
});
