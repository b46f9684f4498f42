// Retry, cancel, remove and add, with what the API says when it does not want to.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, launch, open, rowOf, sees } from "./browser.mjs";
import { Mock } from "./mock.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const button = (page, name) => page.getByRole("button", { name, exact: true });
const asked = (mock, request) => mock.requests.filter((one) => one.startsWith(request)).length;

test("retry_and_cancel_move_a_download_and_are_said_to_screen_readers", async (t) => {
  const mock = new Mock();
  mock.add({ filename: "film.mkv", status: "failed", error: "the server answered 404", error_code: "Status" });
  const page = await open(t, browser, await mock.start());
  await button(page, "Retry film.mkv").click();
  await page.locator("section.queued").locator(rowOf(page, "film.mkv")).waitFor();
  await eventually(async () => assert.equal(await page.locator("#said").textContent(), "film.mkv is tried again"));
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "film.mkv", "the focus stays at the row");
  await button(page, "Cancel film.mkv").click();
  await page.locator("section.cancelled").locator(rowOf(page, "film.mkv")).waitFor();
  assert.equal(await button(page, "Cancel film.mkv").count(), 0);
});

test("pause_and_resume_move_a_download_also_if_another_client_asks_for_it", async (t) => {
  const mock = new Mock();
  mock.add({ filename: "film.mkv", status: "downloading", downloaded_bytes: 5e8, expected_bytes: 1e9 });
  const page = await open(t, browser, await mock.start());
  const row = rowOf(page, "film.mkv");
  await button(page, "Pause film.mkv").click();
  await page.locator("section.paused").locator(row).waitFor();
  await sees(row, "500 MB of 1.00 GB kept");
  await sees(page.locator("#summary"), "1\u00a0paused");
  assert.equal(await button(page, "Pause film.mkv").count(), 0);
  await button(page, "Resume film.mkv").click();
  await page.locator("section.queued").locator(row).waitFor();
  await eventually(async () => assert.equal(await page.locator("#said").textContent(), "film.mkv goes on"));
  mock.emit("waiting", 1, { until: null, why: "paused" });
  await page.locator("section.paused").locator(row).waitFor();
  await button(page, "Cancel film.mkv").click();
  await page.locator("section.cancelled").locator(row).waitFor();
});

test("what_the_api_refuses_is_said_at_the_row", async (t) => {
  const mock = new Mock();
  mock.add({ filename: "film.mkv", status: "downloading" });
  mock.add({ filename: "gone.mkv", status: "failed" });
  const page = await open(t, browser, await mock.start());
  mock.refuse("POST /api/downloads/1/cancel", 409, "WrongState", "download 1 is committing");
  await button(page, "Cancel film.mkv").click();
  await sees(rowOf(page, "film.mkv"), "download 1 is committing");
  mock.refuse("DELETE /api/downloads/2", 409, "PartLocked", "the part is being written by process 7");
  await button(page, "Remove gone.mkv").click();
  await button(page, "Remove").click();
  await sees(rowOf(page, "gone.mkv"), "written by process 7");
  // Somebody else removed it meanwhile.
  mock.refuse("POST /api/downloads/2/retry", 404, "NoSuchDownload", "there is no download 2");
  await button(page, "Retry gone.mkv").click();
  await rowOf(page, "gone.mkv").waitFor({ state: "detached" });
});

test("remove_says_first_what_it_deletes", async (t) => {
  const mock = new Mock();
  mock.add({ filename: "half.mkv", status: "cancelled", downloaded_bytes: 1.25e9 });
  mock.add({ filename: "whole.mkv", status: "completed", downloaded_bytes: 2e9 });
  const page = await open(t, browser, await mock.start());
  const dialog = page.locator("#removing");
  await button(page, "Remove half.mkv").click();
  await sees(dialog, "deletes the partial data (1.25 GB in /srv/films/half.mkv.part)");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Keep it");
  await button(page, "Keep it").click();
  assert.equal(asked(mock, "DELETE"), 0);
  assert.equal(await rowOf(page, "half.mkv").count(), 1);
  await button(page, "Remove whole.mkv").click();
  await sees(dialog, "The file is kept: /srv/films/whole.mkv");
  await button(page, "Remove").click();
  await rowOf(page, "whole.mkv").waitFor({ state: "detached" });
  assert.equal(asked(mock, "DELETE /api/downloads/2"), 1);
  assert.equal(mock.row(2), undefined);
  await button(page, "Remove half.mkv").click();
  await page.keyboard.press("Escape");
  assert.equal(await dialog.isVisible(), false);
  assert.equal(asked(mock, "DELETE"), 1);
});

