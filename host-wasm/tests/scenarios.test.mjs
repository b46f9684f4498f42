// The scenarios of `tests/scenarios`, which core and the native host run too, on the built package in Node: the same
// events in the same order, the same reasons, codes and classes. `tests/scenarios/README.md` describes the format.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { lstat, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Engine } from "../pkg/node.js";
import { Faultd, startFaultd } from "./faultd.mjs";

const FOLDER = new URL("../../tests/scenarios/", import.meta.url);
const PATH = "/file";

/**
 * What is otherwise in JavaScript, by id and a part of the name. The README of the package has the same list for its users.
 * A scenario in it runs as changed, or not at all.
 */
const DIFFERENT = [
  { name: "where that is not wanted, and the part stays", expect: { attempts: 0, part: null }, why: "as `regrip get` does, an existing file is refused before anything is asked" },
  { name: "at the destination is never replaced", expect: { attempts: 0, part: null, requests: [] }, why: "what no file can replace is refused before anything is asked" },
  { name: "a name that was free when it was chosen", skip: "a name is chosen by the package, and one that is taken then is not" },
  { name: "a 206 that was not asked for", skip: "`bytes=0-` asks for it" },
  { name: "a second misfit in one attempt", skip: "`bytes=0-` asks for a 206" },
  { name: "the longest base and cap overflow nothing", skip: "no number in JavaScript is so large; the core's own test has it" },
  { name: "a Content-Length that comes twice the same is one", expect: { end: "failed", code: "Protocol", file: undefined, part: null, size: undefined }, why: "Node's fetch refuses it" },
  { name: "is stored as sent", skip: "fetch undoes codings" },
  { name: "a part of the size that a transfer gave", skip: "an existing file is refused before anything is asked" },
  { name: "interim answers are skipped", skip: "Node's fetch takes a 100 that it did not ask for as a broken connection, and the next attempt goes on" },
  { name: "a head of more than 64 fields", skip: "fetch has its own limits" },
  { name: "a head of 250 KiB in 250 fields", skip: "Node's fetch takes heads up to 16 KiB" },
  { name: "a folded length is refused if another field", skip: "Node's fetch reads the fold as a part of the other field" },
  ...["control characters in an unused field", "a space before the colon", "a line that is no field", "lines may end with LF alone"].map((name) => ({ id: "FW07", name, skip: "Node's fetch refuses such a head" })),
  // A refused range is followed by a request without any. `fetch` undoes codings then, so that only a known size shows a whole file.
  { name: "a 416 beyond the end of a smaller file", expect: { requests: [{}, { range: "bytes=1000-", if_range: '"v1"' }, { range: null }, {}, { range: "bytes=1000-", if_range: '"v1"' }] }, why: "the whole without a range has another length than the known one: a range from the start shows the new one" },
  { name: "a 416 that names a larger file than an unknown one", plain: true },
  ...["a 416 that names a smaller file", "a 416 that names a larger file", "a 416 that names the part's size", "a 416 without a Content-Range"].map((name) => ({ name, expect: { requests: [{}, { range: "bytes=1000-", if_range: '"v1"' }, { range: null }] } })),
  { name: "a user who asks again allows as many restarts", skip: "a failed download without bytes has no record, so that the next call counts anew" },
  // The same with a server that answers `bytes=0-` with a 200: a 206 names the size, and these are about what does not.
  ...["a chunked body of unknown size", "an empty file is a file", "a chunked body is complete only by its last", "a body without a length is refused", "a body without a length is accepted", "above the limit on a resume", "a total of * fits", "a 416 at the part's end", "a part of unknown size is compared", "a part that is whole is the file only", "a body without a length that goes on", "a file larger than its release", "a chunked body longer than its release", "a chunked body shorter than its release", "a chunked body as long as its release", "that is cut beyond its release", "that is cut at its release", "that lacks its last chunk only", "whose digest matches needs no request", "a file smaller than its release", "a range of an unknown whole", "a release above the limit", "a whole file that the part has all of", "a 200 to a request for the whole", "a 200 that is a range"].map((name) => ({ name, plain: true })),
];

