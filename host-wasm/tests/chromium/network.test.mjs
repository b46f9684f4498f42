// Living in a page: no network for a while, other origins, redirects, laptops that sleep.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Faultd, sha256, startFaultd } from "../faultd.mjs";
import { ONE, TWO, from, serve, until, world } from "../world.mjs";
import { CUT, STALL, assertOverlap, browser, open, prepareBrowser, reload, startAndStall } from "./browser.mjs";

prepareBrowser();

/** A server of another origin. */
let other, otherServer;
before(async () => {
  otherServer = await startFaultd();
  other = new Faultd(otherServer.origin);
});
after(() => otherServer.stop());

/** Downloads, and says what was told. */
const downloaded = (page, url, more = {}) =>
  page.evaluate(
    async ([url, more]) => {
      const { events, options } = listening(more);
      const summary = await regrip.download(url, "big.iso", options);
      return { summary, events, there: await sha256Of("big.iso") };
    },
    [url, more],
  );

// H09, FW02
test("a server that refuses ranges is asked for the whole file, which is compared", async () => {
  const [slowly] = CUT;
  const url = await serve([[{ ignore_range: {} }, ...CUT], [{ status: { code: 403 } }], [slowly]]);
  const { summary, events, there } = await downloaded(await open(), url);
  assert.equal(there, sha256(world.one));
  assert.deepEqual([summary.attempts, events.filter(({ event }) => event === "restart")], [2, []]);
  const asked = await world.faultd.gets("/film");
  assert.ok(from(asked[1]) > 0);
  assert.deepEqual([asked[0].range, asked[2].range, asked.length], ["bytes=0-", null, 3]);
});

// H36
test("offline it waits, tells so, and spends no attempt", async () => {
  const url = await serve();
  const page = await open();
  await page.evaluate(() => regrip.load());
  await browser.context.setOffline(true);
  await page.evaluate((url) => {
    globalThis.told = listening({ maxDownloadAttempts: 1 });
    globalThis.summary = regrip.download(url, new regrip.MemorySink(), told.options);
  }, url);
  await page.waitForFunction(() => told.events.some(({ event }) => event === "waiting"));
  await browser.context.setOffline(false);
  const got = await page.evaluate(async () => ({ summary: await summary, events: told.events }));
  assert.equal(got.summary.attempts, 1);
  const waiting = got.events.find(({ event }) => event === "waiting");
  assert.deepEqual([waiting.why, waiting.until], ["offline", undefined]);
});

test("a network that goes in the middle is waited for, and the bytes are kept", async () => {
  const url = await serve([STALL]);
  const page = await open();
  await page.evaluate((url) => {
    globalThis.bytes = 0;
    const onEvent = (event) => (globalThis.bytes = event.bytes ?? globalThis.bytes);
    globalThis.told = listening({ maxDownloadAttempts: 2, onEvent });
    globalThis.summary = regrip.download(url, "big.iso", told.options);
  }, url);
  await page.waitForFunction(() => globalThis.bytes > 1_000_000);
  await browser.context.setOffline(true);
  // Chromium's emulation leaves open connections alone; a real one breaks them.
  await world.faultd.cut();
  await page.waitForFunction(() => told.events.some(({ event }) => event === "waiting"));
  await browser.context.setOffline(false);
  const got = await page.evaluate(async () => ({ summary: await summary, there: await sha256Of("big.iso") }));
  assert.equal(got.there, sha256(world.one));
  assert.equal(got.summary.attempts, 2);
  const [, second] = (await world.faultd.gets("/film")).map(from);
  assert.ok(second > 500_000, String(second));
});

test("the module itself is waited for, where it could not be loaded before the network went", async () => {
  const url = await serve();
  const page = await open();
  await browser.context.setOffline(true);
  await page.evaluate((url) => {
    globalThis.summary = regrip.download(url, new regrip.MemorySink());
    globalThis.stop = new AbortController();
    globalThis.stopped = failure(regrip.download(url, new regrip.MemorySink(), { signal: stop.signal }));
  }, url);
  const { name, code } = await page.evaluate(() => (stop.abort(), stopped));
  assert.deepEqual([name, code], ["AbortError", "cancelled"]);
  await browser.context.setOffline(false);
  assert.equal((await page.evaluate(() => summary)).attempts, 1);
});

