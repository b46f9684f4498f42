// Other sinks, and the errors if there is none.
import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256 } from "../faultd.mjs";
import { ONE, SIZE, TWO, from, serve, world } from "../world.mjs";
import { CUT, CUT_AT, INSECURE, STALL, assertOverlap, assertResumed, browser, open, prepareBrowser, reload } from "./browser.mjs";

prepareBrowser();

const bare = ({ seed, size }) => ({ seed, size });

test("without synchronous handles a private file is written by createWritable", async () => {
  const url = await serve([CUT]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const { options } = listening({ sha256: true });
    const summary = await regrip.download(url, new regrip.OpfsSink("big.iso", { worker: false }), options);
    return { summary, there: await sha256Of("big.iso"), names: await names() };
  }, url);
  assert.equal(got.there, sha256(world.one));
  assert.equal(got.summary.attempts, 2);
  assert.deepEqual(got.names, ["big.iso"]);
  assertResumed(await world.faultd.gets("/film"));
});

test("what createWritable was given is kept by an abort, and resumed after a reload", async () => {
  const url = await serve([STALL]);
  const page = await open();
  const kept = await page.evaluate(async (url) => {
    const stop = new AbortController();
    const onEvent = ({ bytes }) => bytes > 1_000_000 && stop.abort();
    const { bytes } = await failure(regrip.download(url, new regrip.OpfsSink("big.iso", { worker: false }), { signal: stop.signal, onEvent }));
    return bytes;
  }, url);
  await reload(page);
  const there = await page.evaluate(async (url) => {
    await regrip.download(url, new regrip.OpfsSink("big.iso", { worker: false }));
    return sha256Of("big.iso");
  }, url);
  assert.equal(there, sha256(world.one));
  assert.deepEqual((await world.faultd.gets("/film")).map(from), [0, kept]);
});

test("where the worker cannot be started, createWritable takes its place", async () => {
  const url = await serve([CUT]);
  await browser.context.route("**/opfs-worker.js", (route) => route.abort());
  const page = await open();
  const there = await page.evaluate(async (url) => {
    const { options } = listening();
    await regrip.download(url, "big.iso", options);
    return sha256Of("big.iso");
  }, url);
  assert.equal(there, sha256(world.one));
});

test("in a worker of the page's own the package writes by itself", async () => {
  const url = await serve([CUT]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const worker = new Worker("/worker.js", { type: "module" });
    const answer = new Promise((resolve, reject) => Object.assign(worker, { onmessage: resolve, onerror: reject }));
    worker.postMessage([url, "big.iso"]);
    const { data } = await answer;
    return { summary: data, there: await sha256Of("big.iso") };
  }, url);
  assert.deepEqual([got.there, got.summary.sha256, got.summary.attempts], [sha256(world.one), sha256(world.one), 2]);
});

test("a file that the person chose shows its bytes when it is whole", async () => {
  const url = await serve([CUT]);
  const page = await open();
  // A private file stands in for one that only a person can choose: the handles are of one kind.
  const got = await page.evaluate(async (url) => {
    const handle = await (await navigator.storage.getDirectory()).getFileHandle("chosen", { create: true });
    const seen = [];
    const onEvent = async ({ event }) => event === "retrying" && seen.push((await handle.getFile()).size);
    const { options } = listening({ onEvent, sha256: true });
    const summary = await regrip.download(url, handle, options);
    return { summary, seen, there: await sha256(await handle.getFile()) };
  }, url);
  assert.deepEqual([got.there, got.summary.sha256, got.summary.attempts], [sha256(world.one), sha256(world.one), 2]);
  assert.equal(got.seen.length, 1);
});

for (const [what, version] of [
  ["the same bytes with another ETag", { ...ONE, etag: '"new"' }],
  ["another file", TWO],
]) {
  test(`a retry that finds ${what} completes by createWritable`, async () => {
    for (const chosen of [true, false]) {
      const url = await serve([CUT, [{ replace: { version: 1 } }]], [ONE, version]);
      const page = await open();
      const got = await page.evaluate(
        async ([url, chosen]) => {
          const handle = await (await navigator.storage.getDirectory()).getFileHandle("big.iso", { create: true });
          const to = chosen ? handle : new regrip.OpfsSink("big.iso", { worker: false });
          const { options, events } = listening();
          const { attempts, restarts } = await regrip.download(url, to, options);
          const reasons = events.filter(({ event }) => event === "restart").map(({ reason }) => reason);
          return { attempts, restarts, reasons, there: await sha256Of("big.iso") };
        },
        [url, chosen],
      );
      assert.deepEqual([got.there, got.attempts], [sha256(version === TWO ? world.two : world.one), 2]);
      // A chosen file has most of its bytes where they cannot be compared; a private one puts them into the file before the retry.
      assert.deepEqual(got.reasons, chosen || version === TWO ? ["validator_changed"] : []);
      await page.close();
    }
  });
}

