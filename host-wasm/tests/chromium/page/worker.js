// The package in a worker of the page's own: it has the synchronous handles itself.
import { download } from "/pkg/web.js";

addEventListener("message", async ({ data: [url, to] }) => {
  const { code, sha256, attempts } = await download(url, to, { retryBaseDelayMs: 1, sha256: true }).catch((error) => error);
  postMessage({ code, sha256, attempts });
});