test("a_url_is_added_and_errors_stand_beside_their_field", async (t) => {
  const mock = await new Mock().start();
  const page = await open(t, browser, mock);
  await button(page, "add a URL").click();
  const dialog = page.locator("#adding");
  const url = page.getByLabel("URL", { exact: true });
  const wrong = (name) =>
    eventually(async () => assert.notEqual(await page.locator(`#${name}-wrong`).textContent(), ""));
  const right = async (...names) => {
    for (const name of names) assert.equal(await page.locator(`#${name}-wrong`).textContent(), "");
  };
  await button(page, "Add").click();
  await sees(dialog, "A URL is needed");
  assert.equal(asked(mock, "POST"), 0);
  await url.fill("files.example.org/film.mkv");
  await button(page, "Add").click();
  await wrong("url");
  await sees(dialog, "is not an http or https URL");
  await url.fill("https://files.example.org/film.mkv");
  await page.getByLabel("File name").fill("../film.mkv");
  await button(page, "Add").click();
  await wrong("filename");
  await right("url", "sha256");
  assert.equal(await page.evaluate(() => document.activeElement.id), "filename");
  await page.getByLabel("File name").fill("film.mkv");
  await page.getByLabel("SHA-256").fill("abc");
  await button(page, "Add").click();
  await wrong("sha256");
  await right("url", "filename");
  await page.getByLabel("SHA-256").fill("ab".repeat(32));
  // Without a field, the code decides the field; an unknown code is shown at the URL.
  mock.refuse("POST /api/downloads", 409, "DestinationBusy", "/srv/films/film.mkv is the destination of download 7");
  await button(page, "Add").click();
  await wrong("filename");
  mock.refuse("POST /api/downloads", 500, "Bug", "this is a bug in regrip");
  await button(page, "Add").click();
  await wrong("url");
  await button(page, "Add").click();
  await page.locator("section.queued").locator(rowOf(page, "film.mkv")).waitFor();
  assert.equal(await dialog.isVisible(), false);
  assert.deepEqual(
    [mock.row(1).url, mock.row(1).sha256_wanted],
    ["https://files.example.org/film.mkv", "ab".repeat(32)],
  );

  // The next one begins empty; a known one is the same row.
  await button(page, "Add a URL").click();
  assert.equal(await url.inputValue(), "");
  await url.fill("https://files.example.org/film.mkv");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "hidden" });
  assert.equal(await page.locator(".row").count(), 1);
});

test("a_server_that_does_not_answer_is_said_in_the_dialog", async (t) => {
  const mock = await new Mock().start();
  const page = await open(t, browser, mock);
  await button(page, "Add a URL").click();
  await page.getByLabel("URL", { exact: true }).fill("https://files.example.org/film.mkv");
  await mock.stop();
  await page.keyboard.press("Enter");
  await sees(page.locator("#adding"), "The server does not answer");
});

test("several_are_selected_and_one_action_is_done_to_those_that_can_have_it", async (t) => {
  const mock = new Mock();
  for (let number = 1; number <= 6; number += 1) mock.add({ filename: `queued-${number}.mkv` });
  mock.add({ filename: "broken.mkv", status: "failed" });
  mock.add({ filename: "whole.mkv", status: "completed" });
  const page = await open(t, browser, await mock.start());
  await rowOf(page, "queued-1.mkv").waitFor();
  const bar = page.locator("#selected");
  assert.equal(await bar.isVisible(), false);
  await page.getByLabel("Select queued-1.mkv").check();
  await page.getByLabel("Select queued-2.mkv").check();
  await page.getByLabel("Select broken.mkv").check();
  await sees(bar, "3 selected");
  assert.equal(await button(page, "Resume 1").count(), 0);
  mock.refuse("POST /api/downloads/2/pause", 409, "WrongState", "download 2 is committing");
  await button(page, "Pause 2").focus();
  await page.keyboard.press("Enter");
  await page.locator("section.paused").locator(rowOf(page, "queued-1.mkv")).waitFor();
  await sees(rowOf(page, "queued-2.mkv"), "download 2 is committing");
  await eventually(async () => assert.equal(await page.locator("#said").textContent(), "1 download paused, 1 failed"));
  await button(page, "Retry 1").click();
  await page.locator("section.queued").locator(rowOf(page, "broken.mkv")).waitFor();
  await button(page, "Clear selection").click();
  await bar.waitFor({ state: "hidden" });
  assert.equal(asked(mock, "POST /api/downloads/3"), 0, "who is not selected is left alone");

  // All that the filter shows, and no other.
  await page.getByLabel("Filter by name, peer or URL").fill("QUEUED mkv");
  await button(page, "Select all").click();
  await sees(bar, "6 selected");
  await button(page, "Resume 1").waitFor();
  await button(page, "Cancel 6").click();
  await eventually(async () => assert.equal(await page.locator("section.cancelled .row").count(), 6));
  assert.equal(mock.row(7).status, "queued");
  assert.equal(asked(mock, "POST /api/downloads/7/cancel"), 0);
  // What the filter no longer shows is no longer selected.
  await page.getByLabel("Filter by name, peer or URL").fill("broken");
  await bar.waitFor({ state: "hidden" });
  await page.getByLabel("Filter by name, peer or URL").fill("");
  await rowOf(page, "whole.mkv").waitFor();
  assert.equal(await page.locator(".row input:checked").count(), 0);
});

