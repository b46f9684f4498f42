// The worker that writes a page's private files: `sinks/opfs.js` starts it and talks to it.
import { SyncFile } from "./sinks/private-file.js";

const files = new Map();

addEventListener("message", async ({ data: { id, path, method, args } }) => {
  try {
    if (!files.has(path)) files.set(path, new SyncFile(path));
    const result = await files.get(path)[method](...args);
    if (method === "close" || method === "commit" || method === "remove") files.delete(path);
    postMessage({ id, result }, result instanceof Uint8Array ? [result.buffer] : []);
  } catch ({ name, message, code }) {
    postMessage({ id, error: { name, message, code: typeof code === "string" ? code : undefined } });
  }
});