test("an abort ends it while it is offline", async () => {
  const url = await serve();
  const page = await open();
  await page.evaluate(() => regrip.load());
  await browser.context.setOffline(true);
  const got = await page.evaluate((url) => {
    const stop = new AbortController();
    const onEvent = ({ event }) => event === "waiting" && stop.abort();
    return failure(regrip.download(url, new regrip.MemorySink(), { signal: stop.signal, onEvent }));
  }, url);
  assert.deepEqual([got.name, got.code], ["AbortError", "cancelled"]);
});

test("an abort ends it while it waits for its next attempt", async () => {
  const url = await serve([[{ status: { code: 503, retry_after: "3600" } }]]);
  const page = await open();
  const got = await page.evaluate((url) => {
    const stop = new AbortController();
    const onEvent = ({ event }) => event === "retrying" && stop.abort();
    return failure(regrip.download(url, "big.iso", { retryMaxDelayMs: 3_600_000, signal: stop.signal, onEvent }));
  }, url);
  assert.deepEqual([got.name, got.code, got.attempts], ["AbortError", "cancelled", 1]);
});

test("to another origin it asks without If-Range, so that there is no preflight to be refused", async () => {
  const refuse = { refuse_preflight: {} };
  await other.play({ files: { "/film": { versions: [ONE], answers: [[refuse, ...CUT]], then: [refuse] } } });
  await serve();
  const got = await downloaded(await open(), other.url("/film"));
  assert.equal(got.there, sha256(world.one));
  assert.deepEqual((await other.log()).map(({ method, if_range }) => [method, if_range ?? null]), [["GET", null], ["GET", null]]);
  // The ETag is exposed, but only If-Range would make the server check it: the end is compared.
  assertOverlap(await other.log());
});

// H15
test("a file of another origin that is replaced starts over", async () => {
  await other.play({ files: { "/film": { versions: [ONE, TWO], answers: [CUT, [{ replace: { version: 1 } }]] } } });
  await serve();
  const got = await downloaded(await open(), other.url("/film"));
  assert.equal(got.there, sha256(world.two));
  assert.deepEqual(got.events.filter(({ event }) => event === "restart").map(({ reason }) => reason), ["validator_changed"]);
});

// H16
test("an ETag that the other origin does not expose is done without", async () => {
  const hide = { headers: { add: [["Access-Control-Expose-Headers", "Content-Range"]] } };
  const only = [{ remove_headers: { names: ["Access-Control-Expose-Headers"] } }, hide];
  await other.play({ files: { "/film": { versions: [ONE], answers: [[...only, ...CUT]], then: only } } });
  await serve();
  const got = await downloaded(await open(), other.url("/film"));
  assert.equal(got.there, sha256(world.one));
  assertOverlap(await other.log());
});

test("of a server that exposes nothing at all nothing is guessed, and the person is told what it has to do", async () => {
  const nothing = [{ remove_headers: { names: ["Access-Control-Expose-Headers"] } }];
  await other.play({ files: { "/film": { versions: [ONE], then: nothing } } });
  await serve();
  const page = await open();
  const got = await page.evaluate((url) => failure(regrip.download(url, "big.iso")), other.url("/film"));
  assert.deepEqual([got.code, got.class], ["Protocol", "permanent"]);
  assert.match(got.message, /Content-Range.*Access-Control-Expose-Headers/);
});

test("a redirect to another origin that refuses the preflight of If-Range ends no download", async () => {
  const refuse = { refuse_preflight: {} };
  await other.play({ files: { "/film": { versions: [ONE], answers: [[refuse, ...CUT], [refuse, ...STALL]], then: [refuse] } } });
  await world.faultd.play({ files: { "/film": { versions: [ONE], then: [{ redirect: { to: other.url("/film") } }] } } });
  const page = await open();
  const asked = async () => (await other.log()).map(({ method }) => method).join();

  // Where the first answer shows the way, the second request goes without.
  await startAndStall(page, world.faultd.url("/film"));
  await until(async () => (await asked()) === "GET,GET");

  // The next page does not know it before it was refused once.
  await reload(page);
  const got = await page.evaluate(async () => {
    const [download] = await new regrip.Engine({ retryBaseDelayMs: 1 }).resumeUnfinished();
    return { summary: await download.done, there: await sha256Of("big.iso") };
  });
  assert.equal(got.there, sha256(world.one));
  assert.deepEqual([got.summary.attempts, got.summary.restarts], [4, 0]);
  assert.equal(await asked(), "GET,GET,OPTIONS,GET");
});

