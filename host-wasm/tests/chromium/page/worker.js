// The package in a worker of the page's own: it has the synchronous handles itself.
import { download } from "/pkg/web.js";

addEventListener("message", async ({ data: [url, to] }) => {
  postMessage(await download(url, to, { retryBaseDelayMs: 1, sha256: true }));
});
