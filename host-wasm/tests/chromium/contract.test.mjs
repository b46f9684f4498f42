// The core's contract of a store on the browser's private files: by synchronous handles in the worker, and by createWritable.
import assert from "node:assert/strict";
import { test } from "node:test";
import { STORE_EXCEPTIONS } from "../contract/exceptions.mjs";
import { open, prepareBrowser } from "./browser.mjs";

prepareBrowser("contract");

for (const worker of [true, false]) {
  test(`private files keep the contract of a store, ${worker ? "in a worker" : "by createWritable"}`, async () => {
    const page = await open();
    const broken = await page.evaluate(async (worker) => {
      const { OpfsSink } = await import("/contract/web.js");
      const { newHasher } = await import("/contract/sha256.js");
      const { Subject, check, promises } = await import("/contract/subject.js");
      const root = await navigator.storage.getDirectory();
      const subject = new Subject({
        platform: { bootId: () => "a boot", maySendIfRange: () => false, newHasher },
        sinkFor: (path) => new OpfsSink(path, { worker }),
        put: async (name, bytes) => {
          const writable = await (await root.getFileHandle(name, { create: true })).createWritable();
          await writable.write(bytes);
          await writable.close();
        },
        content: async (name) => {
          const handle = await root.getFileHandle(name).catch(() => {});
          return handle && new Uint8Array(await (await handle.getFile()).arrayBuffer());
        },
      });
      const broken = {};
      for (const promise of await promises("store")) {
        await check("store", promise, subject).catch((why) => (broken[promise] = why));
      }
      return broken;
    }, worker);
    assert.deepEqual(Object.keys(broken).sort(), STORE_EXCEPTIONS.opfs.toSorted(), JSON.stringify(broken));
  });
}
