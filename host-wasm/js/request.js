// One request by `fetch`, as the module asks for it.
import { unlessAborted } from "./abort.js";
import { discard, readerOf, refuseOddHead } from "./body.js";
import { Failed, isMistake, messageOf, networkFailure } from "./errors.js";
import { shown } from "./terms.js";

/** A timer that rings so much late was held up: the machine slept, or the page was in the background. */
const LATE_MS = 5_000;

const HIDDEN = "a server of another origin has to let pages see Content-Range, and better ETag too (Access-Control-Expose-Headers)";

const MOST_REDIRECTS = 10;

/** All that goes along to another origin: what says which bytes are wanted, and what is no secret. */
const CROSSING = ["range", "if-range", "accept-encoding", "accept", "accept-language", "referer", "user-agent"];

/** So much is read ahead. When a connection breaks, a stream forgets what nobody has read; this keeps it. */
const AHEAD_BYTES = 1 << 20;

export class Request {
  #controller = new AbortController();
  #job;
  #network;
  #url;
  #headers;
  #first;
  #response;
  #reader;
  /** Pieces that were read ahead, and what followed them: `{ error }` or the end. */
  #pieces = [];
  #ahead = 0;
  #last;
  #reading = false;
  /** Who waits for the next piece: `{ resolve, reject }`. */
  #taker;

  /**
   * `last` is infinite for all the rest.
   * `network`: `{ fetch, ownFetch, timeoutMs, whenOnline, redirectsByHand, cookies, sendNoIfRange, addsIdentity }`.
   */
  constructor(job, network, url, first, last, ifRange) {
    this.#job = job;
    this.#network = network;
    this.#url = url;
    this.#first = first;
    this.#headers = new Headers(job.headersSent);
    // Without a range `fetch` asks for codings. A negative one asks for none: the server refused it before.
    if (first >= 0) this.#headers.set("range", `bytes=${first}-${last === Infinity ? "" : last}`);
    if (ifRange !== undefined) this.#headers.set("if-range", ifRange);
    // A browser ignores it, and Node adds it to a range by itself.
    if (first < 0 || !network.addsIdentity) this.#headers.set("accept-encoding", "identity");
  }