let servers;
before(async () => {
  const [here, elsewhere, expired] = await Promise.all([startFaultd(), startFaultd(), startFaultd("--tls", "expired")]);
  servers = { here, elsewhere, expired };
});
after(() => Promise.all(Object.values(servers).map((server) => server.stop())));

for (const file of (await readdir(FOLDER)).filter((name) => name.endsWith(".json")).sort()) {
  for (const scenario of JSON.parse(await readFile(new URL(file, FOLDER), "utf8"))) {
    const { id, name, hosts, before } = scenario;
    const different = DIFFERENT.find((one) => name.includes(one.name) && (!one.id || one.id === id));
    const skip =
      different?.skip ??
      ((scenario.download?.mirrors || (hosts && !hosts.includes("native"))) && scenario.because) ??
      (before?.room !== undefined && "no disk of that size is made here");
    const peer = different?.plain ? plain(scenario) : scenario.peer;
    test(`${id} ${name}`, { skip: skip || false }, () => run({ ...scenario, peer, expect: { ...scenario.expect, ...different?.expect } }));
  }
}

/** The peer, but where the whole is asked for it answers as if without a range. */
function plain({ peer, expect }) {
  const answers = [...(peer.answers ?? [])];
  for (const [index, { range }] of (expect.requests ?? [{}]).entries()) {
    if (range) continue;
    while (answers.length <= index) answers.push(peer.then ?? []);
    answers[index] = [{ ignore_range: {} }, ...answers[index]];
  }
  return { ...peer, answers };
}

async function run(scenario) {
  const world = await prepare(scenario);
  const { folder, restore } = world;
  try {
    const outcome = await drive(scenario, world);
    if (outcome) await judge(scenario, world, outcome);
  } finally {
    restore();
    await rm(folder, { recursive: true });
    if (scenario.cancel_at) await renewServer();
  }
}

/** A request that was cancelled may reach its server late, and would be taken for the first one of the next scenario. */
async function renewServer() {
  await servers.here.stop();
  servers.here = await startFaultd();
}

async function prepare(scenario) {
  const secure = scenario.address === "expired_certificate";
  const here = secure ? servers.expired : servers.here;
  const named = (files, mark, origin) => JSON.parse(JSON.stringify(files).replaceAll(mark, origin));
  const peer = new Faultd(here.origin);
  const elsewhere = new Faultd(servers.elsewhere.origin);
  const versions = [];
  for (const version of secure ? [] : scenario.peer.versions) versions.push(await bytesOf(peer, version));
  const files = named({ [PATH]: scenario.peer, ...scenario.more }, "{elsewhere}", elsewhere.origin);
  /** Puts something on the disk; a version may have more bytes there than its file. */
  const put = async (folder, path, there) => {
    if (there === undefined) return;
    if (typeof there === "string") return writeFile(path, there);
    const beside = join(folder, "beside");
    if (there.odd === "folder") return mkdir(path);
    if (there.odd) {
      if (there.odd === "link") await writeFile(beside, "elsewhere");
      return symlink(beside, path);
    }
    const bytes = await bytesOf(peer, { ...scenario.peer.versions[there.version], size: there.length });
    if (there.flip_at !== undefined) bytes[there.flip_at] ^= 0xff;
    await writeFile(path, bytes);
  };
  await elsewhere.play({ files: named(scenario.elsewhere ?? {}, "{origin}", peer.origin) });

  const folder = await mkdtemp(join(tmpdir(), "regrip-"));
  const path = join(folder, scenario.download?.name ?? "film.mkv");
  await put(folder, path, scenario.before?.destination);
  await put(folder, `${path}.part`, scenario.before?.part);
  if (!secure) await peer.play({ files });
  const clock = jumping(scenario.clock ?? []);
  const addresses = { refused: () => closedPort(), unknown_name: () => "http://no-such-host.invalid" };
  const origin = (await addresses[scenario.address]?.()) ?? peer.origin;
  return { peer, elsewhere, versions, folder, path, url: origin + PATH, secure, ...clock };
}

