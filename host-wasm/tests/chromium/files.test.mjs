// Private files (OPFS) by the worker that the package starts: cuts, reloads, replaced files, aborts, digests.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { sha256 } from "../faultd.mjs";
import { ONE, SIZE, TWO, from, serve, until, world } from "../world.mjs";
import { CUT, STALL, assertOverlap, cutAfter, open, prepareBrowser, reload, startAndStall } from "./browser.mjs";

prepareBrowser();

// H01, H23
test("a file whose line is cut three times arrives whole, each time from where it was", async () => {
  const url = await serve([CUT, cutAfter(1_000_000, "reset"), cutAfter(500_000)]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const { events, options } = listening({ sha256: true });
    const summary = await regrip.download(url, "films/big.iso", options);
    const films = await (await navigator.storage.getDirectory()).getDirectoryHandle("films");
    return { summary, there: await sha256Of("films/big.iso"), names: await names(films), events: events.map(({ event }) => event) };
  }, url);

  assert.deepEqual([got.summary.attempts, got.summary.restarts, got.summary.bytes], [4, 0, SIZE]);
  assert.equal(got.there, sha256(world.one));
  assert.equal(got.summary.sha256, sha256(world.one));
  assert.deepEqual(got.names, ["big.iso"]);
  const again = ["retrying", "started", "headers"];
  assert.deepEqual(got.events, ["queued", "started", "headers", ...again, ...again, ...again, "completed"]);

  const asked = await world.faultd.gets("/film");
  assert.deepEqual(asked.map((entry) => entry.if_range ?? null), [null, '"one"', '"one"', '"one"']);
  // Each resumes at the end of the one before. The last bytes before a break may be lost on the way through the browser.
  const [first, second, third, fourth] = asked.map(from);
  assert.equal(first, 0);
  assert.ok(second > 1_000_000 && second <= 2_500_000, String(second));
  assert.ok(third >= second && third <= second + 1_000_000, String(third));
  assert.ok(fourth > third && fourth <= third + 500_000, String(fourth));
});

// C03, C04, C09
test("after a reload, what was left is found and resumed", async () => {
  const url = await serve([STALL]);
  const page = await open();
  await startAndStall(page, url);
  await reload(page);
  const got = await page.evaluate(async () => {
    const engine = new regrip.Engine();
    const left = await engine.list();
    const downloads = await engine.resumeUnfinished();
    const events = [];
    for await (const { event } of downloads[0]) if (event !== "progress") events.push(event);
    return { left, count: downloads.length, summary: await downloads[0].done, events, after: await engine.list(), there: await sha256Of("big.iso"), names: await names() };
  });
  assert.deepEqual([got.left.length, got.left[0].status, got.left[0].path, got.left[0].url], [1, "downloading", "big.iso", url]);
  assert.equal(got.count, 1);
  assert.equal(got.summary.attempts, 2);
  assert.deepEqual(got.events.at(-1), "completed");
  assert.deepEqual([got.after, got.names], [[], ["big.iso"]]);
  assert.equal(got.there, sha256(world.one));
  // Nothing was flushed yet, but within one boot of the machine all that was written counts.
  const asked = await world.faultd.gets("/film");
  assert.ok(from(asked[1]) > 500_000, asked[1].range);
  assert.equal(asked[1].if_range, '"one"');
});

// K06
test("after an abort, calling again goes on from the bytes that are kept", async () => {
  const url = await serve([STALL]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const stop = new AbortController();
    const onEvent = ({ bytes }) => bytes > 1_000_000 && stop.abort(new DOMException("enough", "AbortError"));
    const stopped = await failure(regrip.download(url, "big.iso", { signal: stop.signal, onEvent }));
    const names1 = await names();
    const [listed] = await new regrip.Engine().list();
    const summary = await regrip.download(url, "big.iso");
    return { stopped, names1, listed, summary, there: await sha256Of("big.iso") };
  }, url);
  const { name, code, cause, bytes } = got.stopped;
  assert.deepEqual({ name, code, cause }, { name: "AbortError", code: "cancelled", cause: "AbortError" });
  assert.ok(bytes > 1_000_000);
  assert.deepEqual(got.names1, ["big.iso.part"]);
  assert.equal(got.listed.status, "cancelled");
  assert.equal(got.there, sha256(world.one));
  const second = (await world.faultd.gets("/film"))[1];
  assert.equal(from(second), bytes);
  assert.equal(second.if_range, '"one"');
});

// H15
test("a file that was replaced while the page was away starts over, and is never spliced", async () => {
  const url = await serve([STALL, [{ replace: { version: 1 } }]], [ONE, TWO]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const stop = new AbortController();
    await failure(regrip.download(url, "big.iso", { signal: stop.signal, onEvent: ({ bytes }) => bytes > 1_000_000 && stop.abort() }));
    const { events, options } = listening();
    const summary = await regrip.download(url, "big.iso", options);
    return { summary, reasons: events.filter(({ event }) => event === "restart").map(({ reason }) => reason), there: await sha256Of("big.iso") };
  }, url);
  assert.deepEqual(got.reasons, ["validator_changed"]);
  assert.equal(got.summary.restarts, 1);
  assert.equal(got.there, sha256(world.two));
});

