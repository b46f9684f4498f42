// What Node and browsers have in common. `node.d.ts` and `web.d.ts` add what only one of them has, `index.d.ts` has both.
//
// It compiles with and without the types of the DOM and of Node: what the global classes are is asked of the project.
import type { Signal } from "./retry.js";

/** A class of the project's platform or, if its types are missing, the part of it that is needed. */
type Global<Name extends string, Otherwise> = typeof globalThis extends { [name in Name]: { prototype: infer Instance } } ? Instance : Otherwise;

export type Address = string | Global<"URL", { readonly href: string; readonly protocol: string }>;

export * from "./retry.js";

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
 * Your own `fetch`: of a browser or Node, `node-fetch`, or any function like it. Its body may be a web stream, a stream of
 * Node or another async iterable of `Uint8Array`, or, without a body, what `arrayBuffer()` resolves to. It must neither decode
 * bodies nor cache.
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

/** Options of an engine. Times in milliseconds, sizes in bytes; whole numbers from 0, or from 1 for counts, timeouts and `lowSpeedWindowMs`. Named as in the configuration of `regrip serve`. */
export interface Knobs {
  /** Downloads that transfer at the same time. Default 3, at least 1. */
  maxConcurrentDownloads?: number | undefined;
  /**
   * Connections per download, 1 to 16. Default 1. `"auto"`: up to 4, as long as another one raises the rate by a quarter. Needs a
   * strong ETag and a known size; otherwise one connection is used. Bytes reach the sink in order; those ahead wait in memory (64 MiB at most per engine).
   */
  connections?: number | "auto" | undefined;
  /** Consecutive attempts without progress, including the first. Default 5, at least 1. */
  maxDownloadAttempts?: number | undefined;
  /** Attempts without progress over the life of a download. Default 1000. */
  maxTotalAttempts?: number | undefined;
  /** Default 1000. 0: no wait. */
  retryBaseDelayMs?: number | undefined;
  /** The longest wait, including `Retry-After`. Default 60 000. */
  retryMaxDelayMs?: number | undefined;
  /** Default 30 000. `fetch` cannot distinguish connecting from waiting for headers, so the sum of the two timeouts applies. */
  connectTimeoutMs?: number | undefined;
  /** Default 60 000. */
  headersTimeoutMs?: number | undefined;
  /** Longest time without data while reading a body. Default 60 000. */
  idleTimeoutMs?: number | undefined;
  /** A lower average over `lowSpeedWindowMs` is a stall. Default 1024; 0: off. */
  lowSpeedBytesPerSec?: number | undefined;
  /** Default 120 000. */
  lowSpeedWindowMs?: number | undefined;
  /** Larger files are refused. Default 100 GiB. */
  maxDownloadBytes?: number | undefined;
  /** Bytes to compare on a resume without a strong ETag. Default 65 536; 0: without a strong ETag or date nothing is appended and the whole file is compared. */
  resumeOverlapBytes?: number | undefined;
  /**
   * An attempt that moves the furthest offset by this many bytes or more, and by at least a sixteenth of what it received,
   * made progress: the count of consecutive attempts and the backoff start again. Default 65 536; 0: never.
   */
  progressResetBytes?: number | undefined;
  /** 4xx statuses worth another attempt, for example 408 and 425. */
  extraRetryStatuses?: Iterable<number> | undefined;
  /** What to do if the destination exists. Default `overwrite`. `rename` takes `file.1.bin`, `file.2.bin` and so on. */
  onExists?: "overwrite" | "fail" | "rename" | undefined;
}

/**
 * A destination for bytes. Every method may return at once or return a promise; calls never overlap. Leave out the methods
 * that a sink cannot support:
 * without `read` a resume without a strong ETag starts over; without `truncate` a download that would have to start over
 * fails instead (`NotResumable`); without `flush` nothing counts as durable before the end.
 */