  /** Waits for the response head. Offline it waits for the network first, and costs no attempt by it. */
  async head() {
    for (;;) {
      const online = this.#network.whenOnline();
      if (online) {
        this.#job.waits("offline");
        await unlessAborted(online, this.#controller.signal);
      }
      try {
        this.#response = await this.#ask();
        if (this.#response.redirected && isElsewhere(this.#response.url)) this.#network.sendNoIfRange?.(this.#url);
        if (this.#hidesRange()) throw new Failed("Protocol", { message: HIDDEN });
        this.#reader = readerOf(this.#response, this.#network.ownFetch);
        this.#readAhead();
        return;
      } catch (error) {
        if (error instanceof Failed) throw this.#job.failed(error);
        // It may be a preflight that was refused after a redirect: the next attempt does without.
        if (this.#headers.has("if-range")) this.#network.sendNoIfRange?.(this.#url);
        if (isMistake(error)) throw this.#job.failed(new Failed("Protocol", { message: `fetch failed: ${messageOf(error)}`, cause: error }));
        if (this.#controller.signal.aborted || !this.#network.whenOnline()) throw this.#job.failed(networkFailure("asking", error));
      }
    }
  }

  /** A page sees of another origin only what that one exposes, and without its range no answer can be trusted. */
  #hidesRange() {
    const { status, type, headers } = this.#response;
    return status === 206 && type === "cors" && !headers.has("content-range");
  }

  get status() {
    return this.#response.status;
  }

  /** A field's value, as `fetch` reads its bytes: Latin-1. None if the headers of a foreign `fetch` throw: the module cannot catch it. */
  field(name) {
    try {
      const value = this.#response.headers.get(name);
      return value === null ? undefined : Uint8Array.from(value, (letter) => letter.charCodeAt(0));
    } catch {
      return undefined;
    }
  }

  /** The next piece, never empty; undefined at the end. No turn of the event loop more than the reader itself takes. */
  piece() {
    const piece = this.#pieces.shift();
    if (piece) {
      this.#ahead -= piece.length;
      if (!this.#reading) this.#readAhead();
      return Promise.resolve(piece);
    }
    return new Promise((resolve, reject) => {
      this.#taker = { resolve, reject };
      if (this.#last) this.#end();
    });
  }

  #end() {
    const { error } = this.#last;
    const taker = this.#taker;
    this.#taker = undefined;
    if (error instanceof Failed) taker?.reject(this.#job.failed(error));
    else if (error) taker?.reject(this.#job.failed(networkFailure("reading the body", error)));
    else taker?.resolve(undefined);
  }

  /** Ends the request, unless it has ended by itself. */
  cut() {
    if (!this.#last) {
      this.#controller.abort();
      Promise.resolve(this.#reader).then((reader) => reader?.cancel()).catch(() => {}); // for a `fetch` that ignores signals
    }
    this.#pieces = [];
    // The promise holds memory of the module until it is settled.
    this.#taker?.resolve(undefined);
    this.#taker = undefined;
  }

  async #readAhead() {
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (!this.#last && this.#ahead < AHEAD_BYTES) {
        const { done, value } = await this.#reader.read();
        if (done) {
          this.#last = {};
        } else if (!(value instanceof Uint8Array)) {
          throw new Failed("Protocol", { message: "the body of the fetch that was given has pieces that are no Uint8Array: give a fetch that does not decode text" });
        } else if (this.#taker && value.length > 0) {
          this.#taker.resolve(value);
          this.#taker = undefined;
        } else if (value.length > 0) {
          this.#pieces.push(value);
          this.#ahead += value.length;
        }
      }
    } catch (error) {
      this.#last = { error };
    }
    this.#reading = false;
    if (this.#last && this.#taker) this.#end();
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
      // Also if `fetch` ignores signals.
      return await unlessAborted(this.#follow(fetch), this.#controller.signal);
    } catch (error) {
      throw timedOut ? new Failed("HeadersTimeout", { after: timeoutMs, cause: error }) : error;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Follows redirects, if `fetch` shows them. Only `CROSSING` is sent to another origin; a chain that returns to the
   * origin it began at has all headers again there. Cookies are kept and sent for each response and request of the chain.
   */
  async #follow(fetch) {
    const { redirectsByHand } = this.#network;
    const { origin } = new URL(this.#url);
    let url = this.#url;
    let headers = this.#headers;
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const response = await fetch(url, {
        headers: this.#withCookies(url, headers),
        signal: this.#controller.signal,
        // A browser's cache keeps ranges of files, and puts them together by its own rules.
        cache: "no-store",
        redirect: redirectsByHand ? "manual" : "follow",
      });
      refuseOddHead(response);
      if (!redirectsByHand) return response;
      this.#network.cookies?.keep(url, setCookies(response.headers));
      if (![301, 302, 303, 307, 308].includes(response.status)) {
        this.#refuseDenied(response.status, url, headers);
        return response;
      }
      await discard(response);
      const next = target(url, response.headers.get("location"));
      headers = next.origin === origin ? this.#headers : crossing(this.#headers);
      url = next.href;
    }
    throw refused(`more than ${MOST_REDIRECTS} redirects in a row`);
  }

  #withCookies(url, headers) {
    const given = headers.get("cookie");
    const value = this.#network.cookies?.header(url, given) ?? given;
    if (value === given) return headers;
    const all = new Headers(headers);
    all.set("cookie", value);
    return all;
  }

  /** Another origin refused a request that left headers behind. To a range a 403 may refuse just that: the core asks for the whole then. */
  #refuseDenied(status, url, headers) {
    if ((status !== 401 && status !== 403) || this.#first > 0) return;
    const left = [...this.#headers.keys()].filter((name) => !headers.has(name));
    if (left.length === 0) return;
    throw refused(`to ${shown(url)}, and ${left.join(", ")} stays at ${new URL(this.#url).origin}; the answer there is ${status}`);
  }
}

/** Not of the page's own origin. */
const isElsewhere = (url) => new URL(url).origin !== globalThis.location?.origin;

/** What of these headers goes along to another origin. */
export const crossing = (headers) => new Headers([...headers].filter(([name]) => CROSSING.includes(name)));

/** Each `Set-Cookie` field by itself; `node-fetch` gives them by `raw()`. */
const setCookies = (headers) => headers.getSetCookie?.() ?? headers.raw?.()["set-cookie"] ?? [];

function target(from, field) {
  if (!field) throw refused("it has no Location");
  // `fetch` reads bytes as Latin-1: what is not ASCII is encoded byte by byte.
  const location = field.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`);
  if (!URL.canParse(location, from)) throw refused("its Location cannot be read");
  const to = new URL(location, from);
  if (to.protocol !== "https:" && to.protocol !== "http:") throw refused(`the scheme is ${to.protocol.slice(0, -1)}`);
  if (to.protocol === "http:" && from.startsWith("https:")) throw refused(`from https to ${to.origin}${to.pathname}`);
  // Credentials that a server makes up are not ours to send.
  to.username = to.password = to.hash = "";
  return to;
}

function refused(why) {
  return new Failed("RedirectRefused", { message: why });
}