/** A version's bytes, fetched without the package. */
async function bytesOf(peer, { seed, size, edit }) {
  await peer.play({ files: { "/version": { versions: [{ seed, size, edit }] } } });
  return Buffer.from(await (await fetch(peer.url("/version"))).arrayBuffer());
}

async function closedPort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return `http://127.0.0.1:${port}`;
}

/** Our wall clock jumps just before a request is answered. */
function jumping(jumps) {
  const { now } = Date;
  let requests = 0;
  return {
    restore: () => (Date.now = now),
    fetch(...asked) {
      requests++;
      for (const { at_request, by } of jumps) {
        if (at_request !== requests) continue;
        const before = Date.now;
        Date.now = () => before() + by * 1000;
      }
      return fetch(...asked);
    },
  };
}

async function drive(scenario, world) {
  const { download = {}, cancel_at, calls = 1, expect } = scenario;
  const { connectionsPerDownload: connections, ...config } = scenario.config ?? {};
  const events = [];
  let engine;
  try {
    const options = { retryBaseDelayMs: 0, ...config, connections, fetch: world.fetch };
    if (download.on_exists) options.onExists = download.on_exists;
    engine = new Engine(options);
  } catch (error) {
    assert.ok(error instanceof RangeError && expect.end === "refused", error);
    assert.ok(error.message.startsWith(expect.key), error.message);
    return undefined;
  }
  assert.notEqual(expect.end, "refused");
  const written = (digest) => (typeof digest === "string" ? digest : `${digest.algorithm}:${createHash(digest.algorithm).update(world.versions[digest.version]).digest("hex")}`);
  const digests = (download.digests ?? []).map(written);
  let returned;
  for (let call = 1; call <= calls; call++) {
    const stop = new AbortController();
    const onEvent = (event) => {
      events.push(event);
      if (call === 1 && event.event === cancel_at) stop.abort();
    };
    const options = {
      onEvent,
      signal: stop.signal,
      adoptPart: download.adopt,
      headers: download.headers,
      expectedBytes: download.release_size,
      digest: call === 1 ? digests : [...digests, ...(download.later ?? []).map(written)],
    };
    const ended = engine.download(world.url, world.path, options);
    returned = await ended.then(
      () => undefined,
      (error) => error,
    );
  }
  return { events, returned };
}

