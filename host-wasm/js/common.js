// What every platform exports.
export { RegripError } from "./errors.js";
export { MemoryLedger } from "./ledgers/memory.js";
export { load } from "./load.js";
export { Semaphore, backoffDelay, isTransient, parseRetryAfter, retry } from "./retry.js";
export { MemorySink } from "./sinks/memory.js";
export { StreamSink } from "./sinks/stream.js";
