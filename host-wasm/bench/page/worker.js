// Both ways with all of it in one worker.
import { download } from "/pkg/web.js";

const ways = {
  regrip: (url) => download(url, "file"),
  async plain(url) {
    const root = await navigator.storage.getDirectory();
    const file = await (await root.getFileHandle("file", { create: true })).createSyncAccessHandle();
    const response = await fetch(url, { headers: { range: "bytes=0-" }, cache: "no-store" });
    const reader = response.body.getReader();
    for (let at = 0; ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      at += file.write(value, { at });
    }
    file.flush();
    file.close();
  },
};

addEventListener("message", async ({ data: [way, url] }) => {
  await ways[way](url);
  postMessage(true);
});
