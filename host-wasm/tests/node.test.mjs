// The built package in Node, against the fault server.
import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { Engine } from "../pkg/node.js";
import { Faultd, sha256, startFaultd } from "./faultd.mjs";

const SIZE = 6_000_000;
const ONE = { seed: 1, size: SIZE, etag: '"one"' };
const TWO = { seed: 2, size: SIZE, etag: '"two"' };
const SHORTER = { seed: 3, size: 1_000_000, etag: '"shorter"' };
const bare = ({ seed, size }) => ({ seed, size });
const CONFIG = { retryBaseDelayMs: 1, retryMaxDelayMs: 5 };

let server, faultd, folder;
/** What the server serves, fetched without the package. */
let one, two, shorter;

before(async () => {
  server = await startFaultd();
  faultd = new Faultd(server.origin);
  await faultd.play({ files: { "/1": { versions: [ONE] }, "/2": { versions: [TWO] }, "/3": { versions: [SHORTER] } } });
  const bytes = async (path) => new Uint8Array(await (await fetch(faultd.url(path))).arrayBuffer());
  [one, two, shorter] = await Promise.all(["/1", "/2", "/3"].map(bytes));
});
after(() => server.stop());
beforeEach(async (context) => {
  folder = await mkdtemp(join(tmpdir(), "regrip-"));
  context.after?.(() => rm(folder, { recursive: true }));
});

/** An engine, a place for the file, and a list of what is told but for the progress. */
function setUp(config = {}) {
  const path = join(folder, "film.mkv");
  const events = [];
  const onEvent = (event) => event.event !== "progress" && events.push(event);
  return { engine: new Engine({ ...CONFIG, ...config }), path, events, onEvent };
}

/** Compares by digest: nobody wants to read six million bytes that differ. */
async function assertFile(path, bytes) {
  assert.equal(sha256(await readFile(path)), sha256(bytes));
}

/** A sink in memory that notes what it is asked. */
class MemorySink {
  calls = [];
  bytes = new Uint8Array(0);
  size = () => this.bytes.length;
  write(chunk, at) {
    assert.equal(at, this.bytes.length);
    this.bytes = Buffer.concat([this.bytes, chunk]);
  }
  read = (at, length) => this.bytes.subarray(at, at + length);
  truncate = (size) => (this.bytes = this.bytes.subarray(0, size));
  flush = () => this.calls.push("flush");
  commit = (replace) => this.calls.push(`commit ${replace}`);
  close = () => this.calls.push("close");
}

async function until(condition) {
  for (let turn = 0; turn < 500; turn++) {
    if (await condition()) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  assert.fail(`not so within 5 s: ${condition}`);
}

const told = (events, name) => events.filter(({ event }) => event === name);
const from = ({ range }) => Number(/^bytes=(\d+)-$/.exec(range)[1]);

test("a download that is cut in the middle goes on where it was, with If-Range", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE], answers: [[{ cut: { after: 2_000_000 } }]] } } });
  const { engine, path, events, onEvent } = setUp();

  const summary = await engine.download(faultd.url("/film"), path, { onEvent });

  await assertFile(path, one);
  assert.deepEqual(await readdir(folder), ["film.mkv"]);
  const [first, second, ...more] = await faultd.gets("/film");
  assert.equal(more.length, 0);
  assert.equal(first.range, "bytes=0-");
  assert.ok(from(second) > 0 && from(second) <= 2_000_000, second.range);
  assert.equal(second.if_range, '"one"');
  assert.equal(second.sent_bytes, SIZE - from(second));
  assert.deepEqual(
    events.map(({ event }) => event),
    ["queued", "started", "headers", "retrying", "started", "headers", "completed"],
  );
  assert.equal(told(events, "started")[1].from, from(second));
  assert.deepEqual([summary.bytes, summary.attempts, summary.restarts], [SIZE, 2, 0]);
});

