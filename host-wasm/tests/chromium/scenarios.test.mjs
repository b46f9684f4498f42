// The scenarios of `tests/scenarios`, which every host runs, on the built package in a page. `scenarios/different.json` has
// what a browser does otherwise.
import { after, before, describe } from "node:test";
import { startFaultd } from "../faultd.mjs";
import { defineTests } from "../scenarios/suite.mjs";
import { launch, pages } from "./browser.mjs";

/** How many pages run at a time, each with its own servers and private files. */
const PAGES = 2;

let browser, expired;
before(async () => {
  expired = await startFaultd("--tls", "expired");
  browser = await launch();
});
after(async () => {
  await Promise.all(idle.map(end));
  await browser.close();
  await expired.stop();
});

describe("in a page", { concurrency: PAGES }, () => defineTests({ name: "chromium", held: true, open }));

const idle = [];
let places = 0;

/** A name in a folder of its own in a page's private file system. */
async function open(scenario) {
  const one = idle.pop() ?? (await begin());
  const { context, page, here, elsewhere } = one;
  const path = `${++places}/${scenario.download?.name ?? "film.mkv"}`;
  const ask = (what, ...asked) => page.evaluate(async ([what, asked]) => (await import("/scenario.js"))[what](...asked), [what, asked]);
  return {
    servers: { here: here.origin, elsewhere: elsewhere.origin, expired: expired.origin },
    put: (suffix, there) => ask("put", path + suffix, there instanceof Uint8Array ? there.toString("base64") : undefined),
    drive: (scenario, { url, digests, later }) => ask("run", scenario, path, { url, digests, later, heldAt: heldAt(scenario) }),
    content: (suffix) => ask("content", path + suffix),
    record: () => ask("record", path),
    leftovers: async () => (await ask("beside", path)).filter((name) => name !== path.split("/")[1] && !name.endsWith(".part")),
    async close() {
      await ask("clear", path);
      await context.clearCookies();
      // A request that was cancelled may reach its server late, and would be taken for the first one of the next scenario.
      if (scenario.cancel_at) await end(one);
      else idle.push(one);
    },
  };
}

/** After how many bytes of a body the server pauses. */
function heldAt({ peer, more, elsewhere }) {
  const files = [peer, ...Object.values(more), ...Object.values(elsewhere)];
  return files.flatMap(({ answers, then }) => [...answers, then]).flat().flatMap(({ pause }) => (pause ? [pause.after] : []));
}

async function begin() {
  const [here, elsewhere] = await Promise.all([startFaultd(...pages("tests/scenarios")), startFaultd()]);
  const context = await browser.newContext();
  const page = await context.newPage();
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.goto(`${here.origin}/`);
  await page.waitForFunction(() => globalThis.ready);
  await page.evaluate(() => regrip.load());
  return { here, elsewhere, context, page };
}

async function end({ here, elsewhere, context }) {
  await context.close();
  await Promise.all([here.stop(), elsewhere.stop()]);
}
