// One request by `fetch`, as the module asks for it.
import { Failed, networkFailure } from "./errors.js";

/** A timer that rings so much late was held up: the machine slept, or the page was in the background. */
const LATE_MS = 5_000;

export class Request {
  #controller = new AbortController();
  #job;
  #network;
  #url;
  #headers;
  #response;
  #reader;
  #ended = false;

  /** `network`: `{ fetch, timeoutMs, whenOnline }`. */
  constructor(job, network, url, first, ifRange) {
    this.#job = job;
    this.#network = network;
    this.#url = url;
    this.#headers = new Headers(job.headers);
    // Without a range `fetch` asks for codings.
    this.#headers.set("range", `bytes=${first}-`);
    if (ifRange !== undefined) this.#headers.set("if-range", ifRange);
  }

  /** Waits for the response head. Offline it waits for the network first, and costs no attempt by it. */
  async head() {
    for (;;) {
      const online = this.#network.whenOnline();
      if (online) {
        this.#job.waits("offline");
        await Promise.race([online, aborted(this.#controller.signal)]);
      }
      try {
        this.#response = await this.#ask();
        this.#reader = this.#response.body?.getReader();
        return;
      } catch (error) {
        if (error instanceof Failed) throw this.#job.failed(error);
        if (this.#controller.signal.aborted || !this.#network.whenOnline()) throw this.#job.failed(networkFailure("asking", error));
      }
    }
  }

  get status() {
    return this.#response.status;
  }

  /** A field's value, as `fetch` reads its bytes: Latin-1. */
  field(name) {
    const value = this.#response.headers.get(name);
    return value === null ? undefined : Uint8Array.from(value, (letter) => letter.charCodeAt(0));
  }

  /** The next piece that is not empty; undefined at the end. */
  async piece() {
    try {
      while (this.#reader) {
        const { done, value } = await this.#reader.read();
        if (done) break;
        if (value.length > 0) return value;
      }
    } catch (error) {
      throw this.#job.failed(networkFailure("reading the body", error));
    }
    this.#ended = true;
  }

  /** Ends the request, unless it has ended by itself. */
  cut() {
    if (!this.#ended) this.#controller.abort();
  }

  async #ask() {
    const { fetch, timeoutMs } = this.#network;
    let timedOut = false;
    let timer;
    const begin = () => {
      const due = performance.now() + timeoutMs;
      timer = setTimeout(() => {
        if (performance.now() - due > LATE_MS) return begin();
        timedOut = true;
        this.#controller.abort();
      }, Math.min(timeoutMs, 2 ** 31 - 1));
    };
    begin();
    try {
      return await fetch(this.#url, {
        headers: this.#headers,
        signal: this.#controller.signal,
        // A browser's cache keeps ranges of files, and puts them together by its own rules.
        cache: "no-store",
        credentials: "same-origin",
      });
    } catch (error) {
      throw timedOut ? new Failed("HeadersTimeout", { after: timeoutMs, cause: error }) : error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function aborted(signal) {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
}
