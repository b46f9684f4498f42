import type { EngineBase, EngineOptions, JobOptions, Knobs, Ledger, Sink, Summary } from "./common.js";
export * from "./common.js";

/** A path, or an object that takes the bytes. */
export type To = string | URL | Sink | WritableStream<Uint8Array>;

export interface NodeEngineOptions extends EngineOptions {
  /** Relative paths begin here, and `resumeUnfinished` and `list` look here. Default: the working directory. */
  folder?: string;
}

/** Downloads that share permits and a ledger. */
export class Engine implements EngineBase<To> {
  constructor(options?: NodeEngineOptions);
  start: EngineBase<To>["start"];
  download: EngineBase<To>["download"];
  resumeUnfinished: EngineBase<To>["resumeUnfinished"];
  list: EngineBase<To>["list"];
  cancel: EngineBase<To>["cancel"];
  retry: EngineBase<To>["retry"];
  remove: EngineBase<To>["remove"];
  configure: EngineBase<To>["configure"];
}

/** One download, by an engine for all calls without knobs of their own. */
export function download(url: string | URL, to: To, options?: JobOptions & Knobs & { fetch?: typeof fetch; ledger?: Ledger }): Promise<Summary>;

/** Writes to `<path>.part`, and renames it to `path` when all bytes are there. */
export class FileSink implements Sink {
  constructor(path: string);
  readonly name: string;
  readonly persistent: true;
  size(): Promise<number>;
  write(chunk: Uint8Array, at: number): void | Promise<void>;
  read(at: number, length: number): Promise<Uint8Array>;
  truncate(size: number): Promise<void>;
  flush(): Promise<void>;
  commit(replace: boolean): Promise<void | Error>;
  remove(): Promise<void>;
  close(): Promise<void>;
}

/** Records in files beside the parts: `<path>.part.json`. */
export class FileLedger implements Ledger {
  constructor(folder?: string);
  load(path: string): Promise<object | undefined>;
  save(path: string, record: object): Promise<void>;
  remove(path: string): Promise<void>;
  list(): Promise<object[]>;
}
