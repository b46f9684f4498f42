// The package in browsers.
import { bootId } from "./boot.js";
import { loadBy } from "./load.js";
import { IndexedDbLedger } from "./ledgers/indexeddb.js";
import { MemoryLedger } from "./ledgers/memory.js";
import { on } from "./regrip.js";
import { newHasher } from "./sha256.js";
import { HandleSink } from "./sinks/handle.js";
import { OpfsSink } from "./sinks/opfs.js";
import { existing, removeFile as remove } from "./sinks/private-file.js";
import { StreamSink } from "./sinks/stream.js";
import init from "./core.js";

loadBy(whenOnlineAgain);

/** Loads the module; if the network is down, as soon as it is up again. */
async function whenOnlineAgain() {
  for (;;) {
    const wasOnline = navigator.onLine !== false;
    try {
      return await init({ module_or_path: new URL("./core_bg.wasm", import.meta.url) });
    } catch (error) {
      // Of an attempt that began without a network the failure says nothing, even if there is one by now.
      const online = platform.whenOnline();
      if (!online && wasOnline) throw error;
      await online;
    }
  }
}

/** A file the person chose has one sink, and with it what is known of its bytes. */
const chosen = new WeakMap();

/** URLs that lead to another origin, or may do. */
const elsewhere = new Set();

/** Locked names within this page, if there are no Web Locks. */
const held = new Set();

const platform = {
  places: "a name, a file handle, a WritableStream",
  sinkFor(to) {
    if (to === "") throw new TypeError("to is empty, expected a name");
    if (typeof to === "string") return { path: to, sink: new OpfsSink(to) };
    if (to instanceof WritableStream && !("createWritable" in to)) return { sink: new StreamSink(to) };
    if (typeof to?.createWritable === "function") {
      if (!chosen.has(to)) chosen.set(to, new HandleSink(to));
      return { sink: chosen.get(to) };
    }
    if (to?.kind === "directory") throw new TypeError("`to` is a folder: give a handle of a file in it");
    return { sink: to };
  },
  isFile: (sink) => sink instanceof OpfsSink,
  beside: (path) => [`${path}.part`],
  ledgerFor: () => ("indexedDB" in globalThis ? new IndexedDbLedger() : new MemoryLedger()),
  lock,
  exists: async (path) => (await existing(path)) !== undefined,
  newHasher,
  whenOnline() {
    if (navigator.onLine !== false) return undefined;
    return new Promise((online) => addEventListener("online", online, { once: true }));
  },
  // To another origin it causes a preflight, which many servers refuse.
  maySendIfRange: (url) => new URL(url).origin === globalThis.location?.origin && !elsewhere.has(url),
  sendNoIfRange: (url) => elsewhere.add(url),
  bootId,
};

/** One writer to a name, in all tabs of this origin. */
function lock(path) {
  const name = `regrip:${path}`;
  const locked = () => Object.assign(new Error(`${path} is being downloaded by another tab or download`), { code: "PartLocked" });
  if (!navigator.locks) {
    if (held.has(name)) return Promise.reject(locked());
    held.add(name);
    return Promise.resolve({ unlock: () => held.delete(name) });
  }
  return new Promise((got, failed) => {
    const over = navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      if (!lock) throw locked();
      return new Promise((unlock) => got({ unlock: () => (unlock(), over) }));
    });
    over.catch(failed);
  });
}

/** A finished file. */
export async function openFile(name) {
  const handle = await existing(name);
  if (!handle) throw new DOMException(`${name} is not there`, "NotFoundError");
  return handle.getFile();
}

/** Removes a finished file. */
export async function removeFile(name) {
  await remove(name);
}

/** Hands a finished file to the person. */
export async function saveAs(name, { suggestedName = name.split("/").at(-1), picker = true } = {}) {
  if (picker && "showSaveFilePicker" in globalThis) {
    try {
      // First, while the click that called us still counts.
      const handle = await showSaveFilePicker({ suggestedName });
      await (await openFile(name)).stream().pipeTo(await handle.createWritable());
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      throw error;
    }
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await openFile(name));
  link.download = suggestedName;
  link.click();
  // The browser reads it after this turn, and says not when it is through.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return true;
}

const made = /* @__PURE__ */ on(platform);
export const Engine = /* @__PURE__ */ (() => made.Engine)();
export const download = /* @__PURE__ */ (() => made.download)();
export const resumableFetch = /* @__PURE__ */ (() => made.resumableFetch)();
export { HandleSink, IndexedDbLedger, OpfsSink };
export * from "./common.js";
