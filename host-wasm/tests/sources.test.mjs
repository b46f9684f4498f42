// Where a download continues after its source failed: a mirror, or a new URL that the caller supplies.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { Engine, MemorySink, download } from "../pkg/node.js";
import { sha256 } from "./faultd.mjs";
import { ONE, SIZE, TWO, assertFile, from, prepareWorld, world } from "./world.mjs";

prepareWorld();

const QUICK = { retryBaseDelayMs: 1, retryMaxDelayMs: 5, maxDownloadAttempts: 2 };
const GONE = [{ status: { code: 404 } }];
const CUT = [{ cut: { after: 2_000_000 } }];
const place = () => join(world.folder, "film");

/** Serves `/one` and `/two` with these answers. */
async function serveTwo(one, two, versions = [[ONE], [ONE]]) {
  const file = (versions, answers, then = []) => ({ versions, answers, then });
  await world.faultd.play({ files: { "/one": file(versions[0], one), "/two": file(versions[1], two) } });
  return [world.faultd.url("/one"), world.faultd.url("/two")];
}

test("a mirror takes over from a source that fails for good, and keeps the bytes", async () => {
  const [one, two] = await serveTwo([CUT, GONE, GONE], []);
  const events = [];
  const summary = await download(one, place(), { ...QUICK, mirrors: [new URL(two)], sha256: true, onEvent: (event) => events.push(event) });
  assert.deepEqual([summary.url, summary.bytes, summary.restarts, summary.sha256], [two, SIZE, 0, sha256(world.one)]);
  await assertFile(place(), world.one);
  const words = events.filter(({ event }) => event !== "progress").map(({ event }) => event);
  assert.deepEqual(words, ["queued", "started", "headers", "retrying", "started", "retrying", "queued", "started", "headers", "completed"]);
  const change = events.filter(({ event }) => event === "retrying")[1];
  assert.deepEqual([change.delayMs, change.class], [0, "permanent"]);
  assert.match(change.error, new RegExp(`^${one}: .*404.*; next source: ${two}$`));
  // Another URL is compared, whatever its ETag says.
  const [asked] = await world.faultd.gets("/two");
  assert.equal(from(asked), 2_000_000 - 65_536);
});

test("a mirror takes over once a source has used up its attempts", async () => {
  const BUSY = [{ status: { code: 503 } }];
  const [one, two] = await serveTwo([BUSY, BUSY, BUSY], []);
  await download(one, place(), { ...QUICK, mirrors: [two] });
  assert.equal((await world.faultd.gets("/one")).length, QUICK.maxDownloadAttempts);
  await assertFile(place(), world.one);
});

test("a mirror that serves another file is passed over, and no byte of it is kept", async () => {
  const [one, two] = await serveTwo([CUT, GONE, GONE], [], [[ONE], [TWO]]);
  await assert.rejects(download(one, place(), { ...QUICK, mirrors: [two] }), { code: "Status", status: 404 });
  assert.ok((await readFile(`${place()}.part`)).equals(world.one.subarray(0, 2_000_000)));
  const three = world.faultd.url("/two");
  await world.faultd.play({ files: { "/one": { versions: [ONE], answers: [GONE, GONE] }, "/two": { versions: [TWO] }, "/three": { versions: [ONE] } } });
  await download(one, place(), { ...QUICK, mirrors: [three, world.faultd.url("/three")] });
  await assertFile(place(), world.one);
});

test("a digest that the first source does not have makes the mirror's file count", async () => {
  const [one, two] = await serveTwo([], [], [[TWO], [ONE]]);
  const { digests, ...summary } = await download(one, place(), { ...QUICK, mirrors: [two], sha256: sha256(world.one) });
  assert.equal(summary.url, two);
  await assertFile(place(), world.one);
});

test("errors of this side do not lead to a mirror, and an abort ends it", async () => {
  const [one, two] = await serveTwo([], []);
  const sink = Object.assign(new MemorySink(), { write: () => Promise.reject(Object.assign(new Error("full"), { code: "ENOSPC" })) });
  await assert.rejects(download(one, sink, { ...QUICK, mirrors: [two] }), { code: "DiskFull" });
  assert.deepEqual(await world.faultd.gets("/two"), []);
  await serveTwo([GONE, GONE], [[{ stall: { after: 1000 } }]]);
  const stop = new AbortController();
  const events = [];
  const stopped = download(one, place(), { ...QUICK, mirrors: [two], signal: stop.signal, onEvent: ({ event, url }) => (events.push(event), url === two && event === "headers" && stop.abort(new Error("enough"))) });
  await assert.rejects(stopped, { message: "enough" });
  assert.equal(events.at(-1), "cancelled");
});

