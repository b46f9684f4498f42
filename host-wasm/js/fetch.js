// `resumableFetch`: a `fetch` whose body goes on after a cut.
//
// The first answer is what `fetch` would give. Its body runs through an engine, which takes it for the answer to the first request
// and asks for the rest when it is cut: so what is appended is proven as in any download.
import { found, optional, signalGiven } from "./checks.js";
import { MemoryLedger } from "./ledgers/memory.js";
import { fieldsOf, isKnob, split } from "./options.js";
import { StreamSink } from "./sinks/stream.js";

/** A date counts only if the version was at least this much older than the answer (RFC 9110 §8.8.2.2). */
const STRONG_MS = 60_000;

/** Options that are the engine's; the rest of `init` is `fetch`'s own. */
const OWN = ["fetch", "onEvent", "onExpired"];

/** What `fetch` takes beside headers, method and signal, of a `Request`. */
const REQUEST_OPTIONS = ["mode", "credentials", "referrer", "referrerPolicy", "integrity", "keepalive"];

export function resumableFetchBy(Engine, platform) {
  return async function resumableFetch(input, init = {}) {
    if (init === null || typeof init !== "object") throw new TypeError(`init is ${found(init)}, expected an object`);
    for (const name of OWN) optional(name, init[name], "function");
    const [knobs] = split(init);
    fieldsOf(knobs); // refuses what is out of range before anything is sent
    const { fetch: given, onEvent, onExpired } = init;
    const fetch = given ?? ((...asked) => globalThis.fetch(...asked));
    const own = Object.fromEntries(Object.entries(init).filter(([name]) => !isKnob(name) && !OWN.includes(name)));
    const isRequest = typeof input === "object" && input !== null && typeof input.clone === "function";
    const signal = signalGiven(init.signal ?? (isRequest ? input.signal : undefined));
    const headers = new Headers(init.headers ?? (isRequest ? input.headers : undefined));
    const method = String(init.method ?? (isRequest ? input.method : "GET")).toUpperCase();
    if (method !== "GET" || headers.has("range")) return fetch(input, own);

    // A coded body cannot go on.
    if (!headers.has("accept-encoding")) headers.set("accept-encoding", "identity");
    const first = await fetch(input, { ...own, headers });
    if (!Number.isInteger(first?.status) || typeof first.headers?.get !== "function") throw new TypeError(`fetch resolved to ${found(first)}, expected a Response`);
    if (!canGoOn(first)) return first;
    signal?.throwIfAborted();

    const { readable, writable } = new TransformStream();
    let unread = first;
    const fetchOn = (url, asked) => {
      const answer = unread;
      unread = undefined;
      if (!given && platform.addsIdentity) asked.headers.delete("accept-encoding");
      return answer ?? fetch(url, { ...(isRequest && optionsOf(input)), ...own, ...asked });
    };
    const url = isRequest ? input.url : input;
    const engine = new Engine({ ...knobs, maxConcurrentDownloads: 1, ledger: new MemoryLedger(), fetch: fetchOn });
    const download = engine.start({ url, to: new StreamSink(writable), headers: sent(headers), signal, onEvent, onExpired });
    // What ends it early, ends the answer that is still unread.
    download.done.catch(() => unread?.body?.cancel().catch(() => {}));
    return answerWith(readable, first);
  };
}

/** Returns true if the rest of a body can be asked for and proven: a whole file of known size and version, not coded. */
function canGoOn({ status, body, bodyUsed, headers }) {
  if (status !== 200 || !body || bodyUsed || typeof body.getReader !== "function") return false;
  const coding = headers.get("content-encoding");
  if ((coding !== null && coding.toLowerCase() !== "identity") || !/^\d+$/.test(headers.get("content-length") ?? "")) return false;
  const etag = headers.get("etag");
  if (etag !== null) return /^"[^"]*"$/.test(etag);
  const [date, modified] = ["date", "last-modified"].map((name) => Date.parse(headers.get(name) ?? ""));
  return date - modified >= STRONG_MS;
}

const optionsOf = (request) => Object.fromEntries(REQUEST_OPTIONS.map((name) => [name, request[name]]).filter(([, value]) => value !== undefined && value !== ""));

/** The engine sets the coding by itself. */
const sent = (headers) => [...headers].filter(([name]) => name !== "accept-encoding");

/** A `Response` like the first one, with another body. */
function answerWith(body, { status, statusText, headers, url, redirected, type }) {
  return withFacts(new Response(body, { status, statusText, headers }), { url, redirected, type });
}

/** Facts that the constructor does not take. A clone has them too. */
function withFacts(response, facts) {
  const clone = () => withFacts(Response.prototype.clone.call(response), facts);
  for (const [name, value] of Object.entries({ ...facts, clone })) Object.defineProperty(response, name, { value, configurable: true });
  return response;
}
