// The page with the real server: its routes, fields, events and policy are the ones that the mock has.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, launch, open, rowOf, sees } from "./browser.mjs";
import { Real, isMissing, logIn } from "./real.mjs";

let browser;
before(async () => {
  browser = isMissing ? null : await launch();
});
after(() => browser?.close());

const SCRIPT = {
  files: {
    "/slow.mkv": {
      versions: [
        { seed: 1, size: 6_000_000, etag: '"v1"' },
        { seed: 2, size: 6_000_000, etag: '"v2"' },
      ],
      // Breaks, then another file is there, then it goes on to the end.
      answers: [[{ cut: { after: 2_000_000 } }], [{ replace: { version: 1 } }]],
    },
    "/endless.mkv": { versions: [{ seed: 3, size: 1_000_000_000, etag: '"e"' }] },
  },
  bytes_per_second: 2_000_000,
};

async function add(page, url, fields = {}) {
  await page.getByRole("button", { name: "Add a URL" }).first().click();
  await page.getByLabel("URL", { exact: true }).fill(url);
  for (const [label, value] of Object.entries(fields)) await page.getByLabel(label).fill(value);
  await page.getByRole("button", { name: "Add", exact: true }).click();
}

test("a_download_from_login_to_removal_with_the_real_server", { skip: isMissing }, async (t) => {
  const server = await new Real(SCRIPT).start();
  const page = await open(t, browser, server);
  await logIn(page, server);
  await sees(page, "No downloads yet");
  await sees(page, `${server.folder}/watch`);
  await sees(page.locator("#peers"), "cellar");

  await add(page, server.url("/slow.mkv"));
  const row = rowOf(page, "slow.mkv");
  await page.locator("section.running").locator(row).waitFor();
  await sees(row, /[kM]B\/s/);
  await row.locator(".name").click();
  await page.locator("section.done").locator(row).waitFor({ timeout: 30000 });
  await sees(row.locator("ol"), "Started over");
  await sees(row.locator("ol"), "the file was replaced on the server");
  await sees(row.locator("figcaption"), "bytes discarded");
  await sees(row.locator("dl"), "SHA-256");

  await row.getByRole("button", { name: "Remove" }).click();
  await sees(page.locator("#removing"), `The file is kept: ${server.folder}/completed/slow.mkv`);
  await page.locator("#removing").getByRole("button", { name: "Remove" }).click();
  await row.waitFor({ state: "detached" });
});

test("errors_cancel_retry_and_a_stub_with_the_real_server", { skip: isMissing }, async (t) => {
  const server = await new Real(SCRIPT).start();
  const page = await open(t, browser, server);
  await logIn(page, server);
  const wrong = (name) => eventually(async () => assert.notEqual(await page.locator(`#${name}-wrong`).innerText(), ""));

  await add(page, "nonsense");
  await wrong("url");
  await page.getByRole("button", { name: "Close" }).click();
  await add(page, server.url("/endless.mkv"), { "File name": "../up.mkv" });
  await wrong("filename");
  await page.getByLabel("File name").fill("big.mkv");
  await page.getByLabel("SHA-256").fill("abc");
  await page.keyboard.press("Enter");
  await wrong("sha256");
  await page.getByLabel("SHA-256").fill("");
  await page.keyboard.press("Enter");

  const row = rowOf(page, "big.mkv");
  await page.locator("section.running").locator(row).waitFor();
  await sees(row, /\d+ %/);
  await row.getByRole("button", { name: "Pause" }).click();
  await page.locator("section.paused").locator(row).waitFor();
  await row.getByRole("button", { name: "Resume" }).click();
  await page.locator("section.running").locator(row).waitFor();
  await row.getByRole("button", { name: "Cancel" }).click();
  await page.locator("section.cancelled").locator(row).waitFor();
  await row.getByRole("button", { name: "Retry" }).click();
  await page.locator("section.running").locator(row).waitFor();
  await row.getByRole("button", { name: "Cancel" }).click();
  await page.locator("section.cancelled").locator(row).waitFor();

  await add(page, server.url("/missing.mkv"));
  await page.locator("section.failed").locator(rowOf(page, "missing.mkv")).waitFor();
  await sees(rowOf(page, "missing.mkv"), "the server answered 404");

  await server.drop("Some Film");
  await page.locator("#stubs").getByText("Some Film").waitFor({ timeout: 30000 });
  await sees(page.locator("#stubs"), "from cellar");
  await sees(page.locator("#peers"), "connection failed");
  await sees(page.locator("#peers"), "not reachable");

  await page.getByRole("button", { name: "Log out" }).click();
  await sees(page, "Enter the API key");
});

test("a_killed_server_is_noticed", { skip: isMissing }, async (t) => {
  const server = await new Real(SCRIPT).start();
  const page = await open(t, browser, server);
  await logIn(page, server);
  await server.kill();
  await sees(page, "Not connected");
});
