// What the core's contract tests are run on: the package's own host, part, request and ledger, over sinks that a test brings.
// `host-wasm/build --contract` puts this file beside them.
import { Host, Job, heldWeakly } from "./host.js";
import { needed } from "./load.js";
import { MemoryLedger } from "./ledgers/memory.js";
import { Request } from "./request.js";

/** The names of the promises of a contract. */
export const promises = async (contract) => (await needed()).promises(contract);

/** Rejects with what does not hold. */
export async function check(contract, promise, subject) {
  return (await needed()).check(contract, promise, heldWeakly(subject.host), subject);
}

/**
 * `platform`: `{ bootId, newHasher, maySendIfRange }`.
 * `folder`: the folder of destinations; `sinkFor(destination)`; `put(name, bytes)`, if there are names; `content(name, sink)`.
 * `server`: `{ serve(bytes, hold), received(url), gaveUp(url) }`.
 */
export class Subject {
  #jobs = new Map();
  #last = 0;
  #received = new Map();

  constructor({ platform, folder = "", sinkFor, put, content, server }) {
    Object.assign(this, { folder, sinkFor, files: { put, content }, server });
    const network = { fetch: (...asked) => fetch(...asked), timeoutMs: 30_000, whenOnline: () => undefined, redirectsByHand: true, addsIdentity: true };
    this.host = new Host({ platform, ledger: new MemoryLedger(), network });
    this.host.jobs = { get: (path) => this.#job(path) };
    this.host.part = (name) => this.#job(name.replace(/\.part$/, "")).part;
    this.host.request = (...asked) => new Request(this.#job(""), network, ...asked);
  }

  #job(path) {
    if (!this.#jobs.has(path)) {
      const { platform, ledger } = this.host;
      const sink = this.sinkFor?.(path);
      const transfer = { id: this.#jobs.size + 1, url: "", path, headers: [], terms: { mirrors: [], priority: 0 }, algorithms: [], digests: new Map(), tell() {} };
      const job = new Job({ transfer, chosen: { sink }, partName: `${path}.part`, ledger, platform, isFile: true });
      this.#jobs.set(path, Object.assign(job, { sink }));
    }
    return this.#jobs.get(path);
  }

  destination() {
    return `${this.folder}file ${++this.#last}`;
  }

  async put(name, bytes) {
    await this.files.put?.(name, bytes);
  }

  async content(name) {
    return this.files.content(name, this.#job(name).sink);
  }

  serve(bytes, hold) {
    return this.server.serve(bytes, hold);
  }

  async received(url) {
    this.#received.set(url, await this.server.received(url));
  }

  header(url, name) {
    return this.#received.get(url)[name];
  }

  gaveUp(url) {
    return this.server.gaveUp(url);
  }
}
