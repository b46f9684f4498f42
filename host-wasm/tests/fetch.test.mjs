// `resumableFetch`: a `fetch` whose body goes on after a cut, alone and as the `fetch` of other packages.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import got from "got";
import ky from "ky";
import { RegripError, resumableFetch } from "../pkg/node.js";
import { ONE, SIZE, TWO, prepareWorld, serve, until, world } from "./world.mjs";

prepareWorld();

const QUICK = { retryBaseDelayMs: 1, retryMaxDelayMs: 5 };
const DATE = "Sun, 06 Nov 1994 08:49:37 GMT";
const { etag, ...UNTAGGED } = ONE;
const same = (bytes, wanted = world.one) => assert.ok(Buffer.from(bytes).equals(wanted), "other bytes");

/** A server whose answers a test makes by itself; its requests are in `asked`. */
let own;
let asked = [];
let answer;
before(async () => {
  const server = createServer((request, response) => {
    asked.push(request);
    answer(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  own = { url: `http://127.0.0.1:${server.address().port}/film`, server };
});
after(() => {
  own.server.closeAllConnections();
  own.server.close();
});
function answering(with_) {
  asked = [];
  answer = with_;
  return own.url;
}
/** Breaks an answer off once its bytes are on the way. */
const breakOff = (response, bytes) => response.write(bytes, () => setTimeout(() => response.destroy(), 20));

test("a body that is cut goes on from there, and the response is that of fetch", async () => {
  const url = await serve([[{ cut: { after: 2_000_000 } }], [{ cut: { after: 1_000_000 } }]]);
  const response = await resumableFetch(url, QUICK);
  assert.ok(response instanceof Response);
  const { status, statusText, ok, redirected, type } = response;
  assert.deepEqual({ status, statusText, ok, redirected, type, url: response.url }, { status: 200, statusText: "OK", ok: true, redirected: false, type: "basic", url });
  assert.deepEqual(["etag", "content-length"].map((name) => response.headers.get(name)), ['"one"', String(SIZE)]);
  same(await response.arrayBuffer());
  const gets = await world.faultd.gets("/film");
  assert.deepEqual(gets.map(({ range, if_range }) => [range, if_range]), [[null, null], ["bytes=2000000-", '"one"'], ["bytes=3000000-", '"one"']].map(([range, tag]) => [range ?? gets[0].range, tag ?? gets[0].if_range]));
  assert.ok(!gets[0].range && !gets[0].if_range);
});

test("a strong date goes on too, after the last bytes were compared", async () => {
  const url = await serve([[{ cut: { after: 2_000_000 } }]], [{ ...UNTAGGED, last_modified: DATE }]);
  same(await (await resumableFetch(url, QUICK)).arrayBuffer());
  const [, second] = await world.faultd.gets("/film");
  assert.deepEqual([second.range, second.if_range], [`bytes=${2_000_000 - 65_536}-`, DATE]);
});

test("a file that was replaced errors the body, and no byte of the new one is in it", async () => {
  for (const versions of [[ONE, TWO], [{ ...ONE, etag: undefined, last_modified: DATE }, { ...TWO, etag: undefined, last_modified: DATE }]]) {
    const url = await serve([[{ cut: { after: 2_000_000 } }], [{ replace: { version: 1 } }]], JSON.parse(JSON.stringify(versions)));
    const reader = (await resumableFetch(url, { ...QUICK, maxDownloadAttempts: 2 })).body.getReader();
    const got = [];
    const read = async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        got.push(value);
      }
    };
    await assert.rejects(read(), (error) => error instanceof RegripError && error.code === "NotResumable");
    const bytes = Buffer.concat(got);
    assert.ok(bytes.length > 0 && bytes.length <= 2_000_000 && bytes.equals(world.one.subarray(0, bytes.length)));
  }
});

test("what cannot go on is passed on as it is, and a cut errors it", async () => {
  const half = Buffer.alloc(1000, 1);
  const heads = {
    "no validator": { "content-length": 2000 },
    "a weak ETag": { "content-length": 2000, etag: 'W/"one"' },
    "a weak ETag beside a date": { "content-length": 2000, etag: 'W/"one"', "last-modified": DATE },
    "a date that is too recent": { "content-length": 2000, "last-modified": new Date().toUTCString() },
    "no length": { etag: '"one"' },
  };
  for (const [what, head] of Object.entries(heads)) {
    const url = answering((request, response) => breakOff(response.writeHead(200, head), half));
    const response = await resumableFetch(url, QUICK);
    assert.equal(response.status, 200, what);
    await assert.rejects(response.arrayBuffer(), TypeError, what);
    assert.equal(asked.length, 1, what);
  }
  const coded = gzipSync("text");
  const url = answering((request, response) => response.writeHead(200, { "content-encoding": "gzip", etag: '"one"', "content-length": coded.length }).end(coded));
  assert.equal(await (await resumableFetch(url)).text(), "text");
  for (const status of [204, 206, 304, 404, 503]) {
    answering((request, response) => response.writeHead(status, { etag: '"one"' }).end());
    assert.equal((await resumableFetch(url)).status, status);
    assert.equal(asked.length, 1);
  }
});

test("other methods and requests with a Range are those of fetch", async () => {
  const url = answering((request, response) => response.writeHead(200, { etag: '"one"', "content-length": 4 }).end(request.method === "HEAD" ? undefined : "film"));
  const calls = [];
  const spy = (...given) => (calls.push(given), fetch(...given));
  const range = { headers: { range: "bytes=1-" }, fetch: spy };
  const post = { method: "POST", body: "x", fetch: spy };
  for (const init of [{ method: "HEAD", fetch: spy }, post, range]) await (await resumableFetch(url, init)).arrayBuffer();
  assert.deepEqual(calls, [[url, { method: "HEAD" }], [url, { method: "POST", body: "x" }], [url, { headers: { range: "bytes=1-" } }]]);
  const request = new Request(url, { method: "POST", body: "x" });
  assert.equal(await (await resumableFetch(request)).text(), "film");
  assert.deepEqual(asked.map(({ method }) => method), ["HEAD", "POST", "GET", "POST"]);
});

test("headers and options go along with every request, also those of a Request", async () => {
  let sent = 0;
  const content = Buffer.alloc(3000, 7);
  const url = answering((request, response) => {
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "bytes=0-")[1]);
    const head = { etag: '"one"', "content-length": 3000 - start, ...(start > 0 && { "content-range": `bytes ${start}-2999/3000` }) };
    response.writeHead(start > 0 ? 206 : 200, head);
    if (sent++ < 2) breakOff(response, content.subarray(start, start + 1000));
    else response.end(content.subarray(start));
  });
  const calls = [];
  const spy = (...given) => (calls.push(given), fetch(...given));
  const request = new Request(url, { headers: { "x-key": "secret" }, credentials: "include" });
  same(await (await resumableFetch(request, QUICK)).arrayBuffer(), content);
  assert.deepEqual(asked.map(({ headers }) => [headers["x-key"], headers.range, headers["if-range"], headers["accept-encoding"]]), [
    ["secret", undefined, undefined, "identity"],
    ["secret", "bytes=1000-", '"one"', "identity"],
    ["secret", "bytes=2000-", '"one"', "identity"],
  ]);
  sent = 0;
  same(await (await resumableFetch(request, { ...QUICK, fetch: spy, priority: "high" })).arrayBuffer(), content);
  assert.deepEqual(calls.map(([, { priority, credentials }]) => [priority, credentials]), [["high", undefined], ["high", "include"], ["high", "include"]]);
});