test("rows_are_filtered_and_sorted", async (t) => {
  const mock = new Mock();
  const files = [
    ["Film 10.mkv", 3e9, "attic"],
    ["Film 9.mkv", 9e9, "cellar"],
    ["film 11.mkv", 1e9, "attic"],
  ];
  for (const [filename, size, peer_name] of files)
    mock.add({ filename, status: "paused", expected_bytes: size, downloaded_bytes: 5e8, peer_name, peer_id: "c0ffee01" });
  const page = await open(t, browser, await mock.start());
  await rowOf(page, "Film 9.mkv").waitFor();
  const names = () => page.locator("section.paused .name").allTextContents();
  const sorted = async (label, ...order) => {
    await page.getByLabel("Sort by").selectOption({ label });
    await eventually(async () => assert.deepEqual(await names(), order));
  };
  await sorted("By name", "Film 9.mkv", "Film 10.mkv", "film 11.mkv");
  await sorted("Largest first", "Film 9.mkv", "Film 10.mkv", "film 11.mkv");
  await sorted("Most complete first", "film 11.mkv", "Film 10.mkv", "Film 9.mkv");
  await sorted("Newest first", "film 11.mkv", "Film 9.mkv", "Film 10.mkv");
  const filter = page.getByLabel("Filter by name, peer or URL");
  await filter.fill(" ATTIC 1 ");
  await eventually(async () => assert.deepEqual(await names(), ["film 11.mkv", "Film 10.mkv"]));
  await sees(page.locator("section.paused h2"), "2 of 3");
  await filter.fill("<img src=x>");
  await sees(page, "No loaded download matches the filter.");
  await filter.fill("");
  await sorted("Usual order", "film 11.mkv", "Film 9.mkv", "Film 10.mkv");
  assert.equal(await page.getByText("No loaded download matches the filter.").count(), 0);
});

test("the_last_minutes_are_drawn_once_something_is_received", async (t) => {
  const mock = new Mock();
  const { id } = mock.add({ filename: "film.mkv", status: "downloading", expected_bytes: 1e9 });
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  const figure = page.locator("#speeds");
  assert.equal(await figure.isVisible(), false);
  let bytes = 0;
  await eventually(async () => {
    mock.emit("progress", id, { bytes: (bytes += 1e6), total: 1e9 });
    assert.match(await figure.textContent(), /^Last 5 minutes · now [\d.]+ [kMG]B\/s · at most [\d.]+ [kMG]B\/s$/);
    assert.match(await figure.locator("path.line").getAttribute("d"), /^M[\d.]+ [\d.]+L/);
  });
});

test("what_a_search_of_a_peer_found_or_why_it_failed_is_shown", async (t) => {
  const mock = new Mock();
  const at = new Date().toISOString();
  const peer = { url: "http://a", version: null, reachable: null, since: null, next_probe_at: null, error: null };
  mock.peers = [
    { ...peer, id: "1", name: "anna", last_search: { at, releases: 12, error: null } },
    { ...peer, id: "2", name: "bob", last_search: { at, releases: null, error: "no answer within 10 s<b>" } },
    { ...peer, id: "3", name: "carl", last_search: null },
  ];
  const page = await open(t, browser, await mock.start());
  const of = (name) => page.locator("#peers li", { hasText: name });
  await sees(of("anna"), /last search .*: 12 releases/);
  await sees(of("bob"), /last search failed .*: no answer within 10 s<b>/);
  assert.equal(await of("carl").getByText("search").count(), 0);
});