test("a chosen file is resumed in the same page, by the same handle", async () => {
  const url = await serve([STALL]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const handle = await (await navigator.storage.getDirectory()).getFileHandle("chosen", { create: true });
    const engine = new regrip.Engine();
    const stop = new AbortController();
    const onEvent = ({ bytes }) => bytes > 1_000_000 && stop.abort();
    const { bytes } = await failure(engine.download(url, handle, { signal: stop.signal, onEvent }));
    await engine.download(url, handle);
    return { bytes, there: await sha256(await handle.getFile()) };
  }, url);
  assert.equal(got.there, sha256(world.one));
  assert.deepEqual((await world.faultd.gets("/film")).map(from), [0, got.bytes]);
});

// K05
test("a file that was chosen twice has one writer, and so has one that the page itself writes", async () => {
  const url = await serve([STALL]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const root = await navigator.storage.getDirectory();
    const chosen = () => root.getFileHandle("chosen", { create: true });
    const first = new regrip.Engine().start({ url, to: await chosen() });
    for await (const { event } of first) if (event === "progress") break;
    const second = await failure(regrip.download(url, await chosen()));
    first.cancel();
    await failure(first.done);
    const writable = await (await root.getFileHandle("own", { create: true })).createWritable({ mode: "exclusive" });
    const third = await failure(regrip.download(url, await root.getFileHandle("own")));
    await writable.abort();
    return [second, third].map(({ code, message }) => ({ code, message }));
  }, url);
  for (const { code, message } of got) {
    assert.equal(code, "PartLocked", message);
    assert.match(message, /being written by another process/);
  }
  assert.equal((await world.faultd.gets("/film")).length, 1);
});

test("a WritableStream takes the bytes in order, and is closed at the end", async () => {
  const url = await serve([CUT], [bare(ONE)]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const chunks = [];
    let closed = false;
    const stream = new WritableStream({ write: (chunk) => void chunks.push(chunk.slice()), close: () => void (closed = true) });
    const { options } = listening();
    const summary = await regrip.download(url, stream, options);
    return { closed, bytes: summary.bytes, there: await sha256(new Blob(chunks)) };
  }, url);
  assert.deepEqual(got, { closed: true, bytes: SIZE, there: sha256(world.one) });
  // Its last bytes were kept to be compared.
  assertOverlap(await world.faultd.gets("/film"));
});

test("a stream cannot start over: where the file was replaced it is aborted, and gets no byte of the other version", async () => {
  const url = await serve([CUT, [{ replace: { version: 1 } }]], [ONE, TWO]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    let bytes = 0;
    let reason;
    const stream = new WritableStream({ write: (chunk) => void (bytes += chunk.length), abort: (why) => void (reason = why.code) });
    const { options } = listening();
    const { code } = await failure(regrip.download(url, stream, options));
    return { code, bytes, reason };
  }, url);
  assert.deepEqual([got.code, got.reason], ["NotResumable", "NotResumable"]);
  assert.ok(got.bytes > 0 && got.bytes <= CUT_AT, String(got.bytes));
});

test("a Response of a service worker or page can be fed by a stream", async () => {
  const url = await serve([CUT]);
  const page = await open();
  const there = await page.evaluate(async (url) => {
    const { readable, writable } = new TransformStream();
    const { options } = listening();
    const [buffer] = await Promise.all([new Response(readable).arrayBuffer(), regrip.download(url, writable, options)]);
    return sha256(buffer);
  }, url);
  assert.equal(there, sha256(world.one));
});

test("bytes in memory can be read when they are all there", async () => {
  const url = await serve([CUT]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const sink = new regrip.MemorySink();
    const { options } = listening({ sha256: true });
    const summary = await regrip.download(url, sink, options);
    return [summary.sha256, await sha256(sink.bytes()), summary.attempts, await names()];
  }, url);
  assert.deepEqual(got, [sha256(world.one), sha256(world.one), 2, []]);
});

