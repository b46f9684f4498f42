// Everyone's ways to it: a phone, a keyboard, the dark, a screen reader, and nothing that moves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { breaches, launch, open, rowOf, sees, tooWide } from "./browser.mjs";
import { Mock } from "./mock.mjs";
import { run, scene } from "./scene.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const button = (page, name) => page.getByRole("button", { name, exact: true });

for (const colorScheme of ["light", "dark"]) {
  test(`axe_finds_nothing_in_the_${colorScheme}`, async (t) => {
    const mock = await scene();
    const page = await open(t, browser, mock, { colorScheme });
    await sees(page, "Live");
    await rowOf(page, "Meridian").locator(".name").click();
    await rowOf(page, "Meridian").locator("svg").waitFor();
    assert.deepEqual(await breaches(page), []);
    await run(mock, 8);
    await page.locator("#speeds svg").waitFor();
    await button(page, "Select all").click();
    await page.locator("#selected").waitFor();
    assert.deepEqual(await breaches(page), []);
    await button(page, "Clear selection").click();
    await button(page, "Add a URL").click();
    await button(page, "Add").click();
    assert.deepEqual(await breaches(page), []);
    await button(page, "Close").click();
    await rowOf(page, "Harbour").getByRole("button", { name: "Remove" }).click();
    assert.deepEqual(await breaches(page), []);
    await button(page, "Keep it").click();
    await mock.stop();
    await sees(page, "Not connected");
    assert.deepEqual(await breaches(page), []);
  });
}

test("axe_finds_nothing_in_the_login_and_in_an_empty_list", async (t) => {
  const page = await open(t, browser, await new Mock({ key: "k" }).start());
  await sees(page, "Enter the API key");
  await button(page, "Log in").click();
  assert.deepEqual(await breaches(page), []);
  await page.getByLabel("API key").fill("k");
  await page.keyboard.press("Enter");
  await sees(page, "No downloads yet");
  assert.deepEqual(await breaches(page), []);
});

for (const width of [360, 320]) {
  test(`nothing_sticks_out_at_${width}_pixels`, async (t) => {
    const mock = await scene();
    mock.add({
      filename: `${"W".repeat(251)}.mkv`,
      status: "downloading",
      downloaded_bytes: 1,
      peer_name: "p".repeat(200),
    });
    mock.add({ filename: "long.mkv", status: "failed", error: "e".repeat(4000), error_code: "Disk" });
    mock.peers[0].name = "n".repeat(300);
    const page = await open(t, browser, mock, { viewport: { width, height: 740 }, hasTouch: true, isMobile: true });
    await sees(page, "Live");
    for (const name of ["Meridian", "WWW", "long.mkv"]) {
      await rowOf(page, name).locator(".name").click();
      await rowOf(page, name).locator("dl > dt").first().waitFor();
    }
    await run(mock, 8);
    await page.locator("#speeds svg").waitFor();
    await button(page, "Select all").click();
    await page.locator("#selected").waitFor();
    assert.deepEqual(await tooWide(page), { scroll: 0, out: [] });
    await button(page, "Clear selection").click();
    await button(page, "Add a URL").click();
    await button(page, "Add").click();
    assert.deepEqual(await tooWide(page), { scroll: 0, out: [] });
    // A finger needs room.
    const small = await page
      .locator("button:visible, input:visible, select:visible")
      .evaluateAll((all) =>
        all.map((one) => [one.textContent, one.getBoundingClientRect().height]).filter(([, height]) => height < 32),
      );
    assert.deepEqual(small, []);
  });
}