export interface Sink {
  /** Names the destination: the same URL and name take up the same download. A sink without a name is its own destination. */
  readonly name?: string;
  /**
   * Its bytes outlive the process or page, under that name: the ledger keeps a row for it. In Node the row is `<name>.part.json` in the
   * engine's folder, with `/` and `%` in the name percent-encoded.
   */
  readonly persistent?: boolean;
  /** The current size in bytes. Called first, so open what must be opened here. */
  size(): number | Promise<number>;
  /** Appends a chunk; `at` is the current size. The sink may keep the chunk. */
  write(chunk: Uint8Array, at: number): void | Promise<void>;
  /** Reads bytes back, to compare them with the source; fewer at the end. */
  read?(at: number, length: number): Uint8Array | Promise<Uint8Array>;
  /** How many of the last bytes `read` can return, if not all. */
  readonly readBackBytes?: number;
  /** Truncates to `size`. If missing, a download that would have to start over fails. */
  truncate?(size: number): void | Promise<void>;
  /** Makes everything written so far durable. */
  flush?(): void | Promise<void>;
  /**
   * All bytes are written: give them their final name. Without `replace`, throw an error with code EEXIST if that name is taken.
   * Once the name is given, the download cannot fail any more: return a later error. It becomes a warning.
   */
  commit?(replace: boolean): void | Error | Promise<void | Error>;
  /** Deletes the bytes. Default: `truncate(0)`. */
  remove?(): void | Promise<void>;
  /** The attempt has ended, with or without success. The next call may be `size` again. */
  close?(): void | Promise<void>;
  /** Called before the first request. An error with code `DestinationRefused` or `NameRefused` ends the download. */
  admit?(): void | Promise<void>;
}

/** Bytes in memory. Read them after the download has completed. */
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
 * A stream cannot return its bytes. The last `resumeOverlapBytes` are kept for comparison; if the
 * download would have to start over after the first byte, it fails (`NotResumable`). The stream is closed when the download completes,
 * and aborted if it ends otherwise.
 */
export class StreamSink implements Sink {
  constructor(stream: ByteStream, options?: { keepBytes?: number | undefined });
  size(): number;
  write(chunk: Uint8Array, at: number): Promise<void>;
  read(at: number, length: number): Uint8Array;
  flush(): Promise<void>;
  commit(): Promise<void>;
}

/** The state of a download, as the ledger keeps it. */
export interface DownloadRecord {
  /** Valid as long as this engine exists. */
  id: number;
  /** Without its query. Together with `path` it is enough to continue: `start(record)`. */
  url: string;
  path: string;
  status: "queued" | "downloading" | "waiting" | "paused" | "committing" | "failed" | "cancelled";
  /** Bytes in the part. */
  bytes: number;
  expectedBytes?: number;
  /** Names of the request headers, which a resume needs again. */
  headerNames?: string[];
  /** Its bytes are in a sink of your own: it is continued by `resume(id, { to: sink })`. */
  ownSink?: true;
  attempts: number;
  restarts: number;
  code?: string;
  error?: string;
}

/** Keeps the records of downloads. When `save` has finished, the record is durable. */
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
  /** Where the file is. With `rename` it may differ from the requested path. */
  path: string;
  bytes: number;
  attempts: number;
  restarts: number;
  /** If it was requested and could be computed. */
  sha256?: string;
  /** `algorithm:hex`, if digests with other algorithms were requested. */
  digests?: string[];
  /** What failed after the file was renamed, for example the sync of its folder, or which requested digest could not be computed. */
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
  /** The speed is the average of the last seconds. Both are missing if they are unknown. */
  | { event: "progress"; bytes: number; total?: number; bytesPerSec?: number; etaSecs?: number }
  | { event: "restart"; reason: RestartReason; discardedBytes: number }
  | { event: "retrying"; attempt: number; delayMs: number; askedBy: "jitter" | "retry_after"; class: "transient" | "permanent"; error: string }
  /** `until` is missing if it is unknown: the machine is offline. */
  | { event: "waiting"; until?: number; why: string }
  | { event: "completed"; bytes: number; attempts: number; restarts: number; sha256?: string; digests?: string[]; warning?: string }
  | ({ event: "failed" | "cancelled" } & Failure)
);

/** All events, with the fields of any event as optional ones. */
export type AnyDownloadEvent = DownloadEvent & { bytes?: number; total?: number };

