// Downloads with the npm package, one after the other: a job is a line of JSON, `{"abort":true}` ends the one under way. Answers
// with a line for each attempt, and one for the end.
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { Engine } from "../../../host-wasm/pkg/node.js";

const say = (line) => writeSync(1, `${JSON.stringify(line)}\n`);
let aborted;

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  if (job.abort) aborted.abort();
  else run(job);
}

async function run({ url, to, folder, sha256, overwrite, maxAttempts, connections }) {
  aborted = new AbortController();
  const { signal } = aborted;
  // An engine of its own: nothing is left of earlier runs but files.
  const engine = new Engine({
    folder,
    maxDownloadAttempts: maxAttempts,
    connections,
    retryBaseDelayMs: 0,
    retryMaxDelayMs: 1,
    onExists: overwrite ? "overwrite" : "fail",
    onEvent: ({ event }) => event === "started" && say({ event }),
  });
  try {
    await engine.download(url, to, { sha256: sha256 ?? undefined, signal });
    say({ exit: 0 });
  } catch (error) {
    say({ exit: signal.aborted ? null : 1, code: `${error.code}: ${error.message}` });
  }
}