test("a_keyboard_is_enough", async (t) => {
  const mock = new Mock({ key: "k" });
  mock.add({ filename: "one.mkv", status: "failed" });
  mock.add({ filename: "two.mkv", status: "failed" });
  const page = await open(t, browser, await mock.start());
  const { keyboard } = page;
  const focus = () =>
    page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.innerText);
  /** Tabs to what is named so, which must be seen to have the focus. */
  async function tabTo(name, key = "Tab") {
    for (let steps = 0; steps < 40; steps += 1) {
      await keyboard.press(key);
      if ((await focus()) !== name) continue;
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.notEqual(outline, "none", `the focus at ${name} can be seen`);
      return;
    }
    assert.fail(`${name} cannot be reached: the focus is at ${await focus()}`);
  }
  await sees(page, "Enter the API key");
  await keyboard.type("k");
  await keyboard.press("Enter");
  await sees(page, "Live");

  await tabTo("Add a URL");
  await keyboard.press("Enter");
  await keyboard.type("https://files.example.org/three.mkv");
  await keyboard.press("Enter");
  await rowOf(page, "three.mkv").waitFor();
  await page.locator("#adding").waitFor({ state: "hidden" });
  assert.equal(await focus(), "Add a URL", "back where it came from");

  await tabTo("two.mkv");
  await keyboard.press("Enter");
  await page.locator(".details:visible").waitFor();
  await keyboard.press("Space");
  await page.locator(".details:visible").waitFor({ state: "detached" });
  await tabTo("Retry two.mkv");
  await keyboard.press("Space");
  await page.locator("section.queued").locator(rowOf(page, "two.mkv")).waitFor();
  assert.equal(await focus(), "two.mkv", "its row, now that the button is gone");

  await tabTo("Select two.mkv", "Shift+Tab");
  await keyboard.press("Space");
  await page.locator("#selected").waitFor();
  await tabTo("Cancel 1", "Shift+Tab");
  await keyboard.press("Enter");
  await page.locator("section.cancelled").locator(rowOf(page, "two.mkv")).waitFor();
  assert.equal(await focus(), "Clear selection", "the button is gone, the selection is not");
  await keyboard.press("Enter");

  await tabTo("Remove one.mkv");
  await keyboard.press("Enter");
  await sees(page, "Remove this download?");
  await tabTo("Remove");
  await keyboard.press("Enter");
  await rowOf(page, "one.mkv").waitFor({ state: "detached" });
  assert.notEqual(await page.evaluate(() => document.activeElement), null);
  assert.notEqual(await page.evaluate(() => document.activeElement.tagName), "BODY", "the focus has somewhere to be");
});

test("a_link_leads_past_the_header", async (t) => {
  const page = await open(t, browser, await scene());
  await sees(page, "Live");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.innerText), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "board");
});

test("the_focus_stays_while_rows_come_and_go", async (t) => {
  const mock = new Mock();
  const { id } = mock.add({ filename: "film.mkv", status: "queued" });
  const page = await open(t, browser, await mock.start());
  await rowOf(page, "film.mkv").locator(".name").focus();
  for (let more = 0; more < 5; more += 1) mock.emit("queued", mock.add({ filename: `other-${more}.mkv` }).id);
  await rowOf(page, "other-4.mkv").waitFor();
  mock.emit("started", id, { attempt: 1, from: 0 });
  await page.locator("section.running").locator(rowOf(page, "film.mkv")).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.innerText), "film.mkv");
});

test("nothing_moves_where_that_is_not_wanted", async (t) => {
  const page = await open(t, browser, await scene());
  await sees(page, "Live");
  // Every animation is inside of a query for users who allow motion.
  const moving = await page.evaluate(() => {
    const found = [];
    const look = (rules, where) => {
      for (const rule of rules) {
        if (rule.cssRules?.length) look(rule.cssRules, `${where}${rule.conditionText ?? ""}`);
        if (/transition|animation|scroll-behavior/.test(rule.style?.cssText ?? "")) found.push(where);
      }
    };
    for (const sheet of document.styleSheets) look(sheet.cssRules, "");
    return found;
  });
  assert.deepEqual(moving, ["(prefers-reduced-motion: no-preference)"]);
});
