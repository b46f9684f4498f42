// What compiles everywhere.
import { type Download, Engine, type Fetch, type JobOptions, MemorySink, Semaphore, type Sink, retry } from "regrip";
import { FileSink } from "regrip/node";
import { OpfsSink } from "regrip/web";

export const sinks: Sink[] = [new FileSink("film"), new OpfsSink("film")];

export async function everything(regripFetch: Fetch | undefined, digest: string | undefined): Promise<number> {
  const engine = new Engine({ maxConcurrentDownloads: undefined, fetch: regripFetch, onExists: undefined });
  const download: Download = engine.start({ url: "https://host/film", to: "film", sha256: digest, headers: undefined, signal: undefined, onEvent: undefined });
  for await (const event of download) if (event.event === "progress") break;
  const options: JobOptions = { sha256: digest };
  const { bytes } = await engine.download("https://host/film", new MemorySink(), options);
  for (const record of await engine.list()) {
    await (await engine.resume(record.id, { url: "https://host/film?signature=2", headers: [["x-key", "1"]] })).done;
    await engine.start(record).done;
    await engine.start({ ...record, sha256: digest }).done;
  }
  const sink: Sink = { size: () => 0, write: () => {} };
  await engine.download("https://host/film", sink);
  const permits = new Semaphore(1);
  {
    using permit = await permits.acquire({ signal: undefined });
    permit.release();
  }
  return bytes + (await retry(async (attempt) => attempt, { maxAttempts: undefined, signal: undefined }));
}