test("a signal ends it while it asks, while it reads, and while it waits, with its reason", async () => {
  const reason = new Error("enough");
  const stop = new AbortController();
  await assert.rejects(resumableFetch(await serve(), { signal: AbortSignal.abort(reason) }), (error) => error === reason);

  const silent = answering(() => {});
  const asking = resumableFetch(silent, { signal: stop.signal });
  await until(() => asked.length > 0);
  stop.abort(reason);
  await assert.rejects(asking, (error) => error === reason);

  for (const answers of [[[{ stall: { after: 1_000_000 } }]], [[{ cut: { after: 1_000_000 } }], [{ status: { code: 503, retry_after: "3600" } }]]]) {
    const stop = new AbortController();
    const response = await resumableFetch(await serve(answers), { signal: stop.signal, retryBaseDelayMs: 1, retryMaxDelayMs: 3_600_000 });
    const read = response.arrayBuffer();
    if (answers.length > 1) await until(async () => (await world.faultd.gets("/film")).length > 1);
    stop.abort(reason);
    await assert.rejects(read, (error) => error === reason);
  }
});

// K07
test("a reader that cancels ends the request, and one that does not read is waited for", async () => {
  const url = await serve([[{ stall: { after: 2_000_000 } }]]);
  const events = [];
  const response = await resumableFetch(url, { onEvent: ({ event }) => events.push(event) });
  await until(() => events.includes("headers"));
  await response.body.cancel("enough");
  await until(() => events.includes("cancelled"));
  const second = await resumableFetch(await serve([[{ cut: { after: 3_000_000 } }]]), { ...QUICK, idleTimeoutMs: 50 });
  await new Promise((done) => setTimeout(done, 300));
  same(await second.arrayBuffer());
});

