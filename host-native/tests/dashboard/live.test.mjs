// What is shown, and that it stays true while things happen.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, launch, open, rowOf, sees } from "./browser.mjs";
import { Mock, summary, time } from "./mock.mjs";
import { HOSTILE, scene } from "./scene.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const section = (page, name) => page.locator(`section.${name}`);
const barOf = (row) => row.locator("progress").evaluate((bar) => bar.value);

test("every_download_stands_in_its_section_with_what_it_needs", async (t) => {
  const mock = await scene();
  const page = await open(t, browser, mock);
  await sees(page, "Live");
  assert.equal(await section(page, "running").locator(".count").textContent(), "3");
  const told = {
    Meridian: ["65 %", "4.00 GB of 6.10 GB", "from attic", "attempt 4"],
    Saltmarsh: ["next attempt in", "the server answered 503", "700 MB of 1.90 GB kept"],
    Orchard: ["asked again in", "the peer cannot be reached", "gives up in 22 h"],
    "A Quiet Winter": ["the server answered 404", "Check the address", "Retry", "Remove"],
    S02E02: ["from attic · import accepted by Series", "1.30 GB"],
    S04E04: ["Import: pending at Series: the server answered 503"],
  };
  for (const [name, texts] of Object.entries(told)) {
    const text = (await rowOf(page, name).first().innerText()).replace(/\s+/g, " ");
    for (const part of texts) assert.ok(text.includes(part), `${name}: "${part}" in "${text}"`);
  }
  const sides = (await page.locator("aside").innerText()).replace(/\s+/g, " ");
  for (const part of [
    "Glasshouse (2020) 1080p next try in",
    "no route to host",
    "attic reachable",
    "cellar not reachable",
    "asked again in",
    "cousin not asked yet",
  ]) {
    assert.ok(sides.includes(part), `"${part}" in "${sides}"`);
  }
});

test("a_download_goes_through_its_life_by_events_alone", async (t) => {
  const mock = await new Mock().start();
  const page = await open(t, browser, mock);
  await sees(page, "No downloads yet");
  await sees(page, "/srv/regrip/watch");
  const { id } = mock.add({ filename: "film.mkv" });
  mock.emit("queued", id);
  const row = rowOf(page, "film.mkv");
  await section(page, "queued").locator(row).waitFor();
  assert.equal(await page.locator("#empty").isVisible(), false);

  const reads = mock.requests.length;
  mock.emit("started", id, { attempt: 1, from: 0 });
  mock.emit("headers", id, { expected_bytes: 4e9, source: "content_length", mismatch: false });
  mock.emit("progress", id, { bytes: 1e9, total: 4e9 });
  await section(page, "running").locator(row).waitFor();
  await sees(row, "25 %");
  assert.equal(await barOf(row), 0.25);
  await new Promise((resolve) => setTimeout(resolve, 300));
  mock.emit("progress", id, { bytes: 2e9, total: 4e9 });
  await sees(row, "50 %");
  await sees(row, /[kMG]B\/s/);
  await sees(row, /\d\d:\d\d left/);
  await sees(page.locator("#summary"), /1.running.*B\/s/);

  mock.emit("retrying", id, {
    attempt: 1,
    delay_ms: 60000,
    asked_by: "jitter",
    class: "transient",
    error: "no data received for 60 s",
  });
  await section(page, "waiting").locator(row).waitFor();
  await sees(row, "no data received for 60 s");
  await sees(row, /next attempt in \d/);
  mock.emit("started", id, { attempt: 2, from: 2e9 });
  mock.emit("restart", id, { reason: "validator_changed", discarded_bytes: 2e9 });
  await sees(row, "started over, 2.00 GB discarded: the file was replaced on the server");
  await sees(row, "attempt 2");
  mock.emit(
    "failed",
    id,
    summary(mock.row(id), { class: "permanent", code: "TooLarge", error: "the file is too large" }),
  );
  await section(page, "failed").locator(row).waitFor();
  await sees(row, "Raise maxDownloadBytes");
  mock.emit("queued", id);
  mock.emit("started", id, { attempt: 3, from: 0 });
  const asked = mock.requests.slice(reads).filter((request) => request.includes("/api/downloads"));
  assert.deepEqual(asked, [], "events of known downloads need no request");
  mock.emit("completed", id, summary(mock.row(id), { bytes: 4e9, sha256: "ab".repeat(32) }));
  await section(page, "done").locator(row).waitFor();
  // Its import has no event.
  Object.assign(mock.row(id), {
    status: "import_queued",
    import_state: "accepted by Films",
    updated_at: time(Date.now()),
  });
  await sees(row, "accepted by Films");
});

