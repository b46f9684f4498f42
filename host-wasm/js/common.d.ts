// What Node and browsers have in common. `node.d.ts` and `web.d.ts` add what only one of them has.

/** Times in milliseconds, sizes in bytes; all of them whole numbers from 0. Named as in the configuration of `regrip serve`. */
export interface Knobs {
  /** Downloads whose bytes move at once. Default 3, at least 1. */
  maxConcurrentDownloads?: number;
  /** Attempts in a row without progress, the first included. Default 5, at least 1. */
  maxDownloadAttempts?: number;
  /** Attempts without progress over the life of a download. Default 1000. */
  maxTotalAttempts?: number;
  /** Default 1000. 0: no wait. */
  retryBaseDelayMs?: number;
  /** No wait is longer, `Retry-After` included. Default 60 000. */
  retryMaxDelayMs?: number;
  /** Default 30 000. `fetch` does not tell connecting from waiting for headers: the two timeouts are added up. */
  connectTimeoutMs?: number;
  /** Default 60 000. */
  headersTimeoutMs?: number;
  /** Longest stand-still of a body. Default 60 000. */
  idleTimeoutMs?: number;
  /** Less than this over `lowSpeedWindowMs` is a stall. Default 1024; 0 is off. */
  lowSpeedBytesPerSec?: number;
  /** Default 120 000. */
  lowSpeedWindowMs?: number;
  /** Larger files are refused. Default 100 GiB. */
  maxDownloadBytes?: number;
  /** So many bytes are compared on a resume for which no ETag vouches. Default 65 536; 0 is off. */
  resumeOverlapBytes?: number;
  /**
   * An attempt that moves the furthest offset by this many bytes or more, and by at least a sixteenth of what it received,
   * made progress: the attempts in a row and the backoff start anew. Default 65 536; 0: never.
   */
  progressResetBytes?: number;
  /** 4xx statuses worth another attempt, for example 408 and 425. */
  extraRetryStatuses?: number[];
  /** What to do where the destination exists. Default `overwrite`. `rename` takes `file.1.bin`, `file.2.bin` and so on. */
  onExists?: "overwrite" | "fail" | "rename";
}

/**
 * Where bytes go. Every method may answer at once or with a promise; they are called one at a time. What a sink cannot do
 * it does not have, and is never asked for:
 * without `read` a resume that no ETag vouches for starts over; without `truncate` a download that would have to start over
 * fails instead (`Disk`); without `flush` nothing counts as durable before the end.
 */
export interface Sink {
  /** Names the destination: the same URL and name take up the same download. A sink without a name is its own destination. */
  readonly name?: string;
  /** Its bytes outlive the process or page, under that name: the ledger keeps a row for it. */
  readonly persistent?: boolean;
  /** The bytes that are there. Called first, so it opens what has to be opened. */
  size(): number | Promise<number>;
  /** Takes a chunk at `at`, which is where the bytes end. The chunk is the sink's to keep. */
  write(chunk: Uint8Array, at: number): void | Promise<void>;
  /** Bytes that are there, to be compared with the source; fewer where they end. */
  read?(at: number, length: number): Uint8Array | Promise<Uint8Array>;
  /** How many of the last bytes `read` can return, if not all. */
  readonly readBackBytes?: number;
  /** Cuts the bytes to `size`. Missing: a download that would have to start over fails. */
  truncate?(size: number): void | Promise<void>;
  /** All that was written is durable when this is done. */
  flush?(): void | Promise<void>;
  /**
   * All bytes are there: give them their final name. Without `replace`, throw an error with code EEXIST where it is taken.
   * After that nothing fails the download any more: return the error of what goes wrong then. It becomes a warning.
   */
  commit?(replace: boolean): void | Error | Promise<void | Error>;
  /** The bytes are not wanted any more. Missing: `truncate(0)`. */
  remove?(): void | Promise<void>;
  /** The attempt is over, well or not. The next call may be `size` again. */
  close?(): void | Promise<void>;
}

/** Bytes in memory. They can be read when the download is completed. */
export class MemorySink implements Sink {
  constructor(name?: string);
  readonly name?: string;
  /** All bytes so far, as one array. */
  bytes(): Uint8Array;
  size(): number;
  write(chunk: Uint8Array, at: number): void;
  read(at: number, length: number): Uint8Array;
  truncate(size: number): void;
  flush(): void;
  commit(): void;
}

/**
 * A stream takes bytes and never gives them back. The last `resumeOverlapBytes` are kept to be compared; where the
 * download would have to start over after the first byte it fails instead. The stream is closed when all bytes are there,
 * and aborted when the download ends without them.
 */
