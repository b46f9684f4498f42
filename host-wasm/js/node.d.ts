/** Where the bytes go. Every method may answer at once or with a promise; they are called one at a time. */
export interface Sink {
  /** Names the destination: the same URL and name take up the same download. A sink without one is its own destination. */
  readonly name?: string;
  /** The bytes that are there. Called first, so it opens what has to be opened. */
  size(): number | Promise<number>;
  /** Takes a chunk at `at`, which is where the bytes end. */
  write(chunk: Uint8Array, at: number): void | Promise<void>;
  /** Bytes that are there, to be compared with the source. */
  read(at: number, length: number): Uint8Array | Promise<Uint8Array>;
  truncate(size: number): void | Promise<void>;
  /** All that was written is durable when this is done. */
  flush(): void | Promise<void>;
  /** The bytes are all there: give them their final name. Without `replace`, throw an error with code EEXIST where it is taken. */
  commit?(replace: boolean): void | Promise<void>;
  /** The download has ended, well or not. */
  close?(): void | Promise<void>;
}

/** Writes to `<path>.part`, and renames it to `path` when all bytes are there. */
export class FileSink implements Sink {
  constructor(path: string);
  readonly name: string;
  size(): Promise<number>;
  write(chunk: Uint8Array, at: number): void | Promise<void>;
  read(at: number, length: number): Promise<Uint8Array>;
  truncate(size: number): Promise<void>;
  flush(): Promise<void>;
  commit(replace: boolean): Promise<void>;
  close(): Promise<void>;
}

/** Times in milliseconds, sizes in bytes. */
export interface Config {
  maxConcurrentDownloads?: number;
  maxDownloadAttempts?: number;
  maxTotalAttempts?: number;
  retryBaseDelayMs?: number;
  retryMaxDelayMs?: number;
  connectTimeoutMs?: number;
  headersTimeoutMs?: number;
  idleTimeoutMs?: number;
  lowSpeedBytesPerSec?: number;
  lowSpeedWindowMs?: number;
  maxDownloadBytes?: number;
  resumeOverlapBytes?: number;
  progressResetBytes?: number;
  extraRetryStatuses?: number[];
  onExists?: "overwrite" | "fail";
}

export interface Summary {
  bytes: number;
  attempts: number;
  restarts: number;
}

export interface Failure extends Summary {
  class: "transient" | "permanent";
  code: string;
  error: string;
  advice?: string;
}

/** `at` and `until` are milliseconds since 1970. */
export type DownloadEvent = { id: number; at: number; url: string; path: string } & (
  | { event: "queued" }
  | { event: "started"; attempt: number; from: number }
  | { event: "headers"; expectedBytes?: number; source?: "content_range" | "content_length"; mismatch: boolean }
  | { event: "progress"; bytes: number; total?: number }
  | { event: "restart"; reason: string; discardedBytes: number }
  | {
      event: "retrying";
      attempt: number;
      delayMs: number;
      askedBy: "jitter" | "retry_after";
      class: "transient";
      error: string;
    }
  | { event: "waiting"; until: number; why: string }
  | ({ event: "completed" } & Summary)
  | ({ event: "failed" | "cancelled" } & Failure)
);

export interface DownloadOptions {
  /** Ends the download; the bytes are kept, and the next call goes on from them. */
  signal?: AbortSignal;
  /** What it throws is ignored. */
  onEvent?: (event: DownloadEvent) => void;
  /** Take up bytes in the sink that this downloader knows nothing of, after comparing their end with the source. */
  adoptPart?: boolean;
}

/** What a download rejects with. `name` is AbortError where a signal ended it. */
export interface RegripError extends Error {
  code: string;
  class: "transient" | "permanent";
  advice?: string;
  status?: number;
}

/** Its downloads share permits, and what is known of their parts as long as the process lives. */
export class Downloader {
  /** Throws a RangeError where a number is out of range. */
  constructor(config?: Config);
  /** Downloads into the sink and closes it, whatever comes. */
  download(url: string | URL, sink: Sink, options?: DownloadOptions): Promise<Summary>;
}

/** Downloads with all defaults, by one downloader for all calls. */
export function download(url: string | URL, sink: Sink, options?: DownloadOptions): Promise<Summary>;