test("it is bounded, and ends with the error of the last attempt", async () => {
  const content = Buffer.alloc(3000, 7);
  const url = answering((request, response) => {
    if (request.headers.range) response.writeHead(503).end();
    else breakOff(response.writeHead(200, { etag: '"one"', "content-length": 3000 }), content.subarray(0, 1000));
  });
  const response = await resumableFetch(url, { ...QUICK, maxDownloadAttempts: 3 });
  await assert.rejects(response.arrayBuffer(), { name: "RegripError", code: "Status", status: 503, attempts: 3 });
  assert.equal(asked.length, 3);
});

test("an expired URL is replaced, and a clone reads the same bytes", async () => {
  const url = await serve([[{ cut: { after: 2_000_000 } }], [{ status: { code: 403 } }], [{ status: { code: 403 } }]]);
  const expired = [];
  const onExpired = (facts) => (expired.push(facts), new URL(`${url}?signature=2`));
  const response = await resumableFetch(url, { ...QUICK, onExpired });
  const copy = response.clone();
  assert.equal(copy.url, url);
  const [one, other] = await Promise.all([response.arrayBuffer(), copy.arrayBuffer()]);
  same(one);
  same(other);
  assert.deepEqual(expired.map(({ url, status }) => [url, status]), [[url, 403]]);
});

test("as ky's fetch", async () => {
  const url = await serve([[{ cut: { after: 2_000_000 } }]]);
  const client = ky.create({ fetch: (input, init) => resumableFetch(input, { ...init, ...QUICK }), headers: { "x-key": "1" } });
  same(await client.get(url).arrayBuffer());
  assert.equal((await world.faultd.gets("/film")).length, 2);
  await serve([[{ status: { code: 503 } }], [{ cut: { after: 1_000_000 } }]]);
  same(await client.get(url, { retry: { limit: 2, delay: () => 1 } }).arrayBuffer());
});

test("as got's request function", async () => {
  const request = async (url, { method, headers, signal }) => {
    const { status, statusText, headers: fields, body } = await resumableFetch(url, { method, headers, signal, redirect: "manual", ...QUICK });
    return Object.assign(body ? Readable.fromWeb(body) : Readable.from([]), { statusCode: status, statusMessage: statusText, headers: Object.fromEntries(fields) });
  };
  const url = await serve([[{ cut: { after: 2_000_000 } }]]);
  same(await got(url, { request, decompress: false }).buffer());
  assert.equal((await world.faultd.gets("/film")).length, 2);
});

test("wrong options are refused by name, before anything is sent", async () => {
  const url = answering(() => assert.fail("asked"));
  for (const [name, value] of [["fetch", 1], ["fetch", null], ["onExpired", "x"], ["onEvent", {}], ["maxDownloadAttempts", 0], ["retryBaseDelayMs", "1"], ["idleTimeoutMs", 0], ["signal", "stop"]]) {
    await assert.rejects(resumableFetch(url, { [name]: value }), (error) => (error instanceof TypeError || error instanceof RangeError) && error.message.startsWith(`${name} is `), `${name}: ${value}`);
  }
  for (const init of [null, 1, "x"]) await assert.rejects(resumableFetch(url, init), { name: "TypeError", message: /^init is / });
  for (const odd of [undefined, { status: "200" }, { status: 200 }]) {
    await assert.rejects(resumableFetch(url, { fetch: async () => odd }), { name: "TypeError", message: /^fetch resolved to / });
  }
});
