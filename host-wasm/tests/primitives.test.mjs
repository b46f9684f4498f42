// retry, Semaphore and the three plain functions, as the package exports them. `retry.test.mjs` compares them with core.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Semaphore, backoffDelay, isTransient, parseRetryAfter, retry } from "../pkg/node.js";

const transient = (more) => Object.assign(new Error("again"), { class: "transient", ...more });
const NOW = { sleep: async () => {} };

test("an operation is told its attempts, from 1, and the last error comes back as it is", async () => {
  const attempts = [];
  assert.equal(await retry((attempt) => attempts.push(attempt) && "done"), "done");
  const errors = [];
  const failing = retry((attempt) => {
    errors.push(transient({ attempt }));
    throw errors.at(-1);
  }, { ...NOW, maxAttempts: 3 });
  await assert.rejects(failing, (error) => error === errors[2]);
  assert.deepEqual([attempts, errors.length], [[1], 3]);
});

test("a permanent error ends it", async () => {
  let calls = 0;
  const error = new Error("no");
  await assert.rejects(retry(() => (calls++, Promise.reject(error)), NOW), (got) => got === error);
  assert.equal(calls, 1);
});

test("a count that is not a positive integer is refused before the operation is called once", async () => {
  for (const maxAttempts of [0, -1, NaN, 1.5, Infinity, "3", null]) {
    let called = false;
    await assert.rejects(retry(() => (called = true), { maxAttempts }), RangeError, String(maxAttempts));
    assert.equal(called, false);
  }
});

test("waits are drawn below the doubled base and the cap, and what is asked for is exact", async () => {
  const waits = [];
  const onRetry = ({ attempt, delayMs, askedBy }) => waits.push([attempt, delayMs, askedBy]);
  const options = { ...NOW, maxAttempts: 5, baseDelayMs: 100, maxDelayMs: 300, random: () => 0.5, onRetry };
  await assert.rejects(retry((attempt) => Promise.reject(transient(attempt === 4 && { retryAfterMs: 1000 })), options));
  assert.deepEqual(waits, [[1, 50, "jitter"], [2, 100, "jitter"], [3, 150, "jitter"], [4, 300, "retry_after"]]);
});

test("what a caller's function throws ends it, and is told", async () => {
  const odd = new Error("odd");
  const thrower = () => {
    throw odd;
  };
  for (const name of ["isRetryable", "retryAfter", "onRetry", "random", "sleep"]) {
    let calls = 0;
    const failing = retry(() => (calls++, Promise.reject(transient())), { ...NOW, baseDelayMs: 1, [name]: thrower });
    await assert.rejects(failing, (error) => error === odd, name);
    assert.equal(calls, 1, name);
  }
});

test("a signal ends a wait at once, with its reason", async () => {
  const stop = new AbortController();
  const failing = retry(() => Promise.reject(transient()), { baseDelayMs: 3_600_000, maxDelayMs: 3_600_000, random: () => 1 - Number.EPSILON, signal: stop.signal, onRetry: () => setTimeout(() => stop.abort("enough")) });
  await assert.rejects(failing, (reason) => reason === "enough");
  await assert.rejects(retry(() => assert.fail(), { signal: AbortSignal.abort("never") }), (reason) => reason === "never");
});

test("a semaphore serves in order, and gives permits back whatever comes", async () => {
  const semaphore = new Semaphore(2);
  const order = [];
  let most = 0;
  const work = (name) => async () => {
    order.push(name);
    most = Math.max(most, semaphore.used);
    await new Promise((done) => setImmediate(done));
    if (name === 3) throw new Error("three");
  };
  const ended = await Promise.allSettled([1, 2, 3, 4, 5].map((name) => semaphore.run(work(name))));
  assert.deepEqual(order, [1, 2, 3, 4, 5]);
  assert.deepEqual(ended.map(({ status }) => status), ["fulfilled", "fulfilled", "rejected", "fulfilled", "fulfilled"]);
  assert.deepEqual([most, semaphore.used, semaphore.waiting], [2, 0, 0]);
});

test("a permit is a value, released once", async () => {
  const semaphore = new Semaphore(1);
  const permit = await semaphore.acquire();
  const waiting = semaphore.acquire();
  permit.release();
  permit.release();
  const second = await waiting;
  assert.equal(semaphore.used, 1);
  if (Symbol.dispose) second[Symbol.dispose]();
  else second.release();
  assert.equal(semaphore.used, 0);
});

