// What Node and browsers have in common. `node.d.ts` and `web.d.ts` add what only one of them has, `index.d.ts` has both.
//
// It compiles with and without the types of the DOM and of Node: what the global classes are is asked of the project.
/// <reference lib="esnext.disposable" />

/** A class of the project's platform; without its types what is needed of it. */
type Global<Name extends string, Otherwise> = typeof globalThis extends { [name in Name]: { prototype: infer Instance } } ? Instance : Otherwise;

export type Signal = Global<"AbortSignal", { readonly aborted: boolean; readonly reason: any }>;
export type Address = string | Global<"URL", { readonly href: string }>;

/** A `WritableStream` of bytes. */
export interface ByteStream {
  getWriter(): {
    readonly closed: Promise<unknown>;
    readonly ready: Promise<unknown>;
    write(chunk: Uint8Array): Promise<void>;
    close(): Promise<void>;
    abort(reason?: any): Promise<void>;
  };
}

/**
 * A `fetch` of one's own: of a browser or Node, `node-fetch`, or any function like it. Its body may be a web stream, a stream of
 * Node or another async iterable of `Uint8Array`, or, without a body, what `arrayBuffer()` resolves to. It must not decode
 * bodies and not cache.
 */
export type Fetch = (
  url: string,
  init: { headers: Global<"Headers", any>; signal: Signal; cache: "no-store"; redirect: "manual" | "follow" },
) => Promise<FetchResponse>;

export interface FetchResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body?: unknown;
  readonly url?: string;
  readonly redirected?: boolean;
  arrayBuffer?(): Promise<ArrayBuffer>;
}

/** Times in milliseconds, sizes in bytes; all of them whole numbers from 0. Named as in the configuration of `regrip serve`. */
export interface Knobs {
  /** Downloads whose bytes move at once. Default 3, at least 1. */
  maxConcurrentDownloads?: number | undefined;
  /** Attempts in a row without progress, the first included. Default 5, at least 1. */
  maxDownloadAttempts?: number | undefined;
  /** Attempts without progress over the life of a download. Default 1000. */
  maxTotalAttempts?: number | undefined;
  /** Default 1000. 0: no wait. */
  retryBaseDelayMs?: number | undefined;
  /** No wait is longer, `Retry-After` included. Default 60 000. */
  retryMaxDelayMs?: number | undefined;
  /** Default 30 000. `fetch` does not tell connecting from waiting for headers: the two timeouts are added up. */
  connectTimeoutMs?: number | undefined;
  /** Default 60 000. */
  headersTimeoutMs?: number | undefined;
  /** Longest stand-still of a body. Default 60 000. */
  idleTimeoutMs?: number | undefined;
  /** Less than this over `lowSpeedWindowMs` is a stall. Default 1024; 0 is off. */
  lowSpeedBytesPerSec?: number | undefined;
  /** Default 120 000. */
  lowSpeedWindowMs?: number | undefined;
  /** Larger files are refused. Default 100 GiB. */
  maxDownloadBytes?: number | undefined;
  /** So many bytes are compared on a resume for which no ETag vouches. Default 65 536; 0: without a strong ETag or date nothing is appended, the whole file is compared. */
  resumeOverlapBytes?: number | undefined;
  /**
   * An attempt that moves the furthest offset by this many bytes or more, and by at least a sixteenth of what it received,
   * made progress: the attempts in a row and the backoff start anew. Default 65 536; 0: never.
   */
  progressResetBytes?: number | undefined;
  /** 4xx statuses worth another attempt, for example 408 and 425. */
  extraRetryStatuses?: readonly number[] | undefined;
  /** What to do where the destination exists. Default `overwrite`. `rename` takes `file.1.bin`, `file.2.bin` and so on. */
  onExists?: "overwrite" | "fail" | "rename" | undefined;
}

/**
 * Where bytes go. Every method may answer at once or with a promise; they are called one at a time. What a sink cannot do
 * it does not have, and is never asked for:
 * without `read` a resume that no ETag vouches for starts over; without `truncate` a download that would have to start over
 * fails instead (`NotResumable`); without `flush` nothing counts as durable before the end.
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
  /** Called before anything is asked of the server. An error with code `DestinationRefused` or `NameRefused` ends the download. */
  admit?(): void | Promise<void>;
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
 * download would have to start over after the first byte it fails instead (`NotResumable`). The stream is closed when all bytes are there,
 * and aborted when the download ends without them.
 */
