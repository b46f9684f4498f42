// The demo page, used as a person would: by its buttons.
import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256 } from "../faultd.mjs";
import { from, until, world } from "../world.mjs";
import { browser, prepareBrowser } from "./browser.mjs";

prepareBrowser();

/** Opens the page, with a server that knows of no script yet. */
async function openDemo(search = "") {
  await world.faultd.play({ files: {} });
  const page = await browser.context.newPage();
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.goto(`${world.faultd.origin}/demo/${search}`);
  await page.waitForSelector(".film");
  return page;
}

const film = (page, name) => page.locator(".film", { has: page.getByRole("heading", { name, exact: true }) });
const press = (page, name, button) => film(page, name).getByRole("button", { name: button }).click();
const state = (page, name) => film(page, name).getAttribute("data-state");
const share = async (page, name) => Number(await film(page, name).getByRole("progressbar").getAttribute("aria-valuenow"));

/** What a page has under a name, by digest. */
const there = (page, name) =>
  page.evaluate(async (name) => {
    const file = await (await (await navigator.storage.getDirectory()).getFileHandle(name)).getFile();
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }, name);

/** What the server has, by digest. */
async function served(seed, size) {
  await world.faultd.play({ files: { "/whole": { versions: [{ seed, size }] } } });
  return sha256(Buffer.from(await (await fetch(world.faultd.url("/whole"))).arrayBuffer()));
}

test("whatever the server does, every film ends as it is there", async () => {
  const page = await openDemo("?rate=40");
  await page.getByRole("button", { name: "Start all" }).click();
  const whole = () => page.locator('.film[data-state="whole"]').count();
  await until(async () => (await whole()) === 4);
  const rows = await page.locator(".film .count").allTextContents();
  assert.match(rows[0], /30\.0 MB · 4 attempts/);
  assert.match(rows[2], /2 attempts · 1 restart/);
  for (const [name, seed, megabytes] of [["cut.mkv", 1, 30], ["busy.mkv", 2, 24], ["replaced.mkv", 4, 22], ["unmarked.mkv", 6, 20]]) {
    assert.equal(await there(page, name), await served(seed, megabytes * 1_000_000), name);
  }
  assert.match(await page.locator("#log").textContent(), /starts over \(overlap_mismatch\)/);

  // The picker needs a person; if a browser has none, it is an ordinary download.
  await page.evaluate(() => delete globalThis.showSaveFilePicker);
  const [given] = await Promise.all([page.waitForEvent("download"), press(page, "cut.mkv", "Save")]);
  assert.equal(given.suggestedFilename(), "cut.mkv");
  await press(page, "cut.mkv", "Remove");
  await until(async () => (await state(page, "cut.mkv")) === "idle");
  await page.reload();
  await until(async () => (await state(page, "busy.mkv")) === "whole" && (await state(page, "cut.mkv")) === "idle");
});

test("a cut is gone on after, a reload too, and a pause outlives a reload", async () => {
  const page = await openDemo("?rate=4");
  await press(page, "cut.mkv", "Start");
  await until(async () => (await share(page, "cut.mkv")) >= 5);
  await page.getByRole("button", { name: "Cut the line" }).click();
  const starts = async () => (await world.faultd.gets("/films/cut.mkv")).map(from);
  await until(async () => (await starts()).length === 2);
  const [, second] = await starts();
  assert.ok(second > 1_000_000, String(second));

  await until(async () => (await film(page, "cut.mkv").locator(".bar i").count()) === 2);
  await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Reload the page" }).click()]);
  await until(async () => (await starts()).length === 3);
  assert.ok((await starts())[2] >= second, String(await starts()));

  await until(async () => (await state(page, "cut.mkv")) === "downloading");
  await press(page, "cut.mkv", "Pause");
  await until(async () => (await state(page, "cut.mkv")) === "paused");
  await page.reload();
  await until(async () => (await state(page, "cut.mkv")) === "paused");
  assert.equal((await starts()).length, 3);
  await press(page, "cut.mkv", "Go on");
  await until(async () => (await starts()).length === 4);
  assert.ok((await starts())[3] >= (await starts())[2]);

  await press(page, "cut.mkv", "Pause");
  await until(async () => (await state(page, "cut.mkv")) === "paused");
  await press(page, "cut.mkv", "Remove");
  await until(async () => (await state(page, "cut.mkv")) === "idle");
});

test("a film that a person replaces on the server starts over", async () => {
  const page = await openDemo("?rate=4");
  await press(page, "cut.mkv", "Start");
  await until(async () => (await share(page, "cut.mkv")) >= 5);
  await press(page, "cut.mkv", "Replace it");
  await page.getByRole("button", { name: "Cut the line" }).click();
  await until(async () => /1 restart/.test(await film(page, "cut.mkv").locator(".count").textContent()));
  assert.match(await page.locator("#log").textContent(), /starts over \(validator_changed\)/);
  await page.reload();
  await until(() => film(page, "cut.mkv").getByRole("button", { name: "Put it back" }).isVisible());

  await page.getByRole("button", { name: "Start over" }).click();
  await until(async () => (await state(page, "cut.mkv")) === "idle");
  await until(() => film(page, "cut.mkv").getByRole("button", { name: "Replace it" }).isVisible());
});

test("without a breaking server the page says so, and fetches any other address", async () => {
  await browser.context.route("**/_faultd/log", (route) => route.abort());
  const page = await browser.context.newPage();
  await page.goto(`${world.faultd.origin}/demo/`);
  await until(async () => /regrip demo --web/.test(await page.getByRole("alert").textContent()));
  await page.getByLabel("Another address").fill(world.faultd.url("/random/300000"));
  await page.getByRole("button", { name: "Fetch" }).click();
  await until(async () => (await state(page, "300000")) === "whole");
  assert.equal(await there(page, "300000"), sha256(Buffer.from(await (await fetch(world.faultd.url("/random/300000"))).arrayBuffer())));
});

test("without the package the page says how to build it", async () => {
  await browser.context.route("**/pkg/web.js", (route) => route.fulfill({ status: 404 }));
  const page = await browser.context.newPage();
  await page.goto(`${world.faultd.origin}/demo/`);
  await until(async () => /host-wasm\/build/.test(await page.getByRole("alert").textContent()));
});

test("it fits a narrow window and a wide one", async () => {
  const page = await openDemo();
  for (const width of [320, 360, 1400]) {
    await page.setViewportSize({ width, height: 800 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width}`);
  }
});