// K02
test("who gives up waiting loses nothing for the others", async () => {
  const semaphore = new Semaphore(1);
  const held = await semaphore.acquire();
  const stop = new AbortController();
  const first = semaphore.acquire({ signal: stop.signal });
  const second = semaphore.acquire();
  stop.abort("enough");
  await assert.rejects(first, (reason) => reason === "enough");
  held.release();
  (await second).release();
  assert.equal(semaphore.used, 0);
});

// K02
test("who gives up after the grant has the permit, and work is not begun for nobody", async () => {
  const semaphore = new Semaphore(1);
  const held = await semaphore.acquire();
  const stop = new AbortController();
  const granted = semaphore.acquire({ signal: stop.signal });
  held.release();
  stop.abort("enough");
  (await granted).release();
  assert.equal(semaphore.used, 0);
  await assert.rejects(semaphore.run(() => assert.fail(), { signal: stop.signal }), (reason) => reason === "enough");
});

// K04
test("more permits are handed out at once, fewer drain", async () => {
  const semaphore = new Semaphore(1);
  const held = [await semaphore.acquire()];
  const waiting = [semaphore.acquire(), semaphore.acquire()];
  semaphore.resize(3);
  held.push(...(await Promise.all(waiting)));
  semaphore.resize(1);
  held.pop().release();
  held.pop().release();
  assert.equal(semaphore.used, 1);
  for (const permits of [0, NaN, 1.5]) {
    assert.throws(() => semaphore.resize(permits), RangeError);
    assert.throws(() => new Semaphore(permits), RangeError);
  }
});

// T03, T04
test("a Retry-After is seconds or a date", () => {
  const now = Date.UTC(2026, 0, 1);
  const table = [
    ["120", 120_000],
    ["0", 0],
    ["99999999999999999999999", (2 ** 64 - 1) * 1000],
    ["Thu, 01 Jan 2026 00:00:30 GMT", 30_000],
    ["Wed, 31 Dec 2025 23:59:00 GMT", 0],
    ["-1", null],
    ["1.5", null],
    ["soon", null],
    ["", null],
    [null, null],
    [undefined, null],
  ];
  for (const [value, ms] of table) assert.equal(parseRetryAfter(value, now), ms, String(value));
  assert.equal(parseRetryAfter("Thu, 01 Jan 2026 00:00:30 GMT", new Date(now)), 30_000);
});

// T06
test("the backoff is capped before it is drawn", () => {
  const random = () => 0.5;
  assert.deepEqual([1, 2, 3, 40, 2 ** 32 - 1].map((attempt) => backoffDelay(attempt, { random })), [500, 1000, 2000, 30_000, 30_000]);
  assert.equal(backoffDelay(1, { baseDelayMs: 0 }), 0);
  assert.throws(() => backoffDelay(0), RangeError);
  assert.throws(() => backoffDelay(1, { baseDelayMs: NaN }), RangeError);
});

test("errors are transient or permanent by what they say", async () => {
  const fetchFailed = await fetch("http://127.0.0.1:9/").catch((error) => error);
  const table = [
    [{ status: 503 }, true],
    [{ status: 599 }, true],
    [{ status: 429 }, true],
    [{ status: 404 }, false],
    [{ class: "permanent", status: 503 }, false],
    [new DOMException("", "TimeoutError"), true],
    [new DOMException("", "AbortError"), false],
    [Object.assign(new Error(), { code: "ECONNRESET" }), true],
    [Object.assign(new Error(), { code: "ENOENT" }), false],
    [fetchFailed, true],
    [new TypeError("x is not a function"), false],
    [undefined, false],
    ["text", false],
  ];
  for (const [error, expected] of table) assert.equal(isTransient(error), expected, String(error?.status ?? error));
});

test("an abort during the first attempt ends it, also where that fails afterwards", async () => {
  const stop = new AbortController();
  let calls = 0;
  const failing = retry(async () => {
    calls++;
    stop.abort(new Error("enough"));
    throw transient();
  }, { ...NOW, signal: stop.signal });
  await assert.rejects(failing, { message: "enough" });
  assert.equal(calls, 1);
});