// D01
test("a full quota is DiskFull, keeps the bytes, and is resumed when there is room again", async () => {
  const url = await serve();
  const page = await open();
  const cdp = await browser.context.newCDPSession(page);
  const quota = (quotaSize) => cdp.send("Storage.overrideQuotaForOrigin", { origin: world.faultd.origin, quotaSize });
  await quota(4_000_000);
  const full = await page.evaluate(async (url) => {
    const { options } = listening();
    const told = await failure(regrip.download(url, "big.iso", options));
    return { ...told, kept: (await regrip.openFile("big.iso.part")).size };
  }, url);
  assert.deepEqual([full.code, full.class], ["DiskFull", "permanent"]);
  assert.ok(full.kept > 2_000_000 && full.kept < 4_000_000, String(full.kept));
  assert.match(full.advice, /make room/);
  await quota(undefined);
  const there = await page.evaluate(async (url) => {
    await regrip.download(url, "big.iso");
    return sha256Of("big.iso");
  }, url);
  assert.equal(there, sha256(world.one));
  assert.equal(from((await world.faultd.gets("/film")).at(-1)), full.kept);
});

test("the same by createWritable", async () => {
  const url = await serve();
  const page = await open();
  const cdp = await browser.context.newCDPSession(page);
  await cdp.send("Storage.overrideQuotaForOrigin", { origin: world.faultd.origin, quotaSize: 4_000_000 });
  const full = await page.evaluate(async (url) => {
    const { options } = listening();
    return failure(regrip.download(url, new regrip.OpfsSink("big.iso", { worker: false }), options));
  }, url);
  assert.deepEqual([full.code, full.class], ["DiskFull", "permanent"]);
});

test("where there is no private file system a page is told what to do, and memory serves", async () => {
  await serve();
  const origin = new URL(world.faultd.origin);
  origin.hostname = INSECURE;
  const page = await open(origin.origin);
  assert.equal(await page.evaluate(() => isSecureContext), false);
  const got = await page.evaluate(async (url) => {
    const { options } = listening({ sha256: true });
    const refused = await failure(regrip.download(url, "big.iso", options));
    const sink = new regrip.MemorySink();
    const { sha256 } = await regrip.download(url, sink, options);
    return { refused, sha256, bytes: sink.bytes().length };
  }, `${origin.origin}/film`);
  assert.deepEqual([got.refused.code, got.refused.class], ["Disk", "permanent"]);
  assert.match(got.refused.message, /no private file system.*MemorySink/);
  assert.deepEqual([got.sha256, got.bytes], [sha256(world.one), SIZE]);
});

test("a private window whose getDirectory refuses is told the same", async () => {
  const url = await serve();
  const page = await open();
  const refused = await page.evaluate(async (url) => {
    // As Firefox's private windows do it; by createWritable, for the worker has its own.
    StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException("Security error when calling GetDirectory", "SecurityError"));
    return failure(regrip.download(url, new regrip.OpfsSink("big.iso", { worker: false })));
  }, url);
  assert.equal(refused.code, "Disk");
  assert.match(refused.message, /no private file system.*MemorySink/);
});

test("a chosen file that has something in it keeps that until the new file is complete, and is resumed whatever the options", async () => {
  const url = await serve([STALL, [], [], STALL]);
  const page = await open();
  const got = await page.evaluate(async (url) => {
    const seen = [];
    for (const content of ["something else", ""]) {
      const handle = await (await navigator.storage.getDirectory()).getFileHandle("chosen", { create: true });
      const writable = await handle.createWritable();
      await writable.write(content);
      await writable.close();
      const stop = new AbortController();
      const onEvent = ({ bytes }) => bytes > 1_000_000 && stop.abort();
      const { bytes } = await failure(regrip.download(url, handle, { signal: stop.signal, onEvent }));
      const kept = (await handle.getFile()).size;
      const { restarts } = await regrip.download(url, handle, { maxDownloadAttempts: 8 });
      const there = await sha256(await handle.getFile());
      // Once it is complete it is replaced, too.
      if (content) await regrip.download(url, handle);
      seen.push({ bytes, kept, restarts, there, again: await sha256(await handle.getFile()) });
    }
    return seen;
  }, url);
  const whole = sha256(world.one);
  assert.deepEqual(got.map(({ there, again, restarts }) => [there, again, restarts]), [[whole, whole, 0], [whole, whole, 0]]);
  assert.deepEqual(got.map(({ kept }) => kept), ["something else".length, got[1].bytes]);
  assert.deepEqual((await world.faultd.gets("/film")).map(from), [0, got[0].bytes, 0, 0, got[1].bytes]);
});
