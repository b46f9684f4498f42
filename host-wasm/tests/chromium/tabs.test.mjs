// Several tabs of one origin: one writer to a name (Web Locks).
import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256 } from "../faultd.mjs";
import { serve, until, world } from "../world.mjs";
import { STALL, open, prepareBrowser, startAndStall } from "./browser.mjs";

prepareBrowser();

// C10
test("the second tab is told who has the file, and touches nothing; when the first is closed it may have it", async () => {
  const url = await serve([STALL]);
  const first = await open();
  await startAndStall(first, url);

  const second = await open();
  const refused = await second.evaluate(async (url) => {
    const { events, options } = listening();
    return { ...(await failure(regrip.download(url, "big.iso", options))), events: events.map(({ event }) => event) };
  }, url);
  assert.deepEqual([refused.code, refused.class, refused.events], ["PartLocked", "permanent", ["failed"]]);
  assert.match(refused.message, /big\.iso is being downloaded by another tab/);
  assert.match(refused.advice, /wait for the other one/);
  assert.equal((await world.faultd.gets("/film")).length, 1);

  await first.close();
  // The browser takes a moment to notice.
  await until(() => second.evaluate(async () => (await navigator.locks.query()).held.length === 0));
  const got = await second.evaluate(async (url) => {
    const summary = await regrip.download(url, "big.iso");
    return { attempts: summary.attempts, there: await sha256Of("big.iso") };
  }, url);
  assert.equal(got.there, sha256(world.one));
  assert.equal(got.attempts, 2);
});

test("a second tab that resumes what is unfinished leaves alone what the first has under way", async () => {
  const url = await serve([STALL]);
  const first = await open();
  await startAndStall(first, url);
  const second = await open();
  const codes = await second.evaluate(async () => {
    const downloads = await new regrip.Engine().resumeUnfinished();
    return Promise.all(downloads.map(async ({ done }) => (await failure(done)).code));
  });
  assert.deepEqual(codes, ["PartLocked"]);
  assert.equal((await world.faultd.gets("/film")).length, 1);
  // The first one's record is as it was.
  const listed = await first.evaluate(() => engine.list());
  assert.deepEqual(listed.map(({ status }) => status), ["downloading"]);
});

test("two tabs download two files at the same time", async () => {
  await serve();
  const url = world.faultd.url("/random/6000000");
  const pages = [await open(), await open()];
  const got = await Promise.all(
    pages.map((page, index) => page.evaluate(async ([url, name]) => {
      await regrip.download(url, name);
      return sha256Of(name);
    }, [url, `file ${index}`])),
  );
  assert.equal(got[0], got[1]);
});
