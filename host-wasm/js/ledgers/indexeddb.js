// Records in IndexedDB, one object a path.
const STORE = "downloads";

export class IndexedDbLedger {
  #name;
  #opened;

  constructor(database = "regrip") {
    this.#name = database;
  }

  load(path) {
    return this.#run("readonly", (store) => store.get(path));
  }

  async save(path, record) {
    await this.#run("readwrite", (store) => store.put(record, path));
  }

  async remove(path) {
    await this.#run("readwrite", (store) => store.delete(path));
  }

  list() {
    return this.#run("readonly", (store) => store.getAll());
  }

  async #run(mode, work) {
    const database = await this.#open();
    // Strict: when it is over, the record is on the disk.
    const transaction = database.transaction(STORE, mode, { durability: "strict" });
    const request = work(transaction.objectStore(STORE));
    await new Promise((done, failed) => {
      transaction.oncomplete = done;
      transaction.onabort = transaction.onerror = () => failed(transaction.error ?? request.error);
    });
    return request.result;
  }

  #open() {
    this.#opened ??= new Promise((opened, failed) => {
      const request = indexedDB.open(this.#name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      request.onsuccess = () => {
        // Another version of the page may want to change it; the next call opens it anew.
        request.result.onversionchange = request.result.onclose = () => {
          request.result.close();
          this.#opened = undefined;
        };
        opened(request.result);
      };
      request.onerror = () => failed(request.error);
    }).catch((error) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }
}