async function judge(scenario, world, { events, returned }) {
  const { expect, calls = 1 } = scenario;
  const story = events.map(({ event }) => event);
  const told = (name) => events.filter(({ event }) => event === name);
  const context = `\n  the story: ${story.join(" ")}${returned ? `\n  ${returned.code}: ${returned.message}` : ""}`;
  const equal = (got, expected, what) => assert.deepEqual(got, expected, `${what}: ${JSON.stringify(got)}, expected ${JSON.stringify(expected)}${context}`);

  const refusedAtOnce = events.length === 0;
  const last = refusedAtOnce ? returned : events.at(-1);
  if (!refusedAtOnce) {
    equal(last.event, expect.end, "the end");
    equal(story.filter((name) => ["completed", "failed", "cancelled"].includes(name)).length, calls, "the last words");
  }
  equal(last.code, expect.code, "the code");
  equal(returned?.code, expect.code, "what the call rejected with");
  equal(last.class, expect.code && (expect.class ?? "permanent"), "the class");
  equal(last.attempts, expect.attempts ?? 0, "the attempts");
  equal(told("started").length, expect.attempts ?? 0, "the starts");
  const restarts = (expect.restarts ?? []).map(([reason, discarded], index) => {
    const got = told("restart")[index]?.discardedBytes;
    const [least, most] = Array.isArray(discarded) ? discarded : [discarded, discarded];
    return [reason, got >= least && got <= most ? got : discarded];
  });
  equal(told("restart").map(({ reason, discardedBytes }) => [reason, discardedBytes]), restarts, "the restarts");
  if (expect.events) equal(story.filter((name) => name !== "progress"), expect.events, "the events");
  if (expect.delays) {
    const waits = told("retrying").map(({ delayMs, askedBy }, index) => [expect.delays[index]?.[0] === null ? null : Math.floor(delayMs), askedBy]);
    equal(waits, expect.delays, "the waits");
  }
  if (expect.size) {
    const { expectedBytes = null, source = null, mismatch } = told("headers").at(-1);
    // The answer to `bytes=0-` names it in its Content-Range.
    const [bytes, expectedSource, expectedMismatch] = expect.size;
    const sources = expectedSource === "content_length" ? ["content_length", "content_range"] : [expectedSource];
    equal([expectedBytes, sources.includes(source), mismatch], [bytes, true, expectedMismatch], "the size");
  }

  const file = await content(world.path);
  const before = typeof scenario.before?.destination === "string" ? Buffer.from(scenario.before.destination) : undefined;
  equal(name(file, world.versions), name(expect.file === undefined ? before : world.versions[expect.file], world.versions), "the file");
  const part = await content(`${world.path}.part`);
  const ofOne = part === undefined || world.versions.some((bytes) => bytes.subarray(0, part.length).equals(part));
  if (expect.part === undefined) assert.ok(expect.file === undefined ? ofOne : part === undefined, `the part: ${name(part, world.versions)}${context}`);
  else if (expect.part === null) equal(part, undefined, "the part");
  else if (typeof expect.part === "string") equal(part.toString(), expect.part, "the part");
  else if (typeof expect.part === "number") equal([ofOne, part?.length], [true, expect.part], "the part");
  else equal(part?.length, expect.part.any, "the part");

  // The ledger says what the events say, and nothing else is left in the folder.
  const record = await readFile(`${world.path}.part.json`, "utf8").then(JSON.parse, () => undefined);
  if (expect.file !== undefined) equal(record, undefined, "the record");
  if (record) {
    equal([record.status, record.attempts, record.restarts], [last.event, last.attempts, last.restarts], "the record");
    if (part) equal(record.bytes, part.length, "the record's bytes");
  }
  const left = (await readdir(world.folder)).filter((name) => /lock|new/.test(name));
  equal(left, [], "what is left in the folder");

  if (expect.requests && !world.secure) await asked(world.peer, expect.requests, equal);
  await asked(world.elsewhere, expect.elsewhere ?? [], equal);
}

/** `fetch` always sends a range: `bytes=0-` where the native host sends none. */
async function asked(faultd, expected, equal) {
  const log = (await faultd.log()).filter(({ method }) => method === "GET");
  equal(
    log.map(({ target, range, if_range }) => [target, range, if_range]),
    expected.map(({ target = PATH, range = "bytes=0-", if_range = null }) => [target, range, if_range]),
    "the requests",
  );
  for (const [index, { headers = {} }] of expected.entries()) {
    for (const [name, value] of Object.entries(headers)) {
      const got = log[index].headers.find(([have]) => have.toLowerCase() === name.toLowerCase())?.[1] ?? null;
      equal(got, value, `${name} at ${log[index].target}`);
    }
  }
}

async function content(path) {
  const stats = await lstat(path).catch(() => undefined);
  return stats?.isFile() ? readFile(path) : undefined;
}

function name(bytes, versions) {
  if (bytes === undefined) return "nothing";
  const version = versions.findIndex((version) => version.subarray(0, bytes.length).equals(bytes));
  return version < 0 ? `${bytes.length} bytes of no version` : `the first ${bytes.length} bytes of version ${version}`;
}