test("a download that was called off goes on at the next call", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE], answers: [[{ stall: { after: 2_000_000 } }]] } } });
  const { engine, path, events, onEvent } = setUp();
  const stop = new AbortController();
  const stopAtProgress = ({ event }) => event === "progress" && stop.abort();

  const first = engine.download(faultd.url("/film"), path, { signal: stop.signal, onEvent: stopAtProgress });
  await assert.rejects(first, { name: "AbortError", code: "cancelled" });
  assert.deepEqual(await readdir(folder), ["film.mkv.part", "film.mkv.part.json"]);
  const kept = (await readFile(`${path}.part`)).length;
  assert.ok(kept > 0 && kept <= 2_000_000, `${kept} bytes were kept`);
  await until(async () => (await faultd.gets("/film"))[0].peer_closed);

  const summary = await engine.download(faultd.url("/film"), path, { onEvent });
  await assertFile(path, one);
  const second = (await faultd.gets("/film"))[1];
  assert.equal(from(second), kept);
  assert.equal(second.if_range, '"one"');
  assert.deepEqual([summary.attempts, summary.restarts], [2, 0]);
  assert.equal(told(events, "started")[0].attempt, 2);
});

test("a file that is replaced in the middle starts over by its ETag", async () => {
  const answers = [[{ cut: { after: 2_000_000 } }], [{ replace: { version: 1 } }]];
  await faultd.play({ files: { "/film": { versions: [ONE, SHORTER], answers } } });
  const { engine, path, events, onEvent } = setUp();

  const summary = await engine.download(faultd.url("/film"), path, { onEvent });

  await assertFile(path, shorter);
  assert.equal(summary.restarts, 1);
  const [restart] = told(events, "restart");
  assert.equal(restart.reason, "validator_changed");
  assert.ok(restart.discardedBytes > 0 && restart.discardedBytes <= 2_000_000);
});

const REPLACED_UNSEEN = {
  versions: [bare(ONE), bare(TWO)],
  answers: [[{ cut: { after: 2_000_000 } }], [{ replace: { version: 1 } }]],
};

test("a file that is replaced in the middle without any validator starts over by its bytes", async () => {
  await faultd.play({ files: { "/film": REPLACED_UNSEEN } });
  const { engine, path, events, onEvent } = setUp();

  await engine.download(faultd.url("/film"), path, { onEvent });

  await assertFile(path, two);
  assert.deepEqual(told(events, "restart").map(({ reason }) => reason), ["overlap_mismatch"]);
  const [, second, third] = await faultd.gets("/film");
  assert.equal(second.if_range, null);
  assert.equal(third.range, "bytes=0-");
});

test("with the comparison turned off nothing is appended without a strong ETag", async () => {
  await faultd.play({ files: { "/film": REPLACED_UNSEEN } });
  const { engine, path, events, onEvent } = setUp({ resumeOverlapBytes: 0 });

  await engine.download(faultd.url("/film"), path, { onEvent });

  await assertFile(path, two);
  assert.deepEqual(told(events, "restart").map(({ reason }) => reason), ["overlap_mismatch"]);
  assert.deepEqual((await faultd.gets("/film")).map(({ range }) => range), ["bytes=0-", "bytes=0-"]);
});

// FW02
test("a server that refuses ranges is asked for the whole file, which is compared", async () => {
  const answers = [[{ ignore_range: {} }, { cut: { after: 2_000_000 } }], [{ status: { code: 403 } }], [{ cut: { after: 3_000_000 } }]];
  await faultd.play({ files: { "/film": { versions: [ONE], answers } } });
  const { engine, path, events, onEvent } = setUp();

  await engine.download(faultd.url("/film"), path, { onEvent });

  await assertFile(path, one);
  assert.deepEqual(told(events, "restart"), []);
  const asked = await faultd.gets("/film");
  assert.ok(from(asked[1]) > 0);
  assert.deepEqual(asked.map(({ range }, index) => index === 1 || range), ["bytes=0-", true, null, null]);
});

test("without any validator an unchanged file goes on after its tail was compared", async () => {
  const answers = [[{ cut: { after: 2_000_000 } }]];
  await faultd.play({ files: { "/film": { versions: [bare(ONE)], answers } } });
  const { engine, path, events, onEvent } = setUp();

  await engine.download(faultd.url("/film"), path, { onEvent });

  await assertFile(path, one);
  assert.equal(told(events, "restart").length, 0);
  assert.equal(from((await faultd.gets("/film"))[1]), told(events, "started")[1].from - 65_536);
});