test("names_and_errors_of_strangers_are_text", async (t) => {
  const mock = await scene();
  const evil = `</p><img src=x onerror="window.pwned=1">`;
  mock.add(
    {
      filename: evil,
      status: "waiting",
      waiting_until: time(Date.now() + 1e6),
      waiting_why: evil,
      url: "javascript:window.pwned=1",
    },
    [
      {
        started_at: time(Date.now()),
        ended_at: time(Date.now()),
        offset_to: 0,
        outcome: evil,
        error: evil,
        code: evil,
        restart_reason: evil,
      },
    ],
  );
  mock.peers.push({
    id: "1",
    name: evil,
    url: evil,
    version: evil,
    reachable: false,
    since: evil,
    next_probe_at: evil,
    error: evil,
  });
  mock.troubles.push({ what: evil, message: evil, since: evil });
  mock.stubs.push({
    stub_name: evil,
    name: evil,
    peer_id: evil,
    peer_name: evil,
    item_id: evil,
    size: null,
    found_at: evil,
    attempts: 1,
    error: evil,
    next_try_at: evil,
  });
  const page = await open(t, browser, mock);
  await sees(page, "Live");
  const shown = HOSTILE.replace("\u202e", "\ufffd");
  assert.equal(await rowOf(page, "<script>").locator(".name").innerText(), shown);
  await page.locator("section.waiting .name", { hasText: "onerror" }).click();
  await page.locator(".details svg").waitFor();
  await page.locator("section.failed .name", { hasText: "onerror" }).click();
  await page.locator("section.failed button", { hasText: "Remove" }).last().click();
  await page.locator("dialog[open]").waitFor();
  assert.equal(await page.locator("img, script:not([src]), a[href^='javascript']").count(), 0);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
});

test("an_answer_does_not_undo_what_an_event_told_after_it", async (t) => {
  const mock = new Mock();
  const { id } = mock.add({ filename: "film.mkv", expected_bytes: 1000, updated_at: time(Date.now() - 5000) });
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  const row = rowOf(page, "film.mkv");
  const held = mock.hold("GET /api/downloads?status=queued");
  // Comes by the same answers, and so shows that they were taken.
  mock.add({ filename: "with-it.mkv", status: "failed" });
  mock.send({ event: "lagged" });
  await held.reached;
  mock.emit("started", id, { attempt: 1, from: 0 });
  mock.emit("progress", id, { bytes: 700, total: 1000 });
  await sees(row, "70 %");
  held.release();
  await rowOf(page, "with-it.mkv").waitFor();
  assert.equal(await section(page, "running").locator(row).count(), 1);
  await sees(row, "70 %");
});

test("what_comes_while_a_list_is_read_is_read_too", async (t) => {
  const mock = await new Mock().start();
  const page = await open(t, browser, mock);
  await sees(page, "No downloads yet");
  const held = mock.hold("GET /api/downloads?limit");
  mock.emit("queued", mock.add({ filename: "first.mkv" }).id);
  await held.reached;
  mock.emit("queued", mock.add({ filename: "second.mkv" }).id);
  held.release();
  await rowOf(page, "first.mkv").waitFor();
  await rowOf(page, "second.mkv").waitFor();
});

