// The idiomatic interface, the same for every kind of host: promises, an AbortSignal, plain objects.
import { Engine } from "./engine.js";

export class Downloader {
  #engine;
  /** Who listens to the downloads under way, by destination. */
  #listeners = new Map();
  /** Names for sinks that bring none. A sink keeps its name as long as it lives, and with it what is known of its bytes. */
  #names = new WeakMap();
  #unnamed = 0;

  constructor(config) {
    this.#engine = new Engine(config, (event) => this.#listeners.get(event.path)?.(event));
  }

  async download(url, sink, { signal, onEvent = () => {}, adoptPart = false } = {}) {
    const name = this.#nameOf(sink);
    if (this.#listeners.has(name)) throw new TypeError(`${name} is being downloaded already`);
    this.#listeners.set(name, onEvent);
    try {
      signal?.throwIfAborted();
      const id = await this.#engine.accept(address(url), name, adoptPart);
      const summary = await this.#drive(id, sink, signal);
      await sink.close?.();
      return summary;
    } catch (error) {
      // What it ended with is what counts, not what else the sink has to say.
      await new Promise((done) => done(sink.close?.())).catch(() => {});
      throw error;
    } finally {
      this.#listeners.delete(name);
    }
  }

  async #drive(id, sink, signal) {
    const driven = this.#engine.drive(id, sink);
    // Where it is too late to cancel, the download ends well by itself.
    const cancel = () => this.#engine.cancel(id).catch(() => {});
    if (signal?.aborted) cancel();
    signal?.addEventListener("abort", cancel);
    try {
      return await driven;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  #nameOf(sink) {
    if (sink.name !== undefined) return sink.name;
    if (!this.#names.has(sink)) this.#names.set(sink, `sink ${++this.#unnamed}`);
    return this.#names.get(sink);
  }
}

/** In its normal form, as the engine compares it. */
function address(url) {
  const { href, username, password } = new URL(url);
  if (username || password) throw new TypeError("a URL with a user name or password is refused");
  return href;
}

let shared;

export function download(url, sink, options) {
  shared ??= new Downloader();
  return shared.download(url, sink, options);
}