export class StreamSink implements Sink {
  constructor(stream: WritableStream<Uint8Array>, options?: { keepBytes?: number });
  size(): number;
  write(chunk: Uint8Array, at: number): Promise<void>;
  read(at: number, length: number): Uint8Array;
  flush(): Promise<void>;
  commit(): Promise<void>;
}

/** What is known of a download, as the ledger keeps it. */
export interface DownloadRecord {
  /** As long as this engine lives. */
  id: number;
  url: string;
  path: string;
  status: "queued" | "downloading" | "waiting" | "committing" | "failed" | "cancelled";
  /** Bytes in the part at the last checkpoint. */
  bytes: number;
  expectedBytes?: number;
  attempts: number;
  restarts: number;
  code?: string;
  error?: string;
}

/** Keeps the records of downloads. When `save` is done the record is durable. */
export interface Ledger {
  load(path: string): Promise<object | undefined>;
  save(path: string, record: object): void | Promise<void>;
  remove(path: string): void | Promise<void>;
  /** All records of downloads that are not completed. */
  list(): Promise<object[]>;
}

/** Records that live as long as the process or page. */
export class MemoryLedger implements Ledger {
  load(path: string): Promise<object | undefined>;
  save(path: string, record: object): void;
  remove(path: string): void;
  list(): Promise<object[]>;
}

export interface Summary {
  id: number;
  url: string;
  /** Where the bytes are. With `rename` not where they were meant to be. */
  path: string;
  bytes: number;
  attempts: number;
  restarts: number;
  /** Where one was asked for. */
  sha256?: string;
  /** What failed after the file got its name, for example a folder that cannot be synced. */
  warning?: string;
}

export type RestartReason =
  | "part_oversize"
  | "part_changed"
  | "content_range_mismatch"
  | "validator_changed"
  | "overlap_mismatch"
  | "range_ignored"
  | "range_not_satisfiable"
  | "digest_mismatch";

export interface Failure {
  bytes: number;
  attempts: number;
  restarts: number;
  class: "transient" | "permanent";
  code: string;
  error: string;
  advice?: string;
}

/** `at` and `until` are milliseconds since 1970; `url` is without query. */
export type DownloadEvent = { id: number; at: number; url: string; path: string } & (
  | { event: "queued" }
  | { event: "started"; attempt: number; from: number }
  | { event: "headers"; expectedBytes?: number; source?: "content_range" | "content_length" | "release_size"; mismatch: boolean }
  | { event: "progress"; bytes: number; total?: number }
  | { event: "restart"; reason: RestartReason; discardedBytes: number }
  | { event: "retrying"; attempt: number; delayMs: number; askedBy: "jitter" | "retry_after"; class: "transient"; error: string }
  /** `until` is missing where nobody can know: the machine is offline. */
  | { event: "waiting"; until?: number; why: string }
  | { event: "completed"; bytes: number; attempts: number; restarts: number; sha256?: string; warning?: string }
  | ({ event: "failed" | "cancelled" } & Failure)
);

/** All events have these; which of them are there depends on `event`. */
export type AnyDownloadEvent = DownloadEvent & { bytes?: number; total?: number };

/** What a download rejects with. */
export class RegripError extends Error {
  /** `AbortError` where a signal or `cancel` ended it. */
  readonly name: "RegripError" | "AbortError";
  /** As the ledger of the native regrip spells it: `Network`, `Status`, `PartLocked`, `DiskFull`, … */
  readonly code: string;
  readonly class: "transient" | "permanent";
  /** Attempts over the download's life. */
  readonly attempts: number;
  readonly restarts?: number;
  /** Bytes that are kept. */
  readonly bytes?: number;
  /** What the server asked for, if it did. */
  readonly retryAfterMs?: number;
  readonly status?: number;
  /** What a person can do about it. */
  readonly advice?: string;
  /** What `fetch` or the sink threw. */
  readonly cause?: unknown;
}

export interface JobOptions {
  /** Hex: the download fails unless this is the file's SHA-256. `true`: compute it, and compare it with `Repr-Digest`. */
  sha256?: string | true;
  /** The size by another source. It counts where the server names none; where the two differ the server's does, and an event says so. */
  expectedBytes?: number;
  /** Sent with every request for this file, also after a redirect as `fetch` does it. Never kept: a resume in another process needs them again. */
  headers?: HeadersLike;
  /** Ends the download; the bytes are kept, and the next call goes on from them. */
  signal?: AbortSignal;
  /** What it throws is ignored. */
  onEvent?: (event: AnyDownloadEvent) => void;
  /** Take up a part that the ledger knows nothing of, after comparing its end with the source. */
  adoptPart?: boolean;
}

export type HeadersLike = Record<string, string> | Iterable<readonly [string, string]>;

