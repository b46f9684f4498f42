// The pages beside the downloads: catalogue, peers, keys, servers; and all of them from a quick link to a finished file.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { breaches, eventually, launch, open, rowOf, sees, tooWide } from "./browser.mjs";
import { Mock, key, peer, server } from "./mock.mjs";
import { Real, isMissing, logIn } from "./real.mjs";
import { pages } from "./scene.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const button = (page, name) => page.getByRole("button", { name, exact: true });
const go = (page, name) => page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
const NAMES = ["Catalogue", "Peers", "Keys", "Servers"];

for (const colorScheme of ["light", "dark"]) {
  test(`axe_finds_nothing_in_any_page_in_the_${colorScheme}_and_none_is_wider_than_a_phone`, async (t) => {
    const mock = await pages();
    const page = await open(t, browser, mock, { colorScheme, viewport: { width: 390, height: 800 } });
    await sees(page, "Live");
    for (const name of NAMES) {
      await go(page, name);
      await page.locator(`#${name.toLowerCase()}-page`).waitFor();
      if (name === "Catalogue") await button(page, "Search").click();
      await page.locator(".page:not([hidden]) li").first().waitFor();
      assert.deepEqual(await breaches(page), [], name);
      assert.deepEqual(await tooWide(page), { scroll: 0, out: [] }, name);
    }
  });
}

