// The package in Node.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { lstat } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { initSync } from "./core.js";
import { FileLedger } from "./ledgers/file.js";
import { loadBy } from "./load.js";
import { lock } from "./lock-file.js";
import { on } from "./regrip.js";
import { FileSink } from "./sinks/file.js";
import { StreamSink } from "./sinks/stream.js";

function read() {
  initSync({ module: readFileSync(new URL("./core_bg.wasm", import.meta.url)) });
}

loadBy({ sync: read, async: read });

let boot;

/** Changes with every boot: as long as it is the same, what was written outlives its process. */
function bootId() {
  try {
    boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    // Elsewhere nothing tells; only what was synced counts in another process then.
    boot = `process ${crypto.randomUUID()}`;
  }
  return boot;
}

const platform = {
  sinkFor(to, folder = ".") {
    if (to instanceof WritableStream) return { sink: new StreamSink(to) };
    if (typeof to !== "string" && !(to instanceof URL)) return { sink: to };
    const path = resolve(folder, to instanceof URL ? fileURLToPath(to) : to);
    return { path, sink: new FileSink(path) };
  },
  ledgerFor: ({ folder }) => new FileLedger(folder),
  lock,
  exists: (path) =>
    lstat(path).then(
      () => true,
      () => false,
    ),
  newHasher() {
    const hash = createHash("sha256");
    // Its state cannot be saved: a resume in another process reads the part again.
    const hasher = { update: (chunk) => hash.update(chunk), finish: () => hash.digest("hex") };
    return { hasher, restored: false };
  },
  whenOnline: () => undefined,
  redirectsByHand: true,
  // No preflight from here.
  maySendIfRange: () => true,
  bootId,
};

export const { Engine, download } = on(platform);
export { FileLedger, FileSink };
export * from "./common.js";