export interface EngineOptions extends Knobs {
  /** Instead of the platform's own. */
  ledger?: Ledger;
  /** Instead of the global one. It must not decode bodies and not cache. */
  fetch?: typeof fetch;
  /** Is told of every event of every download. */
  onEvent?: (event: AnyDownloadEvent) => void;
}

/** A download under way: an async iterator of its events, which throws a `RegripError` where it does not complete. */
export interface Download extends AsyncIterable<AnyDownloadEvent> {
  /** Resolves when the file is whole and at its place. Nobody has to wait for it. */
  readonly done: Promise<Summary>;
  /** Calls it off; the bytes are kept. */
  cancel(): void;
}

export interface ResumeOptions {
  /** Headers are not kept: those of each download, by its URL. Without them one that had some fails as `CredentialsMissing`. */
  headers?: (url: string) => HeadersLike | undefined;
  signal?: AbortSignal;
  onEvent?: (event: AnyDownloadEvent) => void;
}

/** Downloads that share permits and a ledger. */
export interface EngineBase<To> {
  start(job: { url: string | URL; to: To } & JobOptions): Download;
  download(url: string | URL, to: To, options?: JobOptions): Promise<Summary>;
  /** Starts what an earlier page or process left unfinished, and resolves to it. */
  resumeUnfinished(options?: ResumeOptions): Promise<Download[]>;
  /** What is under way or was left unfinished, failed or cancelled. */
  list(): Promise<DownloadRecord[]>;
  /** Calls a download off; the bytes are kept. */
  cancel(id: number): Promise<void>;
  /** Takes up a failed or cancelled one with fresh bounds. */
  retry(id: number, options?: JobOptions): Promise<Download>;
  /** Forgets a download that is not under way, and removes its part. */
  remove(id: number): Promise<void>;
  /** Takes other knobs into use: permits at once, the rest from each next attempt on. */
  configure(knobs: Knobs): Promise<void>;
}

/**
 * Loads the WebAssembly module. Everything that is asynchronous does so by itself, when first needed. `source`: a URL, a
 * Response, the bytes, or a WebAssembly.Module.
 */
export function load(source?: string | object): Promise<void>;

// ---- the primitives alone ----

export interface RetryOptions<E = unknown> {
  /** The first included. Default 5. 0, NaN and fractions are refused (RangeError) before the operation is called. */
  maxAttempts?: number;
  /** Default 1000. 0: no wait. */
  baseDelayMs?: number;
  /** Default 60 000. */
  maxDelayMs?: number;
  /** Default `isTransient`. */
  isRetryable?: (error: E) => boolean;
  /** A delay in milliseconds that replaces the jitter, capped at `maxDelayMs`. Default: the error's `retryAfterMs`. */
  retryAfter?: (error: E) => number | null | undefined;
  /** Default `setTimeout`. */
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** From 0 up to and without 1. Default `Math.random`. */
  random?: () => number;
  onRetry?: (retry: { attempt: number; delayMs: number; askedBy: "jitter" | "retry_after"; error: E }) => void;
  /** Ends it with the signal's reason, also during a wait. */
  signal?: AbortSignal;
}

/** Runs the operation, which is told its attempt (the first is 1), until it succeeds, fails for good, or its attempts are used up. */
export function retry<T, E = unknown>(operation: (attempt: number) => T | Promise<T>, options?: RetryOptions<E>): Promise<Awaited<T>>;

/** Counting, first come first served. */
export class Semaphore {
  /** A RangeError where it is no whole number from 1. */
  constructor(permits: number);
  /** Waits for a permit. */
  acquire(options?: { signal?: AbortSignal }): Promise<Permit>;
  /** Runs it under a permit, which is given back whatever comes. */
  run<T>(work: () => T | Promise<T>, options?: { signal?: AbortSignal }): Promise<Awaited<T>>;
  /** More are handed out at once; when there are fewer, those in use stay valid. */
  resize(permits: number): void;
  /** Permits in use. */
  readonly used: number;
  readonly waiting: number;
}

export interface Permit {
  /** Gives it back; a second time does nothing. Also by `using`, where there is `Symbol.dispose`. */
  release(): void;
}

/** The wait after attempt `attempt` (the first is 1): uniform from 0 to min(maxDelayMs, baseDelayMs · 2^(attempt−1)). In a browser after `load()`. */
export function backoffDelay(attempt: number, options?: { baseDelayMs?: number; maxDelayMs?: number; random?: () => number }): number;

/** A `Retry-After` in milliseconds; null where there is none or it is malformed. `now`: milliseconds since 1970, or a Date. In a browser after `load()`. */
export function parseRetryAfter(value: string | null | undefined, now?: number | Date): number | null;

/** Whether another attempt makes sense: by an error's `class`, else by its `status`, else by its name and code. In a browser after `load()` where it has a status. */
export function isTransient(error: unknown): boolean;
