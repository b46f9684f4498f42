// The login, and what the page does when the server is not there.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, launch, open, rowOf, sees } from "./browser.mjs";
import { Mock } from "./mock.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const KEY = "correct-horse-battery";

async function logIn(page, key = KEY) {
  await page.getByLabel("API key").fill(key);
  await page.keyboard.press("Enter");
}

test("without_a_key_nothing_is_asked_for_and_there_is_no_log_out", async (t) => {
  const page = await open(t, browser, await new Mock().start());
  await sees(page, "Live");
  assert.equal(await page.getByLabel("API key").isVisible(), false);
  assert.equal(await page.getByRole("button", { name: "Log out" }).isVisible(), false);
});

test("the_key_opens_a_session_and_is_kept_nowhere", async (t) => {
  const mock = new Mock({ key: KEY });
  mock.add({ filename: "secret.mkv" });
  const page = await open(t, browser, await mock.start());
  await sees(page, "Enter the API key");
  assert.equal(await page.evaluate(() => document.activeElement.id), "key");
  assert.equal(await page.getByText("secret.mkv").count(), 0);
  await logIn(page, "wrong");
  await sees(page, "key is wrong");
  assert.equal(await page.locator("#key").getAttribute("aria-invalid"), "true");
  await logIn(page);
  await rowOf(page, "secret.mkv").waitFor();
  const kept = await page.evaluate(() =>
    [
      document.cookie,
      location.href,
      document.querySelector("#key").value,
      ...Object.values(localStorage),
      ...Object.values(sessionStorage),
    ].join(),
  );
  assert.ok(!kept.includes(KEY), kept);
  assert.ok(mock.requests.every((asked) => !asked.includes(KEY)));

  await page.reload();
  await rowOf(page, "secret.mkv").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await sees(page, "Enter the API key");
  assert.equal(await page.getByText("secret.mkv").isVisible(), false);
  await page.reload();
  await sees(page, "Enter the API key");
});

test("a_session_that_ends_leads_back_to_the_login_and_on_from_there", async (t) => {
  const mock = new Mock({ key: KEY });
  mock.add({ filename: "film.mkv", status: "failed" });
  const page = await open(t, browser, await mock.start());
  await logIn(page);
  await sees(page, "Live");
  mock.forget();
  await page.getByRole("button", { name: "Retry film.mkv" }).click();
  await sees(page, "Enter the API key");
  await logIn(page);
  await sees(page, "Live");
  await page.getByRole("button", { name: "Retry film.mkv" }).click();
  await page.locator("section.queued").getByText("film.mkv").waitFor();
});

test("a_lost_connection_is_said_and_mended_by_itself", async (t) => {
  const mock = new Mock();
  const { id } = mock.add({ filename: "film.mkv", status: "downloading", expected_bytes: 1000 });
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  await mock.stop();
  await sees(page, "Not connected");
  await sees(page, /The data shown is from \d\d:\d\d:\d\d/);
  await sees(page, /Trying again in \d+ s/);
  assert.equal(await rowOf(page, "film.mkv").isVisible(), true);

  // What happened meanwhile had no listener.
  mock.emit("completed", id, {
    bytes: 1000,
    attempts: 1,
    restarts: 0,
    sha256: null,
    class: null,
    code: null,
    error: null,
  });
  mock.add({ filename: "other.mkv" });
  await mock.start();
  await sees(page, "Live");
  assert.equal(await page.locator("#trouble").isVisible(), false);
  await page.locator("section.done").locator(rowOf(page, "film.mkv")).waitFor();
  await rowOf(page, "other.mkv").waitFor();
  await eventually(() => assert.equal(mock.listeners, 1));
});

test("a_cut_stream_is_taken_up_again", async (t) => {
  const mock = new Mock();
  const { id } = mock.add({ filename: "film.mkv", expected_bytes: 1000 });
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  for (let times = 0; times < 3; times += 1) {
    mock.cut();
    await eventually(() => assert.equal(mock.listeners, 1));
    await sees(page, "Live");
  }
  mock.emit("started", id, { attempt: 1, from: 0 });
  mock.emit("progress", id, { bytes: 420, total: 1000 });
  await sees(rowOf(page, "film.mkv"), "42 %");
});

test("the_user_can_ask_for_the_next_try_now", async (t) => {
  const mock = await new Mock().start();
  const page = await open(t, browser, mock);
  await sees(page, "Live");
  await page.clock.install();
  await mock.stop();
  await sees(page, "Not connected");
  // From here on no pause ends by itself.
  await page.clock.pauseAt(Date.now() + 3_600_000);
  await sees(page, "Not connected");
  await mock.start();
  await page.getByRole("button", { name: "Try now" }).click();
  await page.locator("#link.live").waitFor();
});

test("a_server_in_trouble_is_told_from_one_that_is_gone", async (t) => {
  const mock = await new Mock().start();
  mock.refuse("GET /api/events", 503, "TooManySubscribers", "too many listen to events already");
  mock.refuse("GET /api/stubs", 500, "Ledger", "ledger error: database is locked");
  const page = await open(t, browser, mock);
  await sees(page, "Unexpected answer from the server: too many listen to events already.");
  await sees(page, "database is locked");
  await sees(page, "Live");
});

test("a_stream_that_is_silent_for_too_long_counts_as_lost", async (t) => {
  const mock = await new Mock().start();
  const page = await open(t, browser, mock);
  await page.clock.install();
  // The clock is in place from the next read of the stream on.
  mock.send({ event: "lagged" });
  await sees(page, "Live");
  await eventually(() => assert.equal(mock.requests.filter((asked) => asked === "GET /api/events").length, 1));
  // Each of the seven groups is read twice.
  await eventually(() =>
    assert.equal(mock.requests.filter((asked) => asked.startsWith("GET /api/downloads")).length, 2 * 7),
  );
  await page.clock.fastForward(41_000);
  await eventually(() => assert.equal(mock.requests.filter((asked) => asked === "GET /api/events").length, 2));
});

test("what_the_server_left_out_is_read_anew", async (t) => {
  const mock = new Mock();
  const { id } = mock.add({ filename: "film.mkv" });
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  mock.row(id).status = "committing";
  mock.send({ event: "lagged" });
  await page.locator("section.running").getByText("finishing").waitFor();
});
