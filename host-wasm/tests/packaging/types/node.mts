// What a program in Node may write, and what it may not.
import {
  type AnyDownloadEvent,
  type Ledger,
  type Sink,
  Engine,
  FileLedger,
  FileSink,
  MemoryLedger,
  MemorySink,
  RegripError,
  Semaphore,
  StreamSink,
  backoffDelay,
  download,
  isTransient,
  load,
  parseRetryAfter,
  retry,
} from "regrip";

export async function downloads(signal: AbortSignal): Promise<number> {
  const summary = await download(new URL("https://host/film"), "film", { sha256: true, maxDownloadAttempts: 8, signal, headers: { "x-key": "1" } });
  const digest: string | undefined = summary.sha256;
  await download("https://host/film", new MemorySink(), { fetch, ledger: new MemoryLedger(), onEvent: (event) => told(event) });
  await download("https://host/film", new StreamSink(new WritableStream<Uint8Array>(), { keepBytes: 0 }));
  await download("https://host/film", new WritableStream<Uint8Array>(), { headers: new Headers() });
  await download("https://host/film", new FileSink("film"), { headers: [["x-key", "1"]] });

  const engine = new Engine({ maxConcurrentDownloads: 3, onExists: "rename", folder: "films", ledger: new FileLedger("films") });
  const started = engine.start({ url: "https://host/film", to: new URL("file:///film") });
  for await (const event of started) told(event);
  started.cancel();
  for (const resumed of await engine.resumeUnfinished({ headers: (url: string) => ({ "x-key": url }) })) await resumed.done;
  for (const { id, status } of await engine.list()) if (status === "failed") await (await engine.retry(id)).done;
  const slowly = async (ms: number, signal?: AbortSignal): Promise<void> => void [ms, signal?.aborted];
  await retry(() => 1, { sleep: slowly });
  await engine.configure({ retryMaxDelayMs: 1 });
  return (await started.done).bytes + (digest?.length ?? 0);
}

function told(event: AnyDownloadEvent): string {
  switch (event.event) {
    case "started":
      return `${event.attempt} ${event.from.toFixed()}`;
    case "restart":
      return event.reason === "overlap_mismatch" ? `${event.discardedBytes}` : event.reason;
    case "retrying":
      return event.askedBy === "retry_after" ? event.error : event.class;
    case "waiting":
      return event.until === undefined ? event.why : event.until.toFixed();
    case "failed":
    case "cancelled":
      return event.code;
    default:
      return (event.bytes ?? 0).toFixed();
  }
}

export async function primitives(): Promise<void> {
  await load();
  const length: number = await retry(async (attempt: number) => "x".repeat(attempt).length, { maxAttempts: 3, onRetry: ({ askedBy, delayMs }) => void [askedBy, delayMs.toFixed()] });
  const permits = new Semaphore(length);
  const text: string = await permits.run(() => "done");
  using permit = await permits.acquire({ signal: AbortSignal.timeout(text.length) });
  permit.release();
  const wait: number | null = parseRetryAfter("3", new Date());
  backoffDelay(1, { random: () => wait ?? 0 });
  try {
    await retry(() => 1);
  } catch (error) {
    if (error instanceof RegripError && error.class === "transient") error.retryAfterMs?.toFixed();
    isTransient(error);
  }
}

export const ownSink: Sink = { size: () => 0, write: async (chunk, at) => void chunk.subarray(at) };
export const ownLedger: Ledger = { load: async () => undefined, save: () => {}, remove: () => {}, list: async () => [] };

export async function mistakes(engine: Engine): Promise<void> {
  // @ts-expect-error: an unknown knob
  new Engine({ maxAttempts: 3 });
  // @ts-expect-error: no such policy
  new Engine({ onExists: "replace" });
  // @ts-expect-error: a digest is text or true
  await download("https://host/film", "film", { sha256: false });
  // @ts-expect-error: there is nothing to download to
  await download("https://host/film");
  // @ts-expect-error: a sink can at least write
  await download("https://host/film", { size: () => 0 });
  // @ts-expect-error: `to` belongs to the job
  engine.start({ url: "https://host/film" });
  // @ts-expect-error: a stream of text takes no bytes
  await download("https://host/film", new WritableStream<string>());
  // @ts-expect-error: the engine's own option
  await engine.download("https://host/film", "film", { maxDownloadAttempts: 3 });
  // @ts-expect-error: a number
  new Semaphore("3");
  // @ts-expect-error: nothing to run
  await retry();
  // @ts-expect-error: only where it is a restart
  for await (const event of engine.start({ url: "https://host/film", to: "film" })) event.reason.trim();
  // @ts-expect-error: facts are not to be changed
  new RegripError().code = "Mine";
}