/** What a download rejects with, unless a signal was aborted or a stream's reader was cancelled with a reason: then with that reason. */
export class RegripError extends Error {
  /** `AbortError` if a signal without its own reason or `cancel` ended it. */
  readonly name: "RegripError" | "AbortError";
  /**
   * Spelled as by the native regrip: `Network`, `Status`, `PartLocked`, `DiskFull`, … Among them
   *
   * - `UnexpectedPage`: a page, such as a login form, instead of the file; the partial data is kept.
   * - `Shrunk` (transient): the server's file is smaller than the partial data; accepted if the next attempt finds the same.
   * - `NotResumable`: the partial data can neither be verified against the server's file nor be discarded.
   * - `Tls`: no common TLS version, cipher suite or certificate (Node).
   */
  readonly code: string;
  readonly class: "transient" | "permanent";
  /** Attempts over the life of the download. */
  readonly attempts: number;
  readonly restarts?: number;
  /** Partial data that is kept, in bytes. */
  readonly bytes?: number;
  /** The server's `Retry-After`, if it sent one. */
  readonly retryAfterMs?: number;
  readonly status?: number;
  /** What the user can do. */
  readonly advice?: string;
  /** What `fetch` or the sink threw. */
  readonly cause?: unknown;
}

export interface JobOptions {
  /** Hex: the download fails unless this is the file's SHA-256. `true`: compute it and compare it with `Repr-Digest`. */
  sha256?: string | true | undefined;
  /**
   * `sha256:…`, `sha512:…`, `sha1:…` or `md5:…`, followed by the hexadecimal digits that the file must have; an algorithm alone
   * computes its digest. If several are given, all must match. Where the bytes of a resumed sink cannot be read back, a digest that is given
   * has the download start over, and one that is only asked for is left out with a `warning`.
   */
  digest?: string | string[] | undefined;
  /** The size from another source. Used if the server sends none; if the two differ, the server's counts and an event reports it. */
  expectedBytes?: number | undefined;
  /** Sent with every request for this file, except `Accept-Encoding` and `Range`, which are set. Never stored: a resume in another process needs them again. */
  headers?: HeadersLike | undefined;
  /** Ends the download for this call; the partial data is kept, and the next call resumes from it. */
  signal?: Signal | undefined;
  /** Exceptions from it are ignored. */
  onEvent?: ((event: AnyDownloadEvent) => void) | undefined;
  /** Adopt a part file that the ledger does not know, after comparing its end with the source. */
  adoptPart?: boolean | undefined;
  /**
   * Other URLs of the same file. If a source fails for good, or has used up its attempts, the next one continues from the
   * bytes so far, after proving that it serves the same file. `headers` stay at the origin of the first URL.
   */
  mirrors?: Iterable<Address> | undefined;
  /**
   * Called if the server answers 401, 403 or 410: returns a new URL for the same file, such as one with a new signature, or
   * nothing. The download continues there, after proving that it is the same file; at most `maxDownloadAttempts` times in a row without new data.
   */
  onExpired?: ((expired: { url: string; status: number; path: string }) => Address | null | undefined | Promise<Address | null | undefined>) | undefined;
  /** Downloads that wait for a permit start by priority, the highest first, then in the order of their calls. A whole number, default 0. */
  priority?: number | undefined;
}

export type HeadersLike = Record<string, string> | Iterable<readonly [string, string]> | Global<"Headers", never>;

export interface EngineOptions extends Knobs {
  /** Default: the platform's own. */
  ledger?: Ledger | undefined;
  /** Default: the global one. */
  fetch?: Fetch | undefined;
  /** Called for every event of every download. */
  onEvent?: ((event: AnyDownloadEvent) => void) | undefined;
}

/**
 * A running download: an async iterator of its events, which throws what `done` rejects with. Leaving the loop (`break`)
 * ends only the iteration; the download continues until it ends or `cancel()` is called.
 */
export interface Download extends AsyncIterable<AnyDownloadEvent> {
  /** As in `list()`. Undefined if the download failed before it was accepted. */
  readonly id: number | undefined;
  /** The destination. With `rename` it may change until the first event. */
  readonly path: string | undefined;
  /** Resolves when the file is complete and has its final name. Awaiting it is optional. */
  readonly done: Promise<Summary>;
  /** Cancels it for this caller; without other callers the transfer ends, and the partial data is kept. */
  cancel(): void;
}

export interface ResumeOptions {
  /** The request headers of each download, by its URL; they are not stored. Without them a download that had some fails with `CredentialsMissing`. */
  headers?: (url: string) => HeadersLike | undefined;
  signal?: Signal | undefined;
  onEvent?: ((event: AnyDownloadEvent) => void) | undefined;
  onExpired?: JobOptions["onExpired"];
}

