// Node: a file over loopback to a disk in memory, where there is one.
import { createWriteStream, existsSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { download } from "../pkg/node.js";
import { startFaultd } from "../tests/faultd.mjs";
import { rounds, table, timed } from "./rounds.mjs";

const RANGE = { headers: { range: "bytes=0-" } };

export async function node({ runs, bytes }) {
  const server = await startFaultd();
  const folder = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "regrip-bench-"));
  const url = `${server.origin}/random/${bytes}`;
  const path = join(folder, "file");
  /** Each begins without the file. */
  const way = (work) => async () => {
    const took = await timed(() => work(url, path));
    await rm(path);
    return took;
  };
  const ways = {
    "`fetch`, `await fh.write`": way(plain),
    "`fetch`, `pipeline` to a write stream": way(piped),
    "the best plain JavaScript: `writev` of 1 MiB beside the reading": way(best),
    regrip: way((url, path) => download(url, path)),
    "`fetch`, `await fh.write`, `node:crypto`": way(hashed),
    "regrip with `sha256: true`": way((url, path) => download(url, path, { sha256: true })),
  };
  try {
    const times = await rounds(ways, runs);
    const [first, piping, fastest, ours, hashing, oursHashing] = Object.keys(ways);
    return table(times, [
      { of: ours, to: first, most: 0.9 },
      { of: ours, to: piping },
      { of: ours, to: fastest, most: 1.05 },
      { of: oursHashing, to: hashing },
    ]);
  } finally {
    await server.stop();
    await rm(folder, { recursive: true });
  }
}

async function plain(url, path) {
  const response = await fetch(url, RANGE);
  const file = await open(path, "w");
  for await (const chunk of response.body) await file.write(chunk);
  await file.close();
}

async function piped(url, path) {
  const response = await fetch(url, RANGE);
  await pipeline(Readable.fromWeb(response.body), createWriteStream(path));
}

/** As much care for speed as for regrip, and none for anything else. */
async function best(url, path) {
  const response = await fetch(url, RANGE);
  const file = await open(path, "w");
  let batch = [];
  let size = 0;
  let written = Promise.resolve();
  for await (const chunk of response.body) {
    batch.push(chunk);
    size += chunk.length;
    if (size < 1 << 20) continue;
    await written;
    written = file.writev(batch);
    batch = [];
    size = 0;
  }
  await written;
  if (size > 0) await file.writev(batch);
  await file.sync();
  await file.close();
}

async function hashed(url, path) {
  const { createHash } = await import("node:crypto");
  const hash = createHash("sha256");
  const response = await fetch(url, RANGE);
  const file = await open(path, "w");
  for await (const chunk of response.body) {
    hash.update(chunk);
    await file.write(chunk);
  }
  await file.close();
  hash.digest("hex");
}
