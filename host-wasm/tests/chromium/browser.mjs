// What the tests in Chromium share: the browser, and a page of the fault server's own origin with the built package in it.
//
// The server serves the package with a Content-Security-Policy that allows nothing but its own scripts and compiled
// WebAssembly, so that every test here is also one of that policy.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { from, prepareWorld, world } from "../world.mjs";

const folder = (path) => fileURLToPath(new URL(path, import.meta.url));

/** A name that leads to this machine and is none of the secure ones: an insecure context. */
export const INSECURE = "insecure.test";

/** An answer that comes slowly enough to be told of on the way, and stands still before its end. */
export const STALL = [{ trickle: { every_ms: 10, bytes: 20_000 } }, { stall: { after: 2_000_000 } }];

/** Filled in before each test: a browser context, which has its own private files and records. */
export const browser = { context: undefined };

let launched;

/** What makes the fault server serve the page, the package and `more` folders of `host-wasm`. */
export const pages = (...more) => ["pkg", "demo", ...more].flatMap((name) => ["--pages", `/${name}/=${folder(`../../${name}`)}`]).concat("--pages", `/=${folder("page")}`);

/** Has a browser for all tests of a file, a context for each, and the world of `world.mjs`; `more` folders are served, too. */
export function prepareBrowser(...more) {
  prepareWorld(...pages(...more));
  before(async () => {
    launched = await launch();
  });
  after(() => launched.close());
  beforeEach(async () => {
    browser.context = await launched.newContext();
  });
  afterEach(() => browser.context.close());
}

/** Chromium as Debian packages it, or the one that REGRIP_CHROMIUM names. */
const OPTIONS = {
  executablePath: process.env.REGRIP_CHROMIUM ?? "/usr/bin/chromium",
  // Root, as in CI, has no sandbox. The shared memory of a container is too small.
  args: ["--no-sandbox", "--disable-dev-shm-usage", `--host-resolver-rules=MAP ${INSECURE} 127.0.0.1`],
};

/** A browser whose contexts are like private windows: they keep nothing. */
export const launch = () => chromium.launch(OPTIONS);

/** A browser with a profile in a folder, as people have. */
export const launchOnDisk = (folder) => chromium.launchPersistentContext(folder, OPTIONS);

/** A page with the package in it. What a page throws and nobody catches fails the test. */
export async function open(origin = world.faultd.origin) {
  const page = await browser.context.newPage();
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.goto(`${origin}/`);
  await loaded(page);
  return page;
}

/** Reloads a page: whatever it was doing is over, with no word to it. */
export async function reload(page) {
  await page.reload();
  await loaded(page);
}

const loaded = (page) => page.waitForFunction(() => globalThis.ready);

/** Starts a download into `big.iso` that is still under way when this is done, with some of its bytes there. */
export async function startAndStall(page, url) {
  await page.evaluate((url) => {
    globalThis.bytes = 0;
    globalThis.engine = new regrip.Engine();
    engine.start({ url, to: "big.iso", onEvent: (event) => (globalThis.bytes = event.bytes ?? globalThis.bytes) }).done.catch(() => {});
  }, url);
  await page.waitForFunction(() => globalThis.bytes > 1_000_000);
}

/**
 * An answer that is cut after `CUT_AT` bytes. What a page has not read before a break the browser drops; it comes slowly
 * enough that this is not much.
 */
export const CUT_AT = 2_500_000;
const SLOWLY = { trickle: { every_ms: 5, bytes: 50_000 } };
export const CUT = [SLOWLY, { cut: { after: CUT_AT } }];
/** The same with fewer bytes, and by a reset. */
export const cutAfter = (after, how = "close") => [SLOWLY, { cut: { after, how } }];

/** The second of two requests went on where the first was cut. */
export function assertResumed(asked, overlap = 0) {
  assert.equal(asked.length, 2);
  const [first, second] = asked.map(from);
  assert.equal(first, 0);
  assert.ok(second > CUT_AT / 2 && second <= CUT_AT - overlap, String(second));
}

/** The same, with the end of what was there asked for again to be compared. */
export function assertOverlap(asked) {
  assertResumed(asked, 65_536);
  assert.deepEqual(asked.map((entry) => entry.if_range ?? null), [null, null]);
}