/** Downloads that share permits and a ledger. */
export interface EngineBase<To> {
  /**
   * A call for a running download (the same URL and destination) joins it: one transfer, and for each call its own
   * `done`, `sha256`, `digest`, `signal`, `onEvent` and events. Requests use the headers of the first call that still waits.
   *
   * A URL without its query matches the unfinished download of that destination if nothing else differs.
   */
  start(job: { url: Address; to: To } & JobOptions): Download;
  /** Continues a download from `list()`. */
  start(record: Pick<DownloadRecord, "url" | "path"> & Partial<DownloadRecord> & Omit<JobOptions, "expectedBytes">): Download;
  download(url: Address, to: To, options?: JobOptions): Promise<Summary>;
  /**
   * Starts the downloads that an earlier page or process left unfinished, and resolves to them. One whose record or `headers` cannot be
   * used is a download that has failed.
   */
  resumeUnfinished(options?: ResumeOptions): Promise<Download[]>;
  /** Downloads that are running, unfinished, failed or cancelled. */
  list(): Promise<DownloadRecord[]>;
  /** Cancels a download; the partial data is kept. */
  cancel(id: number): Promise<void>;
  /**
   * Pauses a download of this engine, or all of them: the permit is released and the partial data is kept. Their `done` stays pending
   * until they are resumed. A paused download is not continued by `resumeUnfinished`. Fails with `WrongState` if it is too late.
   */
  pause(id?: number): Promise<void>;
  /** Continues all paused downloads of this engine. */
  resume(): Promise<Download[]>;
  /** Retries a failed or cancelled download with fresh attempt counts. `to`: the sink, if the bytes are in one of your own. */
  retry(id: number, options?: JobOptions & { to?: To | undefined }): Promise<Download>;
  /**
   * Continues a download that is paused or not running, however it ended. `url` replaces the original URL, and has to serve the same file; `to`: the
   * sink, if the bytes are in one of your own.
   *
   * A paused download goes on for all who wait for it: `url` with its `headers`, `mirrors`, `onExpired`, `priority`, `expectedBytes` and `adoptPart` are for
   * all of them, the digests, `signal` and `onEvent` are this call's own. To another origin only the `headers` given here are sent.
   */
  resume(id: number, options?: JobOptions & { url?: Address | undefined; to?: To | undefined }): Promise<Download>;
  /** Removes a download that is not running, and its partial data. If that is in a sink of your own, only the record is removed. */
  remove(id: number): Promise<void>;
  /** Changes options: permits at once, the rest from each next attempt on. */
  configure(options: Knobs): Promise<void>;
}

/** A class as the project has it, and a bare object if it has none. */
type Web<Name extends string> = Global<Name, object>;

export interface ResumableOptions extends Knobs {
  /** Your own `fetch`. Default: the global one. */
  fetch?: ((input: any, init?: any) => Promise<any>) | undefined;
  onExpired?: JobOptions["onExpired"];
  /** Exceptions from it are ignored. */
  onEvent?: ((event: AnyDownloadEvent) => void) | undefined;
}

/**
 * A `fetch` whose body continues after a cut. Status, headers and `url` are those of the first answer. If the connection breaks
 * while the body is read, the rest is requested with `Range` and `If-Range`, and appended only if it is proven to be of the same version; otherwise the body
 * errors with a `RegripError`.
 *
 * Passed through unchanged: methods other than GET, requests with a `Range`, and answers that cannot be continued: a status other than 200,
 * no `Content-Length`, a `Content-Encoding`, neither a strong ETag nor a strong Last-Modified.
 *
 * `init` is that of `fetch` with the options above. `Accept-Encoding: identity` is sent unless you give another one.
 */
export function resumableFetch(input: Address | Web<"Request">, init?: ResumableOptions & FetchInit): Promise<Web<"Response">>;

/** The `RequestInit` of the project's `fetch`; without one, any options. */
export type FetchInit = typeof globalThis extends { fetch(input: any, init?: infer Init): any } ? Omit<NonNullable<Init>, keyof ResumableOptions> : Record<string, unknown>;

/**
 * Loads the WebAssembly module. Asynchronous functions load it themselves when they first need it. `source`: a URL, a
 * Response, the bytes, or a WebAssembly.Module.
 */
export function load(source?: string | object): Promise<void>;