// T02
test("a laptop that slept an hour finds its download going on, with no attempt spent", async () => {
  const url = await serve([[STALL[0], { pause: { after: 2_000_000, ms: 1500 } }]], [{ seed: 1, size: 2_100_000, etag: '"one"' }]);
  const page = await open();
  await page.clock.install();
  await page.evaluate((url) => {
    globalThis.bytes = 0;
    const onEvent = (event) => (globalThis.bytes = event.bytes ?? globalThis.bytes);
    globalThis.told = listening({ idleTimeoutMs: 20_000, onEvent });
    globalThis.summary = regrip.download(url, new regrip.MemorySink(), told.options);
  }, url);
  await page.waitForFunction(() => globalThis.bytes > 1_000_000);
  // Time passes, and no timer rings but late: as with the lid closed.
  await page.clock.fastForward("01:00:00");
  const got = await page.evaluate(async () => ({ summary: await summary, events: told.events.map(({ event }) => event) }));
  assert.deepEqual([got.summary.attempts, got.events.includes("retrying")], [1, false]);
});

// H37
test("a server that stands still for the idle timeout is left, when the timers ring in time", async () => {
  const url = await serve([STALL]);
  const page = await open();
  await page.clock.install();
  await page.evaluate((url) => {
    globalThis.bytes = 0;
    const onEvent = (event) => (globalThis.bytes = event.bytes ?? globalThis.bytes);
    globalThis.told = listening({ idleTimeoutMs: 40_000, onEvent });
    globalThis.summary = regrip.download(url, new regrip.MemorySink(), told.options);
  }, url);
  await page.waitForFunction(() => globalThis.bytes > 1_000_000);
  // Long enough for one timeout, and too short for a second one, however slow the machine is.
  await page.clock.runFor(60_000);
  const got = await page.evaluate(async () => ({ summary: await summary, events: told.events }));
  assert.equal(got.summary.attempts, 2);
  assert.match(got.events.find(({ event }) => event === "retrying").error, /40/);
});

test("custom headers go along, to another origin too where it allows them", async () => {
  await other.play({ files: { "/film": { versions: [ONE], answers: [CUT] } }, require_header: { name: "X-Api-Key", value: "secret" } });
  await serve();
  const page = await open();
  const got = await downloaded(page, other.url("/film"), { headers: { "X-Api-Key": "secret" } });
  assert.equal(got.there, sha256(world.one));
  const records = await page.evaluate(async (url) => {
    const stop = new AbortController();
    await failure(regrip.download(url, "again.iso", { headers: { "X-Api-Key": "secret" }, signal: stop.signal, onEvent: ({ bytes }) => bytes > 0 && stop.abort() }));
    return JSON.stringify(await new regrip.IndexedDbLedger().list());
  }, other.url("/film"));
  assert.match(records, /x-api-key/i);
  assert.doesNotMatch(records, /secret/);
});

// T03, T06, K02, K04
test("the primitives work in a page without the module, and a fetch goes on after a cut", async () => {
  const url = await serve([CUT]);
  const page = await open();
  const fetched = await page.evaluate(async (url) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", await (await regrip.resumableFetch(url, { retryBaseDelayMs: 1 })).arrayBuffer()))], url);
  assert.equal(Buffer.from(fetched).toString("hex"), sha256(world.one));
  assert.equal((await world.faultd.gets("/film")).length, 2);
  const got = await page.evaluate(async () => {
    const permits = new regrip.Semaphore(1);
    const order = [];
    await Promise.all([1, 2, 3].map((n) => permits.run(async () => void order.push(n))));
    // Who gives up waiting loses nothing for the others, and more permits are handed out at once.
    const held = await permits.acquire();
    const stop = new AbortController();
    const left = failure(permits.acquire({ signal: stop.signal }));
    const next = permits.acquire();
    stop.abort();
    order.push((await left).name);
    permits.resize(2);
    await next;
    held.release();
    let tries = 0;
    const answer = await regrip.retry(() => {
      if (++tries < 3) throw new TypeError("Failed to fetch");
      return tries;
    }, { baseDelayMs: 1 });
    const delays = [2, 5000, 2 ** 32 - 1].map((attempt) => regrip.backoffDelay(attempt, { random: () => 0.5 }));
    return { retryAfter: regrip.parseRetryAfter("3"), delays, order, answer };
  });
  assert.deepEqual(got, { retryAfter: 3000, delays: [1000, 30_000, 30_000], order: [1, 2, 3, "AbortError"], answer: 3 });
});