test("each_page_is_reached_by_the_keyboard_and_by_its_address_and_says_where_one_is", async (t) => {
  const mock = await pages();
  const page = await open(t, browser, mock);
  await sees(page, "Live");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  for (const name of NAMES) {
    await page.getByRole("link", { name, exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.locator(`#${name.toLowerCase()}-page h2:focus`).waitFor();
    assert.equal(await page.locator("#pages [aria-current=page]").textContent(), name);
    assert.equal(await page.locator("#downloads").isVisible(), false);
    assert.equal(await page.locator(".page:visible").count(), 1);
  }
  await page.reload();
  await page.locator("#servers-page").waitFor();
  await page.locator("#servers-page li").first().waitFor();
  await page.goBack();
  await page.locator("#keys-page").waitFor();
  await go(page, "Downloads");
  await page.locator("#downloads").waitFor();
  assert.equal(await page.locator(".page:visible").count(), 0);
});

test("a_search_shows_what_peers_have_and_the_error_of_each_that_failed_and_fetches_for_the_right_server", async (t) => {
  const mock = new Mock();
  mock.peers = [peer("aaaa0001", "anna")];
  mock.servers = [server("Films"), server("Series", { type: "sonarr", category: "tv", registration: "failed" })];
  mock.releases = [
    { id: "aaaa0001:1", title: "<b>A & B</b> (2020)", size: 2e9, category: 2040 },
    { id: "aaaa0001:s:2", title: "Show S01E01", size: 1e9, category: 5040 },
  ];
  mock.failures = ["peer bob-2: no answer within 10 s -- late"];
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  await go(page, "Catalogue");
  await page.getByLabel("Kind").selectOption("Films");
  await page.getByLabel("Search the peers").fill("a b");
  await page.keyboard.press("Enter");
  await sees(page.locator("#catalogue-page"), "2 releases");
  assert.ok(mock.requests.includes("GET /torznab/api?t=movie&q=a+b&limit=500"), mock.requests.join());
  await sees(page.locator("#catalogue-page"), "peer bob-2: no answer within 10 s -- late");
  await sees(page.locator("#catalogue-page"), "<b>A & B</b> (2020)");
  await sees(page.locator("#catalogue-page"), "anna");
  await button(page, "Fetch <b>A & B</b> (2020)").click();
  await sees(page.locator("#catalogue-page li"), "added for Films: see Downloads");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Fetch <b>A & B</b> (2020)");
  await button(page, "Fetch Show S01E01").click();
  await sees(page.locator("#catalogue-page li"), "added: see Downloads");
  const added = (id, category) => ["POST /api/v2/torrents/add", { urls: `http://regrip:5225/torznab/download/${id}.torrent`, category }];
  assert.deepEqual(mock.bodies, [added("aaaa0001:1", "films"), added("aaaa0001:s:2", "")]);
  mock.refuse("POST /api/v2", 409, "Conflict", "no peer aaaa0001 is configured");
  await button(page, "Fetch Show S01E01").click();
  await sees(page.locator("#catalogue-page li"), "no peer aaaa0001 is configured");
  mock.releases = [];
  mock.failures = [];
  await button(page, "Search").click();
  await sees(page.locator("#catalogue-page"), "No releases found");
  assert.equal(await page.locator("#catalogue-page li").count(), 0);
  await mock.stop();
  await button(page, "Search").click();
  await sees(page.locator("#words-wrong"), "does not answer");
});

test("a_peer_is_added_by_its_link_once_it_was_confirmed_tested_and_removed", async (t) => {
  const mock = new Mock();
  mock.peers = [peer("aaaa0001", "anna", { reachable: false, error: "connection failed: refused" })];
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  await go(page, "Peers");
  const list = page.locator("#peers-page");
  await sees(list, "not reachable");
  const link = page.getByLabel("Quick link of a peer");
  await link.fill("nonsense");
  await page.keyboard.press("Enter");
  await sees(page.locator("#peer-link-wrong"), "begins with jack-link:v1:");
  assert.equal(await link.getAttribute("aria-invalid"), "true");
  await link.fill("jack-link:v1:abc");
  await page.keyboard.press("Enter");
  const dialog = page.locator("#removing");
  await sees(dialog, "https://berta.example · with the headers CF-Access");
  await button(page, "Cancel").click();
  assert.ok(!mock.bodies.some(([asked]) => asked === "POST /api/peers"));
  await button(page, "Add a peer").click();
  await button(page, "Add").click();
  await sees(list, "berta is added");
  assert.equal(await link.inputValue(), "");
  assert.deepEqual(mock.bodies.at(-1), ["POST /api/peers", { link: "jack-link:v1:abc" }]);
  await button(page, "Test berta").click();
  await sees(list, "answered, version 0.9.1");
  await button(page, "Test anna").click();
  await sees(list.locator("li .wrong"), "connection failed: refused");
  await button(page, "Remove anna").click();
  await button(page, "Keep it").click();
  assert.equal(mock.peers.length, 2);
  await button(page, "Remove anna").click();
  await button(page, "Remove").click();
  await button(page, "Remove anna").waitFor({ state: "detached" });
  assert.deepEqual(mock.peers.map(({ name }) => name), ["berta"]);
});

test("a_key_is_shown_once_and_nowhere_after_and_is_revoked", async (t) => {
  const mock = new Mock({ key: "k" });
  mock.keys = [key(1, "old", { expires_at: "2026-11-02T00:00:00.000Z" })];
  const page = await open(t, browser, await mock.start());
  await page.getByLabel("API key").fill("k");
  await page.keyboard.press("Enter");
  await sees(page, "Live");
  await go(page, "Keys");
  const list = page.locator("#keys-page");
  await sees(list, "expired");
  await button(page, "Make a key").click();
  await sees(page.locator("#key-name-wrong"), "a name is needed");
  await page.getByLabel("Name of the peer").fill("anna");
  await page.getByLabel("Expires").fill("2030-01-31");
  await button(page, "Make a key").click();
  const value = page.locator("#issued input");
  await eventually(async () => assert.equal(await value.inputValue(), "regrip_secret"));
  await button(page, "Done").click();
  await eventually(async () => assert.equal(await value.inputValue(), ""));
  assert.ok(!(await page.content()).includes("regrip_secret"));
  assert.deepEqual(mock.bodies.at(-1), ["POST /api/keys", { name: "anna", expires_at: "2030-01-31T23:59:59Z" }]);
  await page.getByLabel("Name of the peer").fill("bob");
  await page.keyboard.press("Enter");
  await eventually(async () => assert.equal(await value.inputValue(), "jack-link:v1:secret"));
  // A session that ends takes the key along.
  mock.forget();
  mock.cut();
  await sees(page, "Enter the API key");
  await eventually(async () => assert.equal(await value.inputValue(), ""));
  await page.getByLabel("API key").fill("k");
  await page.keyboard.press("Enter");
  await button(page, "Revoke anna").click();
  await button(page, "Revoke").click();
  await button(page, "Revoke anna").waitFor({ state: "detached" });
  await sees(list, "revoked");
});

test("a_server_shows_its_registration_with_the_whole_refusal_and_is_registered_again", async (t) => {
  const mock = new Mock();
  const refusal = '/api/v3/downloadclient was answered with 400: [{"propertyName":"Host","errorMessage":"Unable to connect"}]';
  mock.servers = [
    server("Films", { registration: "failed", error: refusal }),
    server("Other", { registration: "off", category: null, error: "regrip.internalUrl is not configured", tried_at: null }),
  ];
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  await go(page, "Servers");
  const list = page.locator("#servers-page");
  await sees(list, "registration failed");
  await sees(list, refusal);
  await sees(list, "regrip.internalUrl is not configured");
  await button(page, "Register again").click();
  await sees(list, "registered at 1 server, failed at 0");
  await eventually(async () => assert.equal(await list.getByText(refusal).count(), 0));
});

test("the_button_that_has_the_focus_keeps_it_while_the_list_is_read_again", async (t) => {
  const mock = new Mock();
  mock.peers = [peer("aaaa0001", "anna")];
  const page = await open(t, browser, await mock.start());
  await sees(page, "Live");
  await go(page, "Peers");
  await button(page, "Remove anna").focus();
  mock.peers = [peer("aaaa0001", "anna", { reachable: false, error: "cut" })];
  await sees(page.locator("#peers-page"), "not reachable");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Remove anna");
});

test("from_a_link_to_a_finished_file_with_two_real_servers", { skip: isMissing }, async (t) => {
  const friend = await new Real({ files: {} }).start({ share: true });
  t.after(() => friend.stop());
  const server = await new Real({ files: {} }).start();
  const page = await open(t, browser, friend);
  await logIn(page, friend);
  await go(page, "Keys");
  await page.getByLabel("Name of the peer").fill("me");
  await button(page, "Make a quick link").click();
  const made = page.locator("#issued input");
  await eventually(async () => assert.match(await made.inputValue(), /^jack-link:v1:/));
  const link = await made.inputValue();
  await button(page, "Done").click();
  await sees(page.locator("#keys-page"), "never used");

  const mine = await open(t, browser, server);
  await logIn(mine, server);
  await go(mine, "Peers");
  await mine.getByLabel("Quick link of a peer").fill(link);
  await mine.keyboard.press("Enter");
  await sees(mine.locator("#removing"), friend.origin);
  await button(mine, "Add").click();
  await sees(mine.locator("#peers-page"), "friend is added");
  await button(mine, "Test friend").click();
  await sees(mine.locator("#peers-page li"), "answered, version");
  await go(mine, "Catalogue");
  await button(mine, "Search").click();
  await sees(mine.locator("#catalogue-page"), "peer cellar: ");
  await button(mine, "Fetch Film (2020)").click();
  await sees(mine.locator("#catalogue-page li"), "added: see Downloads");
  await go(mine, "Downloads");
  await mine.locator("section.done").locator(rowOf(mine, "Film (2020).mkv")).waitFor({ timeout: 30000 });
  const [sent, got] = await Promise.all([
    readFile(join(friend.folder, "share", "Film (2020).mkv")),
    readFile(join(server.folder, "completed", "Film (2020).mkv")),
  ]);
  assert.ok(sent.equals(got));
  await go(page, "Peers");
  await go(page, "Keys");
  await button(page, "Revoke me").click();
  await button(page, "Revoke").click();
  await sees(page.locator("#keys-page"), "revoked");
  await go(mine, "Peers");
  await button(mine, "Test friend").click();
  await sees(mine.locator("#peers-page li .wrong"), "401");
});
