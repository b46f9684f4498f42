// The scenarios of `tests/scenarios` as tests of the built package, on a host: Node or Chromium. `different.json` has what a
// host does otherwise; the README of the package has the same list for its users.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { createServer } from "node:net";
import { test } from "node:test";
import { Faultd } from "../faultd.mjs";
import { PATH, fingerprint, judge } from "./judge.mjs";

const FOLDER = new URL("../../../tests/scenarios/", import.meta.url);

const SCENARIOS = [];
for (const file of (await readdir(FOLDER)).filter((name) => name.endsWith(".json")).sort()) {
  SCENARIOS.push(...JSON.parse(await readFile(new URL(file, FOLDER), "utf8")));
}

/** What each host does otherwise: `names` are parts of a scenario's name. It runs as changed, or not at all. */
const DIFFERENT = JSON.parse(await readFile(new URL("different.json", import.meta.url), "utf8"));

/**
 * Defines a test for each scenario. `host` has a `name`, `held` if its server waits before a break until the client has read
 * what is before, and `open(scenario)`: a place for one file, with `servers` (the origins `here`, `elsewhere` and `expired`),
 * `put(suffix, bytes | { odd })`, `drive(scenario, source)`, `content(suffix)` as a fingerprint, `record()`, `leftovers()`
 * and `close()`.
 */
export function defineTests(host) {
  test("each name in different.json is that of a scenario", () => {
    for (const { id, names } of DIFFERENT) {
      for (const part of names) assert.ok(SCENARIOS.some((one) => one.name.includes(part) && (!id || one.id === id)), part);
    }
  });
  for (const scenario of SCENARIOS) defineTest(host, scenario);
}

function defineTest(host, scenario) {
  const { id, name, hosts, before } = scenario;
  const is = (one) => one.names.some((part) => name.includes(part)) && (!one.id || one.id === id) && (!one.hosts || one.hosts.includes(host.name));
  const different = DIFFERENT.find(is);
  const skip =
    different?.skip ??
    ((scenario.download?.mirrors || (hosts && !hosts.includes("native"))) && scenario.because) ??
    (before?.room !== undefined && "no disk of that size is made here");
  const changed = { ...scenario, config: { ...scenario.config, ...different?.config }, expect: { ...scenario.expect, ...different?.expect } };
  for (const field of different?.without ?? []) delete changed.expect[field];
  if (different?.plain) changed.peer = plain(scenario);
  if (different?.coding) changed.peer = coded(scenario, different.coding);
  test(`${id} ${name}`, { skip: skip || false, timeout: 120_000 }, () => run(host, host.held ? held(changed) : changed));
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

/** The peer, but with another name of the coding. */
function coded({ peer }, name) {
  return JSON.parse(JSON.stringify(peer), (key, value) => (key === "coding" ? { name } : value));
}

/** The same with a server that waits before it breaks a body, until the client has read what is before. */
function held(scenario) {
  const answer = (faults) => faults.flatMap((fault) => [fault, ...pauses(fault)]);
  const file = ({ answers = [], then = [], ...rest }) => ({ ...rest, answers: answers.map(answer), then: answer(then) });
  const files = (some = {}) => Object.fromEntries(Object.entries(some).map(([path, one]) => [path, file(one)]));
  return { ...scenario, peer: file(scenario.peer), more: files(scenario.more), elsewhere: files(scenario.elsewhere) };
}

function pauses({ cut, bad_chunk }) {
  const after = (cut ?? bad_chunk)?.after;
  return after > 0 ? [{ pause: { after, ms: 60_000 } }] : [];
}

async function run(host, scenario) {
  const place = await host.open(scenario);
  try {
    const source = await prepare(scenario, place);
    const outcome = await place.drive(scenario, source);
    await judge(scenario, { ...source, place }, outcome);
  } finally {
    await place.close();
  }
}

async function prepare(scenario, place) {
  const { servers } = place;
  const secure = scenario.address === "expired_certificate";
  const peer = new Faultd(secure ? servers.expired : servers.here);
  const elsewhere = new Faultd(servers.elsewhere);
  const named = (files, mark, origin) => JSON.parse(JSON.stringify(files).replaceAll(mark, origin));
  const versions = [];
  for (const version of secure ? [] : scenario.peer.versions) versions.push(await bytesOf(peer, version));
  const files = named({ [PATH]: scenario.peer, ...scenario.more }, "{elsewhere}", elsewhere.origin);
  await elsewhere.play({ files: named(scenario.elsewhere ?? {}, "{origin}", peer.origin) });

  /** Puts something on the disk; a version may have more bytes there than its file. */
  const put = async (suffix, there) => {
    if (there === undefined) return;
    if (there.odd) return place.put(suffix, there);
    if (typeof there === "string") return place.put(suffix, Buffer.from(there));
    const bytes = await bytesOf(peer, { ...scenario.peer.versions[there.version], size: there.length });
    if (there.flip_at !== undefined) bytes[there.flip_at] ^= 0xff;
    await place.put(suffix, bytes);
  };
  await put("", scenario.before?.destination);
  await put(".part", scenario.before?.part);
  if (!secure) await peer.play({ files });

  const addresses = { refused: () => closedPort(), unknown_name: () => "http://no-such-host.invalid" };
  const origin = (await addresses[scenario.address]?.()) ?? peer.origin;
  const written = (digest) => (typeof digest === "string" ? digest : `${digest.algorithm}:${createHash(digest.algorithm).update(versions[digest.version]).digest("hex")}`);
  const { digests = [], later = [] } = scenario.download ?? {};
  const before = typeof scenario.before?.destination === "string" ? fingerprint(Buffer.from(scenario.before.destination)) : undefined;
  return { peer, elsewhere, versions, before, secure, url: origin + PATH, digests: digests.map(written), later: later.map(written) };
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