// D07
test("a part that nobody knows is left alone, unless it is to be adopted", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE] } } });
  const { engine, path } = setUp();
  await writeFile(`${path}.part`, one.subarray(0, 1_000_000));

  const first = engine.download(faultd.url("/film"), path);
  await assert.rejects(first, { code: "ForeignPart", class: "permanent", message: /film\.mkv\.part/ });
  assert.equal((await readFile(`${path}.part`)).length, 1_000_000);

  await engine.download(faultd.url("/film"), path, { adoptPart: true });
  await assertFile(path, one);
  assert.equal(from((await faultd.gets("/film"))[0]), 1_000_000 - 65_536);
});

test("a file that has the name already is kept where it must not be replaced, and nothing is asked for", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE] } } });
  const { engine, path } = setUp({ onExists: "fail" });
  await writeFile(path, "here first");

  const failing = engine.download(faultd.url("/film"), path);

  await assert.rejects(failing, { code: "DestinationExists", class: "permanent" });
  assert.equal(await readFile(path, "utf8"), "here first");
  assert.deepEqual(await readdir(folder), ["film.mkv"]);
  assert.equal((await faultd.gets("/film")).length, 0);
});

test("a file that has the name already is replaced otherwise", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE] } } });
  const { engine, path } = setUp();
  await writeFile(path, "here first");

  await engine.download(faultd.url("/film"), path);

  await assertFile(path, one);
});

test("an error status that means no is final", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE], then: [{ status: { code: 404 } }] } } });
  const { engine, path } = setUp();

  const failing = engine.download(faultd.url("/film"), path);

  await assert.rejects(failing, { name: "RegripError", code: "Status", status: 404, class: "permanent" });
  assert.equal((await faultd.gets("/film")).length, 1);
});

test("a server that is not there is tried as often as allowed", async () => {
  const { engine, path, events, onEvent } = setUp({ maxDownloadAttempts: 3 });
  const gone = await startFaultd();
  await gone.stop();

  const failing = engine.download(`${gone.origin}/film`, path, { onEvent });

  await assert.rejects(failing, { code: "Network", class: "transient", message: /ECONNREFUSED/ });
  assert.equal(told(events, "started").length, 3);
});

test("a stall ends the attempt after the idle timeout", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE], answers: [[{ stall: { after: 2_000_000 } }]] } } });
  const { engine, path, events, onEvent } = setUp({ idleTimeoutMs: 200 });

  await engine.download(faultd.url("/film"), path, { onEvent });

  await assertFile(path, one);
  assert.match(told(events, "retrying")[0].error, /no data received for 0\.2 s/);
});

test("a server that takes the request and says nothing is waited for no longer than allowed", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE], answers: [[{ no_reply: {} }]] } } });
  const { engine, path, events, onEvent } = setUp({ connectTimeoutMs: 100, headersTimeoutMs: 100 });

  await engine.download(faultd.url("/film"), path, { onEvent });

  await assertFile(path, one);
  assert.match(told(events, "retrying")[0].error, /no response within 0\.2 s/);
});

test("a server that asks for a wait gets it, within the limit", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE], answers: [[{ status: { code: 503, retry_after: "7" } }]] } } });
  const { engine, path, events, onEvent } = setUp({ retryMaxDelayMs: 100 });

  await engine.download(faultd.url("/film"), path, { onEvent });

  const [retrying] = told(events, "retrying");
  assert.deepEqual([retrying.askedBy, retrying.delayMs, retrying.class], ["retry_after", 100, "transient"]);
  const waited = told(events, "started")[1].at - retrying.at;
  // The wall clock counts whole milliseconds, the timer does not.
  assert.ok(waited >= 99, `${waited} ms`);
});

// X08, H20
test("a coded body is refused: its bytes are not the file's", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE], then: [{ coding: { name: "gzip" } }] } } });
  const { engine, path } = setUp();

  await assert.rejects(engine.download(faultd.url("/film"), path), { code: "Coded" });

  assert.deepEqual(await readdir(folder), []);
});

test("a certificate that does not hold is final", async () => {
  const tls = await startFaultd("--tls", "self-signed");
  try {
    const { engine, path } = setUp();
    const failing = engine.download(`${tls.origin}/random/1000`, path);
    await assert.rejects(failing, { code: "Certificate", class: "permanent" });
  } finally {
    await tls.stop();
  }
});

test("an empty file is a file", async () => {
  await faultd.play({ files: { "/empty": { versions: [{ seed: 1, size: 0, etag: '"none"' }] } } });
  const { engine, path } = setUp();

  await engine.download(faultd.url("/empty"), path);

  assert.equal((await readFile(path)).length, 0);
});

