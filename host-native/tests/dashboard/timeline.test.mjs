// The timeline of a download: the picture, what it says without being seen, and that it grows.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, launch, open, rowOf, sees } from "./browser.mjs";
import { Mock, time } from "./mock.mjs";
import { scene } from "./scene.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const opened = async (page, name) => {
  await rowOf(page, name).locator(".name").click();
  await rowOf(page, name).locator(".details figure > *").first().waitFor();
  return rowOf(page, name).locator(".details");
};
const boxes = (details, selector) =>
  details
    .locator(selector)
    .evaluateAll((all) => all.map((one) => one.getBBox()).map(({ x, y, width, height }) => ({ x, y, width, height })));

test("the_picture_shows_attempts_bytes_kept_and_discarded_and_waits", async (t) => {
  const page = await open(t, browser, await scene());
  const details = await opened(page, "Meridian");
  const attempts = await boxes(details, "svg .attempt");
  assert.equal(attempts.length, 4);
  // Along time: none begins before the one before it ends, and they are as long as they took: 10, 5 and 11 minutes.
  for (let place = 1; place < 4; place += 1)
    assert.ok(attempts[place].x >= attempts[place - 1].x + attempts[place - 1].width);
  const [ten, five, eleven] = attempts.map((one) => one.width);
  assert.ok(
    Math.abs(ten / five - 2) < 0.1 && Math.abs(eleven / ten - 1.13) < 0.1,
    `${attempts.map((one) => one.width)}`,
  );
  assert.equal(await details.locator("svg .mark").count(), 3, "one mark for each failure");

  // What was discarded lies before the drop, what is kept after it; the drop is as high as the bytes were.
  // Read at once: a picture that grows is drawn anew on another scale.
  const [lost, kept, drop] = await details.evaluate((all) =>
    [".lost", ".kept", ".drop"].map((name) => {
      const { x, width, height } = all.querySelector(`svg ${name}`).getBBox();
      return { x, width, height };
    }),
  );
  assert.ok(lost.x + lost.width <= drop.x + 1 && kept.x >= drop.x - 1);
  assert.ok(Math.abs(kept.height / lost.height - 4.0 / 2.6) < 0.05, "both on one scale");
  assert.equal(await details.locator("svg .drop-text").textContent(), "−2.60 GB");
  assert.equal(await details.locator("svg .wait title", { hasText: "Wait of 2 min" }).count(), 1);
  for (const word of ["bytes kept", "bytes discarded", "attempt failed", "wait"])
    await sees(details.locator("figcaption"), word);
});

test("the_same_is_said_in_words", async (t) => {
  const page = await open(t, browser, await scene());
  const details = await opened(page, "Meridian");
  const label = await details.locator("svg[role=img]").getAttribute("aria-label");
  assert.match(
    label,
    /^Timeline: 4 attempts over 40 min .*, 4\.00 GB kept, 2\.60 GB discarded, waits of 2 min 4 s in all, under way\./,
  );
  const items = await details.locator("ol > li").allInnerTexts();
  const third = items[2].replace(/\s+/g, " ");
  for (const part of [
    "Attempt 3 failed",
    "11 min 20 s",
    "2.60 GB → 2.10 GB",
    "Started over, 2.60 GB discarded: the file was replaced on the server.",
    "connection reset by peer",
    "Then a wait of 3.2 s, drawn at random.",
  ]) {
    assert.ok(third.includes(part), `"${part}" in "${third}"`);
  }
  assert.match(items[1], /Then a wait of 2 min 0 s, as the server asked\./);
  const facts = (await details.locator("dl").innerText()).replace(/\s+/g, " ");
  for (const part of [
    "/srv/films/Meridian (2022) 2160p.mkv.part",
    "6.10 GB (6,100,000,000 bytes) · by content_range",
    "3.90 GB of it safe from a power cut",
    "4 attempts · 1 restart",
  ]) {
    assert.ok(facts.includes(part), `"${part}" in "${facts}"`);
  }
});

test("it_grows_while_the_download_goes_on", async (t) => {
  const mock = await scene();
  const page = await open(t, browser, mock);
  const details = await opened(page, "Meridian");
  const row = [...Array(80).keys()].map((id) => mock.row(id)).find((one) => one?.filename.startsWith("Meridian"));
  const label = () => details.locator("svg").getAttribute("aria-label");
  mock.emit("progress", row.id, { bytes: 5.5e9, total: 6.1e9 });
  await eventually(async () => assert.match(await label(), /5\.50 GB kept/));
  await eventually(async () =>
    assert.match(await details.locator("ol > li").last().innerText(), /2\.10 GB → 5\.50 GB/),
  );
  await sees(details.locator("dl"), /^5\.50 GB \(5,500,000,000 bytes\)/);
  mock.emit("retrying", row.id, {
    attempt: 4,
    delay_ms: 60000,
    asked_by: "jitter",
    class: "transient",
    error: "no data received for 60 s",
  });
  // Its attempt has no end yet, but it does not run any more.
  await eventually(async () => assert.match(await label(), /lost\. The list/));
});

test("strange_timelines_break_nothing", async (t) => {
  const mock = new Mock();
  const at = (seconds) => time(1.7e12 + seconds * 1000);
  mock.add({ filename: "none.mkv" });
  mock.add(
    { filename: "instants.mkv", status: "failed" },
    Array.from({ length: 900 }, () => ({
      started_at: at(0),
      ended_at: at(0),
      offset_to: 0,
      outcome: "failed",
      error: "refused",
      wait_ms: 0,
      asked_by: "jitter",
    })),
  );
  mock.add({ filename: "back.mkv", status: "completed", expected_bytes: 0 }, [
    { started_at: at(100), ended_at: at(50), offset_from: 9, offset_to: 3, outcome: "interrupted" },
    {
      started_at: at(-900),
      ended_at: "never",
      offset_from: 3,
      offset_to: 0,
      outcome: "completed",
      restart_reason: "unheard_of,range_ignored",
      discarded_bytes: Number.MAX_SAFE_INTEGER,
    },
  ]);
  mock.add({ filename: "night.mkv", status: "completed" }, [
    { started_at: at(0), ended_at: at(60), offset_from: 0, offset_to: 5e9, outcome: "interrupted" },
    { started_at: at(40000), ended_at: at(40060), offset_from: 5e9, offset_to: 9e9, outcome: "completed" },
  ]);
  const page = await open(t, browser, await mock.start());
  await sees(await opened(page, "none.mkv"), "No attempt yet.");

  const instants = await opened(page, "instants.mkv");
  await sees(instants.locator("figcaption"), "the last 200 attempts of 900");
  assert.equal(await instants.locator("ol > li").count(), 20);
  await instants.getByRole("button", { name: "Show 880 earlier attempts" }).click();
  assert.equal(await instants.locator("ol > li").count(), 900);

  const back = await opened(page, "back.mkv");
  for (const path of await back.locator("svg path").evaluateAll((all) => all.map((one) => one.getAttribute("d"))))
    assert.doesNotMatch(path, /NaN|Infinity/);
  await sees(back, "unheard_of; then the server sent the whole file again");

  // A night in which nothing ran is drawn short, and how long it was is written on it.
  const night = await opened(page, "night.mkv");
  await sees(night.locator("svg text"), "11 h 5 min");
  const [first, second] = await boxes(night, "svg .attempt");
  assert.ok(second.x - first.x - first.width < first.width);
});
