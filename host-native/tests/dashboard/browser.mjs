// A browser for the tests, and what every test asks of a page: no error, nothing against its policy, nothing from elsewhere.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const QUIET = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launch() {
  // As root, Chromium's own sandbox does not work.
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: process.env.REGRIP_CHROMIUM ?? "/usr/bin/chromium", args: [...QUIET, ...sandbox] });
}

/** Opens the page of a server for a test, which fails where anything went wrong in it; both end with the test. */
export async function open(t, browser, server, options = {}) {
  t.after(() => server.stop());
  const { page, context, wrong } = await visit(browser, server.origin, options);
  t.after(async () => {
    await context.close();
    assert.deepEqual(wrong, []);
  });
  return page;
}

export async function visit(browser, origin, options = {}) {
  const context = await browser.newContext({
    locale: "en-GB",
    timezoneId: "UTC",
    viewport: { width: 1400, height: 900 },
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("console", (message) => {
    // Unsuccessful responses appear here too; tests cause them.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) wrong.push(message.text());
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !url.startsWith("data:")) wrong.push(`asked elsewhere: ${url}`);
  });
  await page.goto(origin);
  return { page, context, wrong };
}

/** Waits until a text is to be seen. */
export const sees = (place, text) => place.getByText(text).first().waitFor();

/** Tries until it holds, or fails with what it failed with last. */
export async function eventually(test, within = 15000) {
  const end = Date.now() + within;
  for (;;) {
    try {
      return await test();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The row of a download, by the beginning of its name. */
export const rowOf = (page, name) => page.locator(".row").filter({ has: page.locator(".name", { hasText: name }) });

/** What axe finds against WCAG 2.2 AA and good practice, contrast included. */
export async function breaches(page) {
  // Not through the page's own policy: as the browser's own script.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target} ${node.failureSummary}`));
}

/** How much wider than the window the page is, and what sticks out. */
export const tooWide = (page) =>
  page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll("body *")].filter(
      (one) => one.checkVisibility() && !one.closest("svg") && one.getBoundingClientRect().right > width + 0.5,
    );
    return { scroll: document.documentElement.scrollWidth - width, out: out.map((one) => one.outerHTML.slice(0, 120)) };
  });