export class StreamSink implements Sink {
  constructor(stream: ByteStream, options?: { keepBytes?: number | undefined });
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
  /** Without its query. With `path` it is enough to go on: `start(record)`. */
  url: string;
  path: string;
  status: "queued" | "downloading" | "waiting" | "committing" | "failed" | "cancelled";
  /** Bytes in the part. */
  bytes: number;
  expectedBytes?: number;
  /** Names of the headers that it was asked for with, which a resume needs again. */
  headerNames?: string[];
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
  /** If it was asked for. */
  sha256?: string;
  /** `algorithm:hex`, if one of another algorithm was asked for. */
  digests?: string[];
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
  | "range_refused"
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
  | { event: "completed"; bytes: number; attempts: number; restarts: number; sha256?: string; digests?: string[]; warning?: string }
  | ({ event: "failed" | "cancelled" } & Failure)
);

/** All events have these; which of them are there depends on `event`. */
export type AnyDownloadEvent = DownloadEvent & { bytes?: number; total?: number };

/** What a download rejects with, unless a signal was aborted, or the reader of a stream cancelled, with a reason: that one. */
export class RegripError extends Error {
  /** `AbortError` if a signal without a reason of its own or `cancel` ended it. */
  readonly name: "RegripError" | "AbortError";
  /**
   * As the ledger of the native regrip spells it: `Network`, `Status`, `PartLocked`, `DiskFull`, … Among them
   *
   * - `UnexpectedPage`: a page, such as a login form, in place of the file; the bytes are kept.
   * - `Shrunk` (transient): the server's file is smaller than the bytes so far; believed if the next attempt finds the same.
   * - `NotResumable`: the bytes so far can neither be proven to belong to the server's file nor be taken back.
   * - `Tls`: no TLS version, cipher suite or certificate in common (Node).
   */
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
  sha256?: string | true | undefined;
  /**
   * `sha256:…`, `sha512:…`, `sha1:…` or `md5:…`, then the hexadecimal digits that the file must have; an algorithm alone has its
   * digest computed. Several may be given, and all must match.
   */
  digest?: string | string[] | undefined;
  /** The size by another source. It counts where the server names none; where the two differ the server's does, and an event says so. */
  expectedBytes?: number | undefined;
  /** Sent with every request for this file, except `Accept-Encoding` and `Range`, which are set. Never kept: a resume in another process needs them again. */
  headers?: HeadersLike | undefined;
  /** Ends the download for this call; the bytes are kept, and the next call goes on from them. */
  signal?: Signal | undefined;
  /** What it throws is ignored. */
  onEvent?: ((event: AnyDownloadEvent) => void) | undefined;
  /** Take up a part that the ledger knows nothing of, after comparing its end with the source. */
  adoptPart?: boolean | undefined;
}

export type HeadersLike = Record<string, string> | Iterable<readonly [string, string]> | Global<"Headers", never>;

export interface EngineOptions extends Knobs {
  /** Instead of the platform's own. */
  ledger?: Ledger | undefined;
  /** Instead of the global one. */
  fetch?: Fetch | undefined;
  /** Is told of every event of every download. */
  onEvent?: ((event: AnyDownloadEvent) => void) | undefined;
}

/**
 * A download under way: an async iterator of its events, which throws what `done` rejects with. Leaving the loop (`break`)
 * ends only the iteration; the download goes on until it is done or `cancel()` is called.
 */
export interface Download extends AsyncIterable<AnyDownloadEvent> {
  /** As in `list()`. Undefined if it failed before it had one. */
  readonly id: number | undefined;
  /** Where the bytes go. With `rename` it may change until the first event. */
  readonly path: string | undefined;
  /** Resolves when the file is whole and at its place. Nobody has to wait for it. */
  readonly done: Promise<Summary>;
  /** Gives it up for this caller; without other callers the transfer ends, and the bytes are kept. */
  cancel(): void;
}

export interface ResumeOptions {
  /** Headers are not kept: those of each download, by its URL. Without them one that had some fails as `CredentialsMissing`. */
  headers?: (url: string) => HeadersLike | undefined;
  signal?: Signal | undefined;
  onEvent?: ((event: AnyDownloadEvent) => void) | undefined;
}

