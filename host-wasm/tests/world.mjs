// What the tests of the built package share: a fault server, a folder, the bytes that are served.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import { Faultd, sha256, startFaultd } from "./faultd.mjs";

export const SIZE = 6_000_000;
export const ONE = { seed: 1, size: SIZE, etag: '"one"' };
export const TWO = { seed: 2, size: SIZE, etag: '"two"' };

/** Filled in before the first test. */
export const world = { faultd: undefined, folder: undefined, one: undefined, two: undefined };

/** Has a server for all tests of a file, started with these options, and a folder for each. */
export function prepareWorld(...options) {
  let server;
  before(async () => {
    server = await startFaultd(...options);
    world.faultd = new Faultd(server.origin);
    await world.faultd.play({ files: { "/1": { versions: [ONE] }, "/2": { versions: [TWO] } } });
    const bytes = async (path) => Buffer.from(await (await fetch(world.faultd.url(path))).arrayBuffer());
    world.one = await bytes("/1");
    world.two = await bytes("/2");
  });
  after(() => server.stop());
  beforeEach(async () => {
    world.folder = await mkdtemp(join(tmpdir(), "regrip-"));
  });
  afterEach(() => rm(world.folder, { recursive: true }));
}

/** Serves `/film`. */
export async function serve(answers = [], versions = [ONE]) {
  await world.faultd.play({ files: { "/film": { versions, answers } } });
  return world.faultd.url("/film");
}

/** Compares by digest: nobody wants to read six million bytes that differ. */
export async function assertFile(path, bytes) {
  assert.equal(sha256(await readFile(path)), sha256(bytes));
}

export async function until(condition) {
  for (let turn = 0; turn < 3000; turn++) {
    if (await condition()) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  assert.fail(`not so within 30 s: ${condition}`);
}

export const from = ({ range }) => Number(/^bytes=(\d+)-$/.exec(range)[1]);