test("the_speed_is_right_from_the_beginning", async (t) => {
  const mock = new Mock();
  const { id } = mock.add({ filename: "film.mkv", expected_bytes: 60e6 });
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  const begin = Date.now();
  const tell = (seconds, fields) => mock.send({ id, at: time(begin + seconds * 1000), ...fields });
  tell(2, { event: "started", attempt: 1, from: 0 });
  // The first bytes come at once and say little; from then on it is 6 MB a second.
  tell(2.1, { event: "progress", bytes: 8192, total: 60e6 });
  tell(3.1, { event: "progress", bytes: 6e6, total: 60e6 });
  tell(4.1, { event: "progress", bytes: 12e6, total: 60e6 });
  await sees(rowOf(page, "film.mkv"), /^5\.[678]\d MB\/s$/);
  await sees(rowOf(page, "film.mkv"), /^00:0[89] left$/);
});

test("a_server_that_downloads_nothing_says_so", async (t) => {
  const mock = new Mock();
  mock.watchPath = null;
  const page = await open(t, browser, await mock.start());
  await sees(page, "Downloads are disabled");
  assert.equal(await page.getByText("Drop a stub").isVisible(), false);
});

test("what_somebody_else_removed_goes", async (t) => {
  const mock = new Mock();
  mock.add({ filename: "stays.mkv" });
  const { id } = mock.add({ filename: "goes.mkv" });
  const page = await open(t, browser, await mock.start());
  await rowOf(page, "goes.mkv").waitFor();
  mock.remove(id);
  mock.send({ event: "lagged" });
  await rowOf(page, "goes.mkv").waitFor({ state: "detached" });
  assert.equal(await rowOf(page, "stays.mkv").count(), 1);
});

test("times_are_those_of_the_server_where_the_clocks_differ", async (t) => {
  const mock = new Mock();
  mock.ahead = 7_200_000;
  mock.add({
    filename: "film.mkv",
    status: "waiting",
    waiting_until: time(Date.now() + mock.ahead + 3_000_000),
    waiting_why: "503",
  });
  const page = await open(t, browser, await mock.start());
  await sees(rowOf(page, "film.mkv"), /next attempt in (49|50) min/);
});

test("many_downloads_come_by_pages", async (t) => {
  const mock = await new Mock().start();
  const total = 100_000;
  for (let number = 0; number < total; number += 1) {
    mock.add({
      filename: `film-${number}.mkv`,
      status: number % 1000 ? "completed" : "failed",
      updated_at: time(1e12 + number),
      completed_at: time(1e12),
    });
  }
  const page = await open(t, browser, mock);
  await sees(section(page, "done"), "99,900");
  const rows = section(page, "done").locator(".row");
  assert.equal(await rows.count(), 50);
  await section(page, "done").getByRole("button", { name: "Show more" }).click();
  await eventually(async () => assert.equal(await rows.count(), 100));
  assert.equal(await rows.nth(50).locator(".name").innerText(), "film-99949.mkv");
  assert.equal(
    await page.evaluate(() => document.activeElement.textContent),
    "film-99949.mkv",
    "the focus is on the first new row",
  );
  assert.ok(
    mock.requests.every(
      (asked) => !asked.startsWith("GET /api/downloads") || Number(/limit=(\d+)/.exec(asked)?.[1]) <= 200,
    ),
  );

  const failed = section(page, "failed");
  await failed.getByRole("button", { name: "Show more" }).click();
  await eventually(async () => assert.equal(await failed.locator(".row").count(), 100));
  assert.equal(await failed.getByRole("button", { name: "Show more" }).isVisible(), false);
});

