import type { Address, ByteStream, EngineBase, EngineOptions, Fetch, JobOptions, Knobs, Ledger, Sink, Summary } from "./common.js";
export * from "./common.js";

/** A name in the origin private file system (folders by `/`), a handle of the save picker, or an object that takes the bytes. */
export type To = string | FileHandle | Sink | ByteStream;

/** A `FileSystemFileHandle`. */
export interface FileHandle {
  readonly kind: "file";
  readonly name: string;
  createWritable(options?: { keepExistingData?: boolean }): Promise<unknown>;
  getFile(): Promise<unknown>;
}

/** A `File` or, without its types, the part that every platform has. */
export type StoredFile = typeof globalThis extends { File: { prototype: infer Instance } } ? Instance : { readonly name: string; readonly size: number; arrayBuffer(): Promise<ArrayBuffer> };

/** Downloads that share permits and a ledger. */
export class Engine implements EngineBase<To> {
  constructor(options?: EngineOptions);
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

/** A finished file of the origin private file system. */
export function openFile(name: string): Promise<StoredFile>;

/**
 * Saves a finished file for the user: with the save picker if there is one (call it from a click), else as a browser
 * download. Resolves to false if the user declined.
 */
export function saveAs(name: string, options?: { suggestedName?: string | undefined; picker?: boolean | undefined }): Promise<boolean>;

/** Removes a finished file of the origin private file system. */
export function removeFile(name: string): Promise<void>;

/**
 * A file of the origin private file system, `<name>.part` until it is complete. Written with a synchronous handle in a worker if the
 * browser supports it, else with `createWritable`, whose bytes are durable only after each flush.
 */
export class OpfsSink implements Sink {
  admit(): Promise<void>;
  constructor(name: string, options?: { worker?: boolean | undefined });
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

/** A file the user chose. The browser shows its content only after the download has completed. */
export class HandleSink implements Sink {
  constructor(handle: FileHandle);
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