test("headers and the user of a URL stay at its origin", async () => {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push(request.headers);
    response.writeHead(200, { "content-length": 4, etag: '"x"' }).end("film");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const [one] = await serveTwo([GONE, GONE], []);
    const mirror = new URL(`http://127.0.0.1:${server.address().port}/film`);
    mirror.username = "me";
    mirror.password = "mine";
    const headers = { "x-key": "secret", "user-agent": "test", authorization: "Bearer secret" };
    await download(one, new MemorySink(), { ...QUICK, mirrors: [mirror], headers });
    assert.deepEqual([seen[0]["x-key"], seen[0]["user-agent"], seen[0].authorization], [undefined, "test", `Basic ${btoa("me:mine")}`]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("the mirrors of an unfinished download are known after a restart", async () => {
  const [one, two] = await serveTwo([CUT, [{ stall: { after: 10 } }]], []);
  const engine = new Engine({ ...QUICK, folder: world.folder });
  const first = engine.start({ url: one, to: "film", mirrors: [two] });
  for await (const { event } of first) if (event === "retrying") break;
  first.cancel();
  await assert.rejects(first.done, { code: "cancelled" });
  await world.faultd.play({ files: { "/one": { versions: [ONE], answers: [GONE, GONE] }, "/two": { versions: [ONE] } } });
  const next = new Engine({ ...QUICK, folder: world.folder });
  const [{ id }] = await next.list();
  assert.equal((await (await next.resume(id)).done).url, two);
  await assertFile(place(), world.one);
});

for (const status of [401, 403, 410]) {
  test(`a URL that expired (${status}) is replaced by the one that is supplied`, async () => {
    const REFUSED = [{ status: { code: status } }];
    const [one] = await serveTwo([CUT, REFUSED, ...(status === 403 ? [REFUSED] : [])], []);
    const asked = [];
    const onExpired = async (facts) => (asked.push(facts), `${one}?signature=2`);
    const { url, restarts } = await download(`${one}?signature=1`, place(), { ...QUICK, onExpired });
    assert.deepEqual([url, restarts], [one, 0]);
    assert.deepEqual(asked, [{ url: `${one}?signature=1`, status, path: place() }]);
    await assertFile(place(), world.one);
    // The identical strong ETag proves the bytes: none is asked for again.
    const gets = await world.faultd.gets("/one");
    assert.deepEqual([from(gets.at(-1)), gets.at(-1).if_range], [2_000_000, '"one"']);
  });
}

test("a supplied URL of another file is refused, and one that never works is asked for a bounded number of times", async () => {
  const REFUSED = [{ status: { code: 410 } }];
  const [one, two] = await serveTwo([CUT, ...Array(20).fill(REFUSED)], [], [[ONE], [TWO]]);
  await assert.rejects(download(one, place(), { ...QUICK, onExpired: () => two }), { code: "Status", status: 410 });
  assert.ok((await readFile(`${place()}.part`)).equals(world.one.subarray(0, 2_000_000)));
  let asked = 0;
  await assert.rejects(download(one, place(), { ...QUICK, onExpired: () => `${one}?n=${++asked}` }), { code: "Status", status: 410 });
  assert.equal(asked, QUICK.maxDownloadAttempts);
});

test("what onExpired throws or returns in place of a URL is the cause, and an abort does not wait for it", async () => {
  const REFUSED = [{ status: { code: 403 } }];
  const fault = new Error("no signature");
  const answers = () => serveTwo(Array(9).fill(REFUSED), []);
  let [one] = await answers();
  await assert.rejects(download(one, place(), { ...QUICK, onExpired: () => Promise.reject(fault) }), (error) => error.status === 403 && error.cause === fault);
  for (const odd of [5, {}, "no url", "ftp://host/film", []]) {
    [one] = await answers();
    await assert.rejects(download(one, place(), { ...QUICK, onExpired: () => odd }), (error) => error.status === 403 && /^the URL that onExpired returned /.test(error.cause.message), String(odd));
  }
  for (const none of [undefined, null]) {
    [one] = await answers();
    await assert.rejects(download(one, place(), { ...QUICK, onExpired: () => none }), { code: "Status", status: 403 });
  }
  [one] = await answers();
  const stop = new AbortController();
  const waiting = download(one, place(), { ...QUICK, signal: stop.signal, onExpired: () => (setTimeout(() => stop.abort(fault)), new Promise(() => {})) });
  await assert.rejects(waiting, (error) => error === fault);
});