test("a_page_goes_on_where_its_last_row_was_removed_or_has_moved", async (t) => {
  const mock = new Mock();
  for (let number = 0; number < 120; number += 1)
    mock.add({ filename: `film-${number}.mkv`, status: "completed", updated_at: time(1e12 + number) });
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  const names = section(page, "done").locator(".row .name");
  const more = section(page, "done").getByRole("button", { name: "Show more" });
  const last = async () => mock.remove(Number(/film-(\d+)/.exec(await names.last().innerText())[1]) + 1);
  await last();
  await more.click();
  await eventually(async () => assert.ok((await names.count()) >= 99));
  await last();
  mock.refuse("GET /api/downloads?status=completed", 500, "Bug", "this is a bug in regrip");
  await more.click();
  await sees(section(page, "done"), "this is a bug in regrip");
  await more.click();
  await eventually(async () => assert.ok((await names.count()) >= 118));
  const shown = await names.allInnerTexts();
  assert.equal(new Set(shown).size, shown.length, "none twice");
  assert.ok(shown.includes("film-0.mkv"));
  assert.equal(await section(page, "done").getByText("this is a bug").count(), 0);
});

test("trouble_of_the_server_is_shown_while_it_lasts", async (t) => {
  const mock = await new Mock().start();
  mock.troubles = [
    {
      what: "configuration",
      message: "config.jsonc was not taken, the old one stays in force: line 3: downloads.retryBaseDelayMs is -1",
      since: new Date().toISOString(),
    },
  ];
  const page = await open(t, browser, mock);
  await sees(page.locator("#troubles"), "the old one stays in force");
  mock.troubles = [];
  await page.locator("#troubles").waitFor({ state: "hidden" });
});

test("workers_that_share_the_ledger_are_listed_with_what_they_drive", async (t) => {
  const mock = await new Mock().start();
  const now = new Date().toISOString();
  const worker = (host, state, names) => ({
    id: host,
    host,
    pid: 7,
    address: "10.0.0.1:5225",
    version: "0.1.0",
    state,
    permits: 3,
    started_at: now,
    seen_at: now,
    leases: names.map((filename, number) => ({ id: number + 1, filename, claimed_at: now, ends_in_ms: 20000 })),
    leases_count: names.length,
    trouble: state === "waiting" ? "the storage does not answer" : null,
  });
  const page = await open(t, browser, mock);
  assert.equal(await page.locator("#workers").isHidden(), true);
  mock.workers = [worker("alpha", "working", ["film.mkv"]), worker("<b>beta</b>", "lost", [])];
  await sees(page.locator("#workers"), "alpha 7");
  await sees(page.locator("#workers"), "film.mkv");
  await sees(page.locator("#workers"), "<b>beta</b> 7");
  assert.equal(await page.locator("#workers .bad").innerText(), "lost");
  mock.workers = [worker("gamma", "waiting", [])];
  await sees(page.locator("#workers"), "the storage does not answer");
  assert.equal(await page.locator("#workers .bad").innerText(), "waiting");
});

test("many_stubs_are_shown_by_pages", async (t) => {
  const mock = new Mock();
  mock.stubs = Array.from({ length: 1200 }, (_, number) => ({
    stub_name: `${number}.torrent`,
    name: `stub ${number}`,
    peer_id: "x",
    peer_name: null,
    item_id: "1",
    size: 7,
    found_at: time(1e12),
    attempts: 0,
    error: null,
    next_try_at: null,
  }));
  const page = await open(t, browser, await mock.start());
  await sees(page.locator("#stubs"), "1,200");
  await sees(page.locator("#stubs"), "no peer x is configured");
  assert.equal(await page.locator("#stubs li").count(), 50);
  await page.locator("#stubs").getByRole("button", { name: "Show more" }).click();
  assert.equal(await page.locator("#stubs li").count(), 100);
});

test("a_thousand_new_downloads_at_once_cost_few_requests", async (t) => {
  const mock = await new Mock().start();
  const page = await open(t, browser, mock);
  await sees(page, "No downloads yet");
  const reads = mock.requests.length;
  for (let number = 0; number < 1000; number += 1) mock.emit("queued", mock.add({ filename: `new-${number}.mkv` }).id);
  await sees(section(page, "queued"), "1,000");
  assert.ok(mock.requests.length - reads < 20, `${mock.requests.length - reads} requests`);
});