// D08, H16
test("where no ETag vouches, the end of what is there is compared first", async () => {
  const bare = ({ seed, size }) => ({ seed, size });
  const page = await open();
  const fetched = (url) =>
    page.evaluate(async (url) => {
      const { events, options } = listening();
      const summary = await regrip.download(url, "big.iso", options);
      return { summary, events: events.map(({ event, reason }) => reason ?? event), there: await sha256Of("big.iso") };
    }, url);

  const same = await fetched(await serve([CUT], [bare(ONE)]));
  assert.equal(same.there, sha256(world.one));
  assertOverlap(await world.faultd.gets("/film"));

  const other = await fetched(await serve([CUT, [{ replace: { version: 1 } }]], [bare(ONE), bare(TWO)]));
  assert.equal(other.there, sha256(world.two));
  assert.ok(other.events.includes("overlap_mismatch"));
});

test("a file with another digest than the one asked for is not delivered", async () => {
  const url = await serve();
  const page = await open();
  const got = await page.evaluate(async ([url, wrong]) => [await failure(regrip.download(url, "big.iso", { sha256: wrong })), await names()], [url, sha256(world.two)]);
  assert.equal(got[0].code, "DigestMismatch");
  assert.ok(!got[1].includes("big.iso"));
});

// C05, C06, C07
test("a page that is closed while it gives the file its name ends it the next time, without a request", async () => {
  const url = await serve();
  const page = await open();
  await page.evaluate((url) => {
    // The record of what is completed is never removed: as if the page had been closed just before.
    const ledger = new regrip.IndexedDbLedger();
    ledger.remove = () => new Promise(() => {});
    regrip.download(url, "big.iso", { ledger });
  }, url);
  await until(() => page.evaluate(async () => (await names()).join() === "big.iso"));
  await reload(page);
  const got = await page.evaluate(async () => {
    const [download] = await new regrip.Engine().resumeUnfinished();
    return { summary: await download.done, there: await sha256Of("big.iso"), left: await new regrip.Engine().list() };
  });
  assert.equal(got.summary.bytes, SIZE);
  assert.equal(got.there, sha256(world.one));
  assert.deepEqual(got.left, []);
  assert.equal((await world.faultd.gets("/film")).length, 1);
});

// D10
test("an existing file is replaced as a whole, kept, or given a sibling", async () => {
  const url = await serve();
  const page = await open();
  const got = await page.evaluate(async (url) => {
    await regrip.download(url, "big.iso");
    const refused = await failure(regrip.download(url, "big.iso", { onExists: "fail" }));
    const sibling = await regrip.download(url, "big.iso", { onExists: "rename" });
    await regrip.download(url, "big.iso");
    await regrip.removeFile("big.iso");
    return { refused: refused.code, sibling: sibling.path, names: await names() };
  }, url);
  assert.deepEqual(got, { refused: "DestinationExists", sibling: "big.1.iso", names: ["big.1.iso"] });
});

test("a download that is called off and removed leaves nothing", async () => {
  const url = await serve([STALL]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const engine = new regrip.Engine();
    let moving;
    const moves = new Promise((moved) => (moving = moved));
    engine.start({ url, to: "big.iso", onEvent: ({ bytes }) => bytes > 1_000_000 && moving() });
    await moves;
    const [{ id }] = await engine.list();
    const early = await failure(engine.remove(id));
    await engine.cancel(id);
    const before = await names();
    await engine.remove(id);
    return { early: early.code, before, after: await names(), left: await engine.list() };
  }, url);
  assert.deepEqual(got, { early: "WrongState", before: ["big.iso.part"], after: [], left: [] });
});

test("saveAs hands the finished file to the person", async () => {
  const url = await serve();
  const page = await open();
  await page.evaluate((url) => regrip.download(url, "films/big.iso"), url);
  const [given] = await Promise.all([page.waitForEvent("download"), page.evaluate(() => regrip.saveAs("films/big.iso", { picker: false }))]);
  assert.equal(given.suggestedFilename(), "big.iso");
  assert.equal(sha256(await readFile(await given.path())), sha256(world.one));

  // The picker needs a person: a private file stands in for the one that they would choose.
  const picked = await page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    globalThis.showSaveFilePicker = ({ suggestedName }) => root.getFileHandle(`chosen ${suggestedName}`, { create: true });
    const saved = await regrip.saveAs("films/big.iso", { suggestedName: "other.iso" });
    globalThis.showSaveFilePicker = () => Promise.reject(new DOMException("no", "AbortError"));
    return [saved, await regrip.saveAs("films/big.iso"), await sha256Of("chosen other.iso")];
  });
  assert.deepEqual(picked, [true, false, sha256(world.one)]);
});

test("the first three downloads run, with a signal or without, and the fourth waits for a permit", async () => {
  await serve();
  const files = Object.fromEntries(["/a", "/b", "/c", "/d"].map((path) => [path, { versions: [ONE], answers: [STALL] }]));
  await world.faultd.play({ files });
  const page = await open();
  await page.evaluate((origin) => {
    globalThis.engine = new regrip.Engine({ maxConcurrentDownloads: 3 });
    globalThis.stop = new AbortController();
    globalThis.all = ["a", "b", "c", "d"].map((name) => engine.start({ url: `${origin}/${name}`, to: name, signal: name === "a" ? stop.signal : undefined }));
    for (const { done } of all) done.catch(() => {});
  }, world.faultd.origin);
  // The server may see them in any order; but the fourth has to wait.
  const asked = async () => (await world.faultd.log()).map(({ path }) => path).filter((path) => path in files).sort().join();
  await until(async () => (await asked()) === "/a,/b,/c");
  await page.evaluate(() => stop.abort());
  await until(async () => (await asked()) === "/a,/b,/c,/d");
});
