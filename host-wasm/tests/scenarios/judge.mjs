// Whether a download did what its scenario expects: `tests/scenarios/README.md` describes what is compared.
import assert from "node:assert/strict";
import { sha256 } from "../faultd.mjs";

/** The file that is downloaded. */
export const PATH = "/file";

/** Bytes, told apart by their number and digest. */
export const fingerprint = (bytes) => ({ length: bytes.length, sha256: sha256(bytes) });

/** `world`: `{ place, peer, elsewhere, versions, before, secure }`, see `suite.mjs`; `outcome`: see `drive.js`. */
export async function judge(scenario, world, outcome) {
  const { expect, calls = 1 } = scenario;
  if (outcome.refused !== undefined || expect.end === "refused") {
    assert.ok(expect.end === "refused" && outcome.refused?.startsWith(expect.key), outcome.refused);
    return;
  }
  const { events, returned } = outcome;
  const { place, versions } = world;
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

  const file = await place.content("");
  equal(name(file, versions), name(expect.file === undefined ? world.before : fingerprint(versions[expect.file]), versions), "the file");
  const part = await place.content(".part");
  const ofOne = part === undefined || versionOf(part, versions) >= 0;
  if (expect.part === undefined) assert.ok(expect.file === undefined ? ofOne : part === undefined, `the part: ${name(part, versions)}${context}`);
  else if (expect.part === null) equal(part, undefined, "the part");
  else if (typeof expect.part === "string") equal(part, fingerprint(Buffer.from(expect.part)), "the part");
  else if (typeof expect.part === "number") equal([ofOne, part?.length], [true, expect.part], "the part");
  else equal(part?.length, expect.part.any, "the part");

  // The ledger says what the events say, and nothing else is left beside the file.
  const record = await place.record();
  if (expect.file !== undefined) equal(record, undefined, "the record");
  if (record) {
    equal([record.status, record.attempts, record.restarts], [last.event, last.attempts, last.restarts], "the record");
    if (part) equal(record.bytes, part.length, "the record's bytes");
  }
  equal(await place.leftovers(), [], "what is left beside the file");

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

/** The version that these are the first bytes of; -1 if there is none. */
function versionOf({ length, sha256: digest }, versions) {
  return versions.findIndex((version) => length <= version.length && sha256(version.subarray(0, length)) === digest);
}

function name(found, versions) {
  if (found === undefined) return "nothing";
  const version = versionOf(found, versions);
  return version < 0 ? `${found.length} bytes of no version` : `the first ${found.length} bytes of version ${version}`;
}
