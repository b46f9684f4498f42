// What the module waits for: promises, timers, and promises for its own tasks. It knows them by number (`src/task.rs`).
export class Runtime {
  #core;
  /** By slot. */
  #timers = new Map();
  /** By task. */
  #ends = new Map();

  constructor(core) {
    this.#core = core;
  }

  when(promise, slot) {
    const { settle } = this.#core;
    promise.then(
      (value) => settle(slot, true, value),
      (error) => settle(slot, false, error),
    );
  }

  sleep(ms, slot) {
    const ring = () => {
      this.#timers.delete(slot);
      this.#core.settle(slot, true, undefined);
    };
    this.#timers.set(slot, setTimeout(ring, ms));
  }

  cancelSleep(slot) {
    clearTimeout(this.#timers.get(slot));
    this.#timers.delete(slot);
  }

  soon() {
    queueMicrotask(this.#core.turn);
  }

  promise(task) {
    return new Promise((resolve, reject) => this.#ends.set(task, { resolve, reject }));
  }

  resolve(task, value) {
    this.#end(task).resolve(value);
  }

  reject(task, error) {
    this.#end(task).reject(error);
  }

  #end(task) {
    const end = this.#ends.get(task);
    this.#ends.delete(task);
    return end;
  }
}
