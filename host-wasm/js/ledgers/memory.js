// Records that live as long as the process or page.
export class MemoryLedger {
  #records = new Map();

  async load(path) {
    return this.#records.get(path);
  }
  save(path, record) {
    this.#records.set(path, record);
  }
  remove(path) {
    this.#records.delete(path);
  }
  async list() {
    return [...this.#records.values()];
  }
}
