// Pictures of the dashboard, to look at: wide and narrow, light and dark.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { launch, visit, rowOf, sees } from "./browser.mjs";
import { Mock } from "./mock.mjs";
import { pages, run, scene } from "./scene.mjs";

const folder = process.argv[2];
await mkdir(folder, { recursive: true });
const browser = await launch();

// From the top, not so far down that it could not be looked at.
async function shot(page, name, width, scheme) {
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  const clip = { x: 0, y: 0, width, height: Math.min(height, width === 390 ? 1300 : 1000) };
  await page.screenshot({ path: join(folder, `${name}-${width}-${scheme}.png`), fullPage: true, clip });
}

for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    const options = {
      colorScheme,
      viewport: { width, height: width === 390 ? 740 : 900 },
      deviceScaleFactor: width === 390 ? 2 : 1,
      hasTouch: width === 390,
    };
    const mock = await scene();
    const { page } = await visit(browser, mock.origin, options);
    await sees(page, "Live");
    await run(mock, 10);
    await shot(page, "board", width, colorScheme);
    await page.getByLabel("Select Meridian").check();
    await page.getByLabel("Select A Quiet").check();
    await shot(page, "selected", width, colorScheme);
    await page.getByRole("button", { name: "Clear selection" }).click();
    await rowOf(page, "Meridian").locator(".name").click();
    await rowOf(page, "Meridian").locator("svg").waitFor();
    await shot(page, "timeline", width, colorScheme);
    await page.getByRole("button", { name: "Add a URL" }).first().click();
    await page.getByLabel("URL", { exact: true }).fill("https//files.example.org/film.mkv");
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await sees(page, "is not an http");
    await page.screenshot({ path: join(folder, `add-${width}-${colorScheme}.png`) });
    await page.getByRole("button", { name: "Close" }).click();
    await rowOf(page, "Harbour").getByRole("button", { name: "Remove" }).click();
    await page.screenshot({ path: join(folder, `remove-${width}-${colorScheme}.png`) });
    await page.getByRole("button", { name: "Keep it" }).click();
    await mock.stop();
    await sees(page, "Not connected");
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: join(folder, `lost-${width}-${colorScheme}.png`) });

    const beside = await pages();
    const side = await visit(browser, beside.origin, options);
    await sees(side.page, "Live");
    for (const name of ["Catalogue", "Peers", "Keys", "Servers"]) {
      await side.page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
      if (name === "Catalogue") await side.page.getByRole("button", { name: "Search" }).click();
      await side.page.locator(".page:visible li").first().waitFor();
      await shot(side.page, name.toLowerCase(), width, colorScheme);
    }
    await beside.stop();

    const empty = await new Mock({ key: "k" }).start();
    const other = await visit(browser, empty.origin, options);
    await sees(other.page, "Enter the API key");
    await shot(other.page, "login", width, colorScheme);
    await other.page.getByLabel("API key").fill("k");
    await other.page.getByRole("button", { name: "Log in" }).click();
    await sees(other.page, "No downloads yet");
    await shot(other.page, "empty", width, colorScheme);
    await empty.stop();
  }
}
await browser.close();
