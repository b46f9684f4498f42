import type { Address, ByteStream, EngineBase, EngineOptions, Fetch, JobOptions, Knobs, Ledger, Sink, Summary } from "./common.js";
export * from "./common.js";

/** A path, or an object that takes the bytes. */
export type To = Address | Sink | ByteStream;

export interface NodeEngineOptions extends EngineOptions {
  /** Base of relative paths, and the folder of `resumeUnfinished` and `list`. Default: the working directory. */
  folder?: Address | undefined;
}

/** Downloads that share permits and a ledger. */
export class Engine implements EngineBase<To> {
  constructor(options?: NodeEngineOptions);
  start: EngineBase<To>["start"];
  download: EngineBase<To>["download"];
  resumeUnfinished: EngineBase<To>["resumeUnfinished"];
  list: EngineBase<To>["list"];
  cancel: EngineBase<To>["cancel"];
  pause: EngineBase<To>["pause"];
  retry: EngineBase<To>["retry"];
  resume: EngineBase<To>["resume"];
  remove: EngineBase<To>["remove"];
  configure: EngineBase<To>["configure"];
}

/** One download, by an engine for all calls with the same options. */
export function download(url: Address, to: To, options?: JobOptions & Knobs & { fetch?: Fetch | undefined; ledger?: Ledger | undefined }): Promise<Summary>;

/** Writes to `<path>.part` and renames it to `path` when it is complete. */
export class FileSink implements Sink {
  constructor(path: Address);
  admit(): Promise<void>;
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

/** Records in files beside the parts: `<part>.json`. */
export class FileLedger implements Ledger {
  constructor(folder?: Address);
  load(path: string): Promise<object | undefined>;
  save(path: string, record: object): Promise<void>;
  remove(path: string): Promise<void>;
  list(): Promise<object[]>;
}
