// For a bundler, which chooses the platform after the types are checked: what is in Node or in browsers. `regrip/node` and
// `regrip/web` have the types of one platform.
import type { Address, ByteStream, EngineBase, Fetch, JobOptions, Knobs, Ledger, Sink, Summary } from "./common.js";
import type { NodeEngineOptions } from "./node.js";
import type { FileHandle } from "./web.js";
export * from "./common.js";
export { FileLedger, FileSink, type NodeEngineOptions } from "./node.js";
export { HandleSink, IndexedDbLedger, OpfsSink, openFile, removeFile, saveAs, type FileHandle, type StoredFile } from "./web.js";

/** In Node a path; in browsers a name in the origin private file system or a handle; an object that takes the bytes. */
export type To = Address | FileHandle | Sink | ByteStream;

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
