import type { EngineBase, EngineOptions, JobOptions, Knobs, Ledger, Sink, Summary } from "./common.js";
export * from "./common.js";

/** A name in the origin private file system (folders by `/`), a handle of the save picker, or an object that takes the bytes. */
export type To = string | FileSystemFileHandle | Sink | WritableStream<Uint8Array>;

/** Downloads that share permits and a ledger. */
export class Engine implements EngineBase<To> {
  constructor(options?: EngineOptions);
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

/** A finished file of the origin private file system. */
export function openFile(name: string): Promise<File>;

/**
 * Hands a finished file to the person: by the save picker where there is one (call it from a click), else as a download of
 * the browser. Resolves to false where the person said no.
 */
export function saveAs(name: string, options?: { suggestedName?: string; picker?: boolean }): Promise<boolean>;

/** Removes a finished file of the origin private file system. */
export function removeFile(name: string): Promise<void>;

/**
 * A file of the origin private file system. `<name>.part` until it is whole. By a synchronous handle in a worker where the
 * browser has those, else by `createWritable`, whose bytes count only from one flush to the next.
 */
export class OpfsSink implements Sink {
  constructor(name: string, options?: { worker?: boolean });
  readonly name: string;
  readonly persistent: true;
  size(): Promise<number>;
  write(chunk: Uint8Array, at: number): void | Promise<void>;
  read(at: number, length: number): Promise<Uint8Array>;
  truncate(size: number): Promise<void>;
  flush(): Promise<void>;
  commit(replace: boolean): Promise<void>;
  remove(): Promise<void>;
  close(): Promise<void>;
}

/** A file the person chose. The browser shows its bytes only once the download is completed. */
export class HandleSink implements Sink {
  constructor(handle: FileSystemFileHandle);
  size(): Promise<number>;
  write(chunk: Uint8Array, at: number): void | Promise<void>;
  read(at: number, length: number): Promise<Uint8Array>;
  truncate(size: number): Promise<void>;
  flush(): Promise<void>;
  commit(): Promise<void>;
  close(): Promise<void>;
}

/** Records in IndexedDB. */
export class IndexedDbLedger implements Ledger {
  constructor(database?: string);
  load(path: string): Promise<object | undefined>;
  save(path: string, record: object): Promise<void>;
  remove(path: string): Promise<void>;
  list(): Promise<object[]>;
}
