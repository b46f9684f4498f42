// The package in Node.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { lstat } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import bytes from "./core-bytes.js";
import { isUrl } from "./checks.js";
import { Cookies } from "./cookies.js";
import { initSync } from "./core.js";
import { FileLedger } from "./ledgers/file.js";
import { loadBy } from "./load.js";
import { lock } from "./lock-file.js";
import { besides, nameOf, partPath, placeOf } from "./paths.js";
import { on } from "./regrip.js";
import { FileSink } from "./sinks/file.js";
import { StreamSink } from "./sinks/stream.js";

/** The module is in the JavaScript, so that a bundle needs nothing beside it. */
function read() {
  initSync({ module: Buffer.from(bytes, "base64") });
}

loadBy(read);

let boot;

/** Changes with every boot: as long as it is the same, what was written outlives its process. */
function bootId() {
  try {
    boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    // Other systems have no boot id; then only synced bytes count in another process.
    boot = `process ${crypto.randomUUID()}`;
  }
  return boot;
}

const platform = {
  places: "a path, a file: URL, a WritableStream",
  sinkFor(to, folder = ".") {
    if (to instanceof WritableStream) return { sink: new StreamSink(to) };
    if (typeof to !== "string" && !isUrl(to)) return { sink: to };
    const name = nameOf("to", to);
    const sink = new FileSink(isAbsolute(name) ? name : `${resolve(nameOf("folder", folder))}/${name}`);
    return { path: sink.name, sink };
  },
  ledgerFor: ({ folder }) => new FileLedger(folder),
  isFile: (sink) => sink instanceof FileSink,
  partOf: partPath,
  beside: besides,
  lock: (path, folder = ".") => lock(placeOf(resolve(nameOf("folder", folder)), path)),
  exists: (path) =>
    lstat(path).then(
      () => true,
      () => false,
    ),
  newHasher(algorithm) {
    const hash = createHash(algorithm);
    // Its state cannot be saved: a resume in another process reads the part again.
    const hasher = { update: (chunk) => hash.update(chunk), finish: () => hash.digest("hex") };
    return { hasher, restored: false };
  },
  whenOnline: () => undefined,
  redirectsByHand: true,
  cookies: new Cookies(),
  // Only Node's own `fetch` adds it to a range by itself, and would send it twice.
  get addsIdentity() {
    return !("Bun" in globalThis || "Deno" in globalThis);
  },
  // No preflight from here.
  maySendIfRange: () => true,
  bootId,
};

const made = /* @__PURE__ */ on(platform);
export const Engine = /* @__PURE__ */ (() => made.Engine)();
export const download = /* @__PURE__ */ (() => made.download)();
export const resumableFetch = /* @__PURE__ */ (() => made.resumableFetch)();
export { FileLedger, FileSink };
export * from "./common.js";
