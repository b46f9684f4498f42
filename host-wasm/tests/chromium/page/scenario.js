// A scenario of `tests/scenarios` in the page: one file in the private file system.
import { drive } from "/tests/scenarios/drive.js";

const { fetch } = globalThis;
const ledger = new regrip.IndexedDbLedger();

/** Puts a file there, or a folder where there are no bytes. */
export async function put(path, base64) {
  const [folder, name] = await placeOf(path);
  if (base64 === undefined) return void (await folder.getDirectoryHandle(name, { create: true }));
  const writable = await (await folder.getFileHandle(name, { create: true })).createWritable();
  await writable.write(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)));
  await writable.close();
}

/** Drives it. `heldAt`: after how many bytes of a body the server waits until they were read. */
export async function run(scenario, path, { url, digests, later, heldAt }) {
  // In place of the browser's own, so that the package takes it for that.
  globalThis.fetch = (...asked) => watched(asked, heldAt);
  try {
    // Anew, for a page remembers which URLs refused If-Range.
    const { Engine } = await import(`/pkg/web.js?${path}`);
    return await drive(Engine, scenario, { url, to: path, digests, later });
  } finally {
    globalThis.fetch = fetch;
  }
}

/**
 * When a line breaks, a browser forgets what the page has not read yet. So the server waits before a break, and goes on when
 * it is told that the page has what was sent before.
 */
async function watched(asked, heldAt) {
  const response = await fetch(...asked);
  const { body } = response;
  if (!body || heldAt.length === 0) return response;
  const getReader = body.getReader.bind(body);
  body.getReader = () => {
    const reader = getReader();
    let bytes = 0;
    const read = async () => {
      const piece = await reader.read();
      if (!piece.done) bytes += piece.value.length;
      if (!piece.done && heldAt.includes(bytes)) await goOn(response.url);
      return piece;
    };
    return { read, cancel: (reason) => reader.cancel(reason) };
  };
  return response;
}

/** By another name of the server: the connection that was read may be idle for the browser, and the server pauses on it. */
async function goOn(url) {
  const go = new URL("/_faultd/go", url);
  go.hostname = "insecure.test";
  await fetch(go, { method: "POST" });
}

/** Length and digest of a file; undefined if there is none. */
export async function content(path) {
  const [folder, name] = await placeOf(path);
  const handle = await folder.getFileHandle(name).catch(() => {});
  const file = await handle?.getFile();
  return file && { length: file.size, sha256: await sha256(file) };
}

export const record = (path) => ledger.load(path);

/** What is beside the file. */
export async function beside(path) {
  const [folder] = await placeOf(path);
  return names(folder);
}

/** Leaves nothing of it. */
export async function clear(path) {
  await ledger.remove(path);
  const [folder] = path.split("/");
  await placeOf(path);
  await (await navigator.storage.getDirectory()).removeEntry(folder, { recursive: true });
}

async function placeOf(path) {
  const [folder, name] = path.split("/");
  const root = await navigator.storage.getDirectory();
  return [await root.getDirectoryHandle(folder, { create: true }), name];
}