test("no more downloads move at once than allowed", async () => {
  const slow = { versions: [ONE], then: [{ pause: { after: 1_000_000, ms: 50 } }] };
  await faultd.play({ files: { "/a": slow, "/b": slow, "/c": slow } });
  const engine = new Engine({ maxConcurrentDownloads: 1 });
  let moving = 0;
  let most = 0;
  const onEvent = ({ event }) => {
    if (event === "headers") most = Math.max(most, ++moving);
    if (event === "completed") moving--;
  };

  const names = ["a", "b", "c"];
  const all = names.map((name) => engine.download(faultd.url(`/${name}`), join(folder, name), { onEvent }));
  await Promise.all(all);

  assert.equal(most, 1);
});

test("a listener that throws does not end a download", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE] } } });
  const { engine, path } = setUp();
  const onEvent = () => {
    throw new Error("from the listener");
  };

  await engine.download(faultd.url("/film"), path, { onEvent });

  await assertFile(path, one);
});

test("a sink of one's own is called once at a time, also when a download is called off", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE] } } });
  const { engine } = setUp();
  const stop = new AbortController();
  let [inside, most, bytes] = [0, 0, 0];
  const slowly = async (act) => {
    most = Math.max(most, ++inside);
    await new Promise((done) => setTimeout(done, 5));
    inside--;
    return act();
  };
  const sink = {
    size: () => slowly(() => bytes),
    write: (chunk, at) => {
      assert.equal(at, bytes);
      if (bytes > 0) stop.abort();
      return slowly(() => (bytes += chunk.length));
    },
    flush: () => slowly(() => {}),
  };

  const stopped = engine.download(faultd.url("/film"), sink, { signal: stop.signal });

  await assert.rejects(stopped, { name: "AbortError" });
  assert.equal(most, 1);
  assert.ok(bytes > 0 && bytes < SIZE);
});

test("the bytes are flushed, then committed, then the sink is closed", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE] } } });
  const { engine } = setUp();
  const sink = new MemorySink();

  await engine.download(faultd.url("/film"), sink);

  assert.ok(sink.bytes.equals(one));
  assert.deepEqual(sink.calls.slice(-3), ["flush", "commit true", "close"]);
});

test("a sink that fails is closed, and the next one of its name takes over", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE] } } });
  const { engine } = setUp();
  const [broken, sound] = [new MemorySink(), new MemorySink()];
  broken.name = sound.name = "film";
  broken.write = () => {
    throw new Error("broken");
  };

  const failing = engine.download(faultd.url("/film"), broken);
  await assert.rejects(failing, { code: "Disk", message: "cannot write film: broken" });
  assert.deepEqual(broken.calls.filter((call) => call !== "flush"), ["close"]);

  await engine.download(faultd.url("/film"), sound);
  assert.ok(sound.bytes.equals(one));
});

// L08, K05
test("the same download asked for twice is one, and another one for its sink is refused", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE] }, "/other": { versions: [TWO] } } });
  const { engine } = setUp();
  const sink = new MemorySink();

  const both = [engine.start({ url: faultd.url("/film"), to: sink }), engine.start({ url: faultd.url("/film"), to: sink })];
  await assert.rejects(engine.download(faultd.url("/other"), sink), { code: "DestinationBusy", class: "permanent" });

  const [summary, other] = await Promise.all(both.map(({ done }) => done));
  assert.deepEqual(summary, other);
  assert.ok(sink.bytes.equals(one));
  assert.equal((await faultd.gets("/film")).length, 1);
});

// D01
test("a full disk is final, and says so", async () => {
  await faultd.play({ files: { "/film": { versions: [ONE] } } });
  const { engine } = setUp();
  const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  const sink = {
    size: () => 0,
    write: () => Promise.reject(full),
    flush: () => {},
  };

  const failing = engine.download(faultd.url("/film"), sink);

  await assert.rejects(failing, { code: "DiskFull", class: "permanent", message: /no space left on device/ });
});

test("a number that is invalid or out of range is refused", () => {
  for (const maxDownloadAttempts of [0, -1, 1.5, NaN, "3"]) {
    assert.throws(() => new Engine({ maxDownloadAttempts }), RangeError, String(maxDownloadAttempts));
  }
  assert.throws(() => new Engine({ maxDownloadAttempts: 0 }), /maxDownloadAttempts is 0, expected a whole number from 1/);
});
