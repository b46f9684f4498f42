// Chromium: a file over loopback to the private file system.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launchOnDisk } from "../tests/chromium/browser.mjs";
import { startFaultd } from "../tests/faultd.mjs";
import { rounds, table } from "./rounds.mjs";

const folder = (path) => fileURLToPath(new URL(path, import.meta.url));

export async function chromium({ runs, bytes }) {
  const server = await startFaultd("--pages", `/pkg/=${folder("../pkg")}`, "--pages", `/=${folder("page")}`);
  const profile = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "regrip-bench-"));
  // A profile of its own: the private files of a private window are in memory, and slower.
  const context = await launchOnDisk(profile);
  try {
    const page = await context.newPage();
    await page.goto(`${server.origin}/`);
    await page.waitForFunction(() => globalThis.ways);
    const way = (name) => () => page.evaluate(([name, url]) => globalThis.ways[name](url), [name, `${server.origin}/random/${bytes}`]);
    const ways = {
      "`fetch`, `pipeTo` of `createWritable`": way("piped"),
      "plain JavaScript with the same sink: synchronous handle in a worker, batches of 1 MiB": way("plain"),
      "regrip in the page": way("regrip"),
      "plain JavaScript, all of it in a worker": way("plainInWorker"),
      "regrip in a worker": way("regripInWorker"),
      "regrip in the page with `sha256: true`": way("hashed"),
    };
    const times = await rounds(ways, runs);
    const [piping, plain, ours, plainInWorker, oursInWorker] = Object.keys(ways);
    return table(times, [
      { of: ours, to: piping },
      { of: ours, to: plain, most: 1.1 },
      { of: oursInWorker, to: plainInWorker, most: 1.1 },
    ]);
  } finally {
    await context.close();
    await server.stop();
    await rm(profile, { recursive: true, force: true });
  }
}
