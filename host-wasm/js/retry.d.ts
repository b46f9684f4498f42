// The primitives: `regrip/retry` has them alone, without WebAssembly, and `regrip` has the same functions.
/// <reference lib="esnext.disposable" />

/** An `AbortSignal` or, if the project has no type of it, the part that is needed. */
export type Signal = typeof globalThis extends { AbortSignal: { prototype: infer Instance } } ? Instance : { readonly aborted: boolean; readonly reason: any };

export interface RetryOptions<E = unknown> {
  /** Including the first. Default 5. 0, NaN and fractions are refused (RangeError) before the operation is called. */
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

/** Runs the operation with the number of its attempt (the first is 1) until it succeeds, fails permanently, or runs out of attempts. */
export function retry<T, E = unknown>(operation: (attempt: number) => T | Promise<T>, options?: RetryOptions<E>): Promise<Awaited<T>>;

/** A counting semaphore, first come, first served. */
export class Semaphore {
  /** Throws a RangeError unless `permits` is a whole number from 1. */
  constructor(permits: number);
  /** Waits for a permit. */
  acquire(options?: { signal?: Signal | undefined }): Promise<Permit>;
  /** Runs `work` with a permit and releases it afterwards, also after an exception. */
  run<T>(work: () => T | Promise<T>, options?: { signal?: Signal | undefined }): Promise<Awaited<T>>;
  /** Changes the number of permits. Permits in use stay valid. */
  resize(permits: number): void;
  /** Permits in use. */
  readonly used: number;
  readonly waiting: number;
}

export interface Permit {
  /** Releases the permit; a second call does nothing. */
  release(): void;
  /** The same, for `using`. */
  [Symbol.dispose](): void;
}

/** The wait after attempt `attempt` (the first is 1): uniform from 0 to min(maxDelayMs, baseDelayMs · 2^(attempt−1)). */
export function backoffDelay(attempt: number, options?: { baseDelayMs?: number | undefined; maxDelayMs?: number | undefined; random?: (() => number) | undefined }): number;

/** A `Retry-After` in milliseconds; null if it is missing or malformed. `now`: milliseconds since 1970, or a Date. */
export function parseRetryAfter(value: string | null | undefined, now?: number | Date): number | null;

/** Returns true if another attempt makes sense: by an error's `class`, else by its `status`, else by its name and code. */
export function isTransient(error: unknown): boolean;