/** Downloads that share permits and a ledger. */
export interface EngineBase<To> {
  /**
   * A call for a file that is under way already (the same URL and destination) joins it: one transfer, and for each call its own
   * `done`, `sha256`, `digest`, `signal`, `onEvent` and events. Requests have the headers of the first call that still waits.
   *
   * A URL without its query stands for the unfinished download of that destination, if it differs by nothing else.
   */
  start(job: { url: Address; to: To } & JobOptions): Download;
  /** Goes on with one that `list()` shows. */
  start(record: Pick<DownloadRecord, "url" | "path"> & Partial<DownloadRecord> & Omit<JobOptions, "expectedBytes">): Download;
  download(url: Address, to: To, options?: JobOptions): Promise<Summary>;
  /** Starts what an earlier page or process left unfinished, and resolves to it. */
  resumeUnfinished(options?: ResumeOptions): Promise<Download[]>;
  /** What is under way or was left unfinished, failed or cancelled. */
  list(): Promise<DownloadRecord[]>;
  /** Calls a download off; the bytes are kept. */
  cancel(id: number): Promise<void>;
  /** Takes up a failed or cancelled one with fresh bounds. */
  retry(id: number, options?: JobOptions): Promise<Download>;
  /**
   * Goes on with one that is not under way, whatever ended it. `url`: instead of the one it began with; `to`: the sink, if its bytes
   * are in one of the program's own.
   */
  resume(id: number, options?: JobOptions & { url?: Address | undefined; to?: To | undefined }): Promise<Download>;
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
  maxAttempts?: number | undefined;
  /** Default 1000. 0: no wait. */
  baseDelayMs?: number | undefined;
  /** Default 60 000. */
  maxDelayMs?: number | undefined;
  /** Default `isTransient`. */
  isRetryable?: ((error: E) => boolean) | undefined;
  /** A delay in milliseconds that replaces the jitter, capped at `maxDelayMs`. Default: the error's `retryAfterMs`. */
  retryAfter?: ((error: E) => number | null | undefined) | undefined;
  /** Default `setTimeout`. */
  sleep?: ((ms: number, signal?: Signal) => Promise<void>) | undefined;
  /** From 0 up to and without 1. Default `Math.random`. */
  random?: (() => number) | undefined;
  onRetry?: ((retry: { attempt: number; delayMs: number; askedBy: "jitter" | "retry_after"; error: E }) => void) | undefined;
  /** Ends it with the signal's reason, also during a wait. */
  signal?: Signal | undefined;
}

/** Runs the operation, which is told its attempt (the first is 1), until it succeeds, fails for good, or its attempts are used up. */
export function retry<T, E = unknown>(operation: (attempt: number) => T | Promise<T>, options?: RetryOptions<E>): Promise<Awaited<T>>;

/** Counting, first come first served. */
export class Semaphore {
  /** A RangeError where it is no whole number from 1. */
  constructor(permits: number);
  /** Waits for a permit. */
  acquire(options?: { signal?: Signal | undefined }): Promise<Permit>;
  /** Runs it under a permit, which is given back whatever comes. */
  run<T>(work: () => T | Promise<T>, options?: { signal?: Signal | undefined }): Promise<Awaited<T>>;
  /** More are handed out at once; when there are fewer, those in use stay valid. */
  resize(permits: number): void;
  /** Permits in use. */
  readonly used: number;
  readonly waiting: number;
}

export interface Permit {
  /** Gives it back; a second time does nothing. */
  release(): void;
  /** The same, for `using`. */
  [Symbol.dispose](): void;
}

/** The wait after attempt `attempt` (the first is 1): uniform from 0 to min(maxDelayMs, baseDelayMs · 2^(attempt−1)). In a browser after `load()`. */
export function backoffDelay(attempt: number, options?: { baseDelayMs?: number | undefined; maxDelayMs?: number | undefined; random?: (() => number) | undefined }): number;

/** A `Retry-After` in milliseconds; null where there is none or it is malformed. `now`: milliseconds since 1970, or a Date. In a browser after `load()`. */
export function parseRetryAfter(value: string | null | undefined, now?: number | Date): number | null;

/** Whether another attempt makes sense: by an error's `class`, else by its `status`, else by its name and code. In a browser after `load()` where it has a status. */
export function isTransient(error: unknown): boolean;
