// `regrip/retry`: it answers as core does, is small, and loads nothing.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import * as whole from "../pkg/node.js";
import * as alone from "../pkg/retry.js";

const { Semaphore, backoffDelay, isTransient, parseRetryAfter, retry } = alone;
const vectors = JSON.parse(await readFile(new URL("vectors.json", import.meta.url), "utf8"));

test("the package has the same functions", () => {
  assert.deepEqual(Object.keys(alone).sort(), ["Semaphore", "backoffDelay", "isTransient", "parseRetryAfter", "retry"]);
  for (const [name, value] of Object.entries(alone)) assert.equal(whole[name], value, name);
});

// T06
test("a delay is the one that core draws", () => {
  for (const { ms, random, ...given } of vectors.backoffDelay) {
    const { attempt, ...options } = given;
    const got = backoffDelay(attempt, { ...options, random: () => random });
    assert.ok(Math.abs(got - ms) < 2e-6, `${JSON.stringify(given)}: ${got}, ${ms}`); // two nanoseconds
  }
});

test("a Retry-After is read as by core", () => {
  for (const { value, now, ms } of vectors.parseRetryAfter) assert.equal(parseRetryAfter(value, now), ms, JSON.stringify(value));
});

test("a status has the class that core gives it", () => {
  for (let status = 400; status < 600; status++) assert.equal(isTransient({ status }), vectors.transientStatuses.includes(status), String(status));
});

test("retry makes the attempts of core, with its delays, and ends as core does", async () => {
  for (const { failures, calls, succeeds, retries, random, ...options } of vectors.retry) {
    const seen = [];
    let made = 0;
    const operation = (attempt) => {
      made = attempt;
      if (failures[attempt - 1]) throw failures[attempt - 1];
    };
    const onRetry = ({ error, delayMs, ...retry }) => seen.push({ ...retry, delayMs: Math.round(delayMs * 1e5) }) && assert.equal(error, failures[made - 1]);
    const ended = await retry(operation, { ...options, random: () => random, sleep: async () => {}, onRetry }).then(() => true, (error) => (assert.equal(error, failures[made - 1]), false));
    const expected = retries.map(({ delayMs, ...retry }) => ({ ...retry, delayMs: Math.round(delayMs * 1e5) }));
    assert.deepEqual([made, ended, seen], [calls, succeeds, expected]);
  }
});

// K02, K03, K04
test("a semaphore grants its permits to those whom core grants them, step by step", async () => {
  for (const { permits, steps } of vectors.semaphore) {
    const semaphore = new Semaphore(permits);
    const [waiting, held] = [new Map(), new Map()];
    for (const [step, of, holders, used, waiters] of steps) {
      if (step === "resize") semaphore.resize(of);
      else if (step === "leave") waiting.get(of).abort("left");
      else if (step === "release") (held.get(of).release(), held.delete(of));
      else {
        const leave = new AbortController();
        waiting.set(of, leave);
        semaphore.acquire({ signal: leave.signal }).then((permit) => held.set(of, permit), (reason) => assert.equal(reason, "left"));
      }
      await new Promise((settled) => setImmediate(settled));
      assert.deepEqual([[...held.keys()].sort((one, other) => one - other), semaphore.used, semaphore.waiting], [holders, used, waiters]);
    }
  }
});

test("it is at most 2.5 KB, gzipped, as a page's build makes it", async () => {
  const { outputFiles } = await build({ entryPoints: [new URL("../pkg/retry.js", import.meta.url).pathname], bundle: true, minify: true, format: "esm", target: "es2022", write: false });
  const gzipped = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  assert.ok(gzipped <= 2500, `${gzipped} bytes`);
});

test("what is wrong is refused by name", async () => {
  const odd = { "a number": 1, "a string": "x", null: null, "an object": {}, "an array": [] };
  for (const name of ["isRetryable", "retryAfter", "sleep", "random", "onRetry", "signal"]) {
    for (const value of Object.values(odd)) {
      if (name === "signal" && value === null) continue;
      await assert.rejects(retry(() => assert.fail("called"), { [name]: value }), (error) => error instanceof TypeError && error.message.startsWith(`${name} is `), name);
    }
  }
  for (const name of ["baseDelayMs", "maxDelayMs"]) {
    for (const value of [-1, NaN, "1", null, {}]) {
      await assert.rejects(retry(() => assert.fail("called"), { [name]: value }), (error) => error instanceof RangeError && error.message.startsWith(`${name} is `), name);
      assert.throws(() => backoffDelay(1, { [name]: value }), (error) => error instanceof RangeError && error.message.startsWith(`${name} is `), name);
    }
  }
  for (const operation of [undefined, null, 1, {}]) await assert.rejects(retry(operation), { name: "TypeError", message: /^operation is / });
  for (const options of [null, 1, "x"]) await assert.rejects(retry(() => {}, options), { name: "TypeError", message: /^options is / });
  await assert.rejects(retry(() => {}, { attempts: 3 }), { name: "TypeError", message: "there is no option attempts" });
  const semaphore = new Semaphore(1);
  await assert.rejects(semaphore.acquire({ signal: {} }), { name: "TypeError", message: /^signal is / });
  await assert.rejects(semaphore.acquire({ timeout: 1 }), { name: "TypeError", message: "there is no option timeout" });
  await assert.rejects(semaphore.run("work"), { name: "TypeError", message: /^work is / });
  assert.equal(semaphore.used, 0);
});
