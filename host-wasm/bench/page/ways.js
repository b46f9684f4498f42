// The ways to get a file into the private file system. Each takes a URL and resolves to its time in milliseconds; what it
// wrote is gone afterwards.
import * as regrip from "/pkg/web.js";

const BATCH = 1 << 20;

/** Plain JavaScript with the sink that the package uses: the page reads, a worker writes, one batch while the next fills. */
async function plain(url) {
  const worker = new Worker("/sink.js", { type: "module" });
  const answered = () => new Promise((resolve) => worker.addEventListener("message", ({ data }) => resolve(data), { once: true }));
  const response = await fetch(url, { headers: { range: "bytes=0-" }, cache: "no-store" });
  let batch = [];
  let size = 0;
  let at = 0;
  let written = Promise.resolve();
  const push = async () => {
    await written;
    written = answered();
    worker.postMessage({ chunks: batch, at }, batch.map(({ buffer }) => buffer));
    at += size;
    batch = [];
    size = 0;
  };
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    batch.push(value);
    size += value.length;
    if (size >= BATCH) await push();
  }
  await push();
  await written;
  written = answered();
  worker.postMessage({ end: true });
  await written;
  worker.terminate();
}

async function piped(url) {
  const file = await (await navigator.storage.getDirectory()).getFileHandle("file", { create: true });
  const response = await fetch(url, { headers: { range: "bytes=0-" }, cache: "no-store" });
  await response.body.pipeTo(await file.createWritable());
}

function inWorker(way) {
  return async (url) => {
    const worker = new Worker("/worker.js", { type: "module" });
    await new Promise((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = reject;
      worker.postMessage([way, url]);
    });
    worker.terminate();
  };
}

/** Its time; the file is removed outside of it. */
const timed = (way) => async (url) => {
  const begun = performance.now();
  await way(url);
  const took = performance.now() - begun;
  await (await navigator.storage.getDirectory()).removeEntry("file");
  return took;
};

globalThis.ways = {
  piped: timed(piped),
  plain: timed(plain),
  regrip: timed((url) => regrip.download(url, "file")),
  hashed: timed((url) => regrip.download(url, "file", { sha256: true })),
  plainInWorker: timed(inWorker("plain")),
  regripInWorker: timed(inWorker("regrip")),
};
