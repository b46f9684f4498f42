// Records of sinks whose bytes live no longer than the sink itself. A sink has one record, whichever engine writes it.
const records = new WeakMap();

export class PassingLedger {
  /** The sinks, by the names that one engine has for them. */
  #sinks = new Map();

  /** From now on a name stands for this sink. */
  name(path, sink) {
    this.#sinks.set(path, new WeakRef(sink));
  }

  /** A name stands for nothing any more. */
  forget(path) {
    this.#sinks.delete(path);
  }

  async load(path) {
    return records.get(this.#sinkOf(path));
  }
  save(path, record) {
    const sink = this.#sinkOf(path);
    if (sink) records.set(sink, record);
  }
  remove(path) {
    records.delete(this.#sinkOf(path));
  }
  async list() {
    return [...this.#sinks.keys()].map((path) => ({ ...records.get(this.#sinkOf(path)), path })).filter(({ status }) => status !== undefined);
  }

  #sinkOf(path) {
    return this.#sinks.get(path)?.deref();
  }
}
