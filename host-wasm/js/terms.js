// What a caller asks for, in its normal form.
import { found, isUrl, optional, refuseUnknown, signalGiven, whole } from "./checks.js";

const JOB_OPTIONS = ["sha256", "digest", "headers", "signal", "onEvent", "adoptPart", "expectedBytes", "mirrors", "onExpired", "priority"];

/** What `fetch` or the engine sets: a caller's value would change which bytes are sent. */
const OURS = ["accept-encoding", "range", "if-range"];

/** The options of a job; the destination is not among them. */
export function termsOf({ url: given, ...options }) {
  refuseUnknown(options, JOB_OPTIONS);
  const { url, authorization } = addressOf(given);
  const { expectedBytes, priority = 0 } = options;
  if (!Number.isInteger(priority)) throw new RangeError(`priority is ${found(priority)}, expected a whole number`);
  return {
    url,
    headers: headersOf(options.headers, authorization),
    digests: digestsGiven(options),
    expectedBytes: expectedBytes === undefined ? undefined : whole("expectedBytes", expectedBytes, 0),
    adoptPart: optional("adoptPart", options.adoptPart, "boolean") ?? false,
    signal: signalGiven(options.signal),
    onEvent: optional("onEvent", options.onEvent, "function"),
    mirrors: mirrorsOf(options.mirrors),
    onExpired: optional("onExpired", options.onExpired, "function"),
    priority,
  };
}

/** A URL as the core compares it: a fragment is no part of it, and a user with password is a header. */
export function addressOf(given, what = "url") {
  const base = globalThis.location?.href;
  if (typeof given !== "string" && !isUrl(given)) throw new TypeError(`${what} is ${found(given)}, expected a URL`);
  // A text that is no URL may hold a secret. An empty one would be the page itself.
  if (!String(given).trim() || !URL.canParse(given, base)) throw new TypeError(`${what} is not a valid URL`);
  const address = new URL(given, base);
  if (address.protocol !== "http:" && address.protocol !== "https:") throw new TypeError(`${what} has the scheme ${address.protocol.slice(0, -1)}, expected http or https`);
  const authorization = address.username || address.password ? basic(address) : undefined;
  address.username = address.password = address.hash = "";
  return { url: address.href, authorization };
}

function mirrorsOf(mirrors = []) {
  if (typeof mirrors === "string" || typeof mirrors?.[Symbol.iterator] !== "function") throw new TypeError(`mirrors is ${found(mirrors)}, expected an array of URLs`);
  return [...mirrors].map((mirror) => addressOf(mirror, "a URL in mirrors"));
}

function basic({ username, password }) {
  const bytes = new TextEncoder().encode(`${decoded(username)}:${decoded(password)}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone %
  }
}

/** Pairs of lower-case names and values. */
function headersOf(given = {}, authorization) {
  if (given === null || typeof given !== "object") throw new TypeError(`headers is ${found(given)}, expected an object or pairs of name and value`);
  const pairs = Symbol.iterator in given ? [...given].map(([name, value]) => [name, value]) : Object.entries(given);
  const empty = pairs.find(([, value]) => value === undefined || value === null);
  if (empty) throw new TypeError(`headers has no value for ${empty[0]}`);
  let headers;
  try {
    headers = new Headers(pairs);
  } catch {
    // Its own words would show the value.
    throw new TypeError("headers has a name or value that no HTTP header can have");
  }
  if (authorization !== undefined && !headers.has("authorization")) headers.set("authorization", authorization);
  for (const name of OURS) headers.delete(name);
  return [...headers];
}

/** The hexadecimal digits of each algorithm. */
const DIGITS = { sha256: 64, sha512: 128, sha1: 40, md5: 32 };

/** `algorithm:hex` for each digest that is given, `algorithm` for one that is only asked for. */
function digestsGiven({ sha256, digest = [] }) {
  const digests = [digest].flat().map(digestOf);
  if (sha256 === undefined || sha256 === false) return digests;
  if (sha256 === true) return ["sha256", ...digests];
  if (typeof sha256 === "string" && /^(sha256:)?[0-9a-f]{64}$/i.test(sha256)) return [digestOf(sha256), ...digests];
  throw new TypeError("sha256 is neither 64 hex digits nor true");
}

function digestOf(given) {
  const text = String(given).toLowerCase();
  const [name, digits, more] = /^[0-9a-f]{64}$/.test(text) ? ["sha256", text] : text.split(":");
  const algorithm = name.replaceAll("-", "");
  if (Object.hasOwn(DIGITS, algorithm) && more === undefined) {
    if (digits === undefined) return algorithm;
    if (digits.length === DIGITS[algorithm] && /^[0-9a-f]*$/.test(digits)) return `${algorithm}:${digits}`;
  }
  throw new TypeError("digest is neither an algorithm (sha256, sha512, sha1, md5) nor algorithm:hex");
}

/** What computes a digest. */
export const algorithmOf = (digest) => digest.split(":")[0];

/** As a record has them: `source:algorithm:wanted:got:`, separated by spaces. */
export function rowsOf(digests, got = "") {
  return digests.map((digest) => (digest.includes(":") ? `caller:${digest}:${got}:` : `asked:${digest}::${got}:`)).join(" ");
}

/** Those that the caller gave or asked for, of a record. Earlier versions kept `sha256`, and `digest` if any was asked for. */
export function digestsOf({ digests, sha256, digest }) {
  if (digests === undefined) return sha256 ? [`sha256:${sha256}`] : digest ? ["sha256"] : [];
  const words = digests.split(" ").map((row) => row.split(":"));
  return words.filter(([source]) => source === "caller" || source === "asked").map(([, algorithm, wanted]) => (wanted ? `${algorithm}:${wanted}` : algorithm));
}

/** A record of an earlier version, which knew SHA-256 only, with its digests as rows. */
export function withDigestRows({ committingSha256: got = "", reprSha256, digestState, digestOffset, ...record }) {
  const stated = reprSha256 ? `repr_digest:sha256:${reprSha256}:${got}:` : "";
  const state = digestState && { sha256State: digestState, sha256Offset: digestOffset };
  return { ...record, ...state, digests: `${rowsOf(digestsOf(record), got)} ${stated}`.trim() };
}

/** What a record may say; a later version may know more. */
const STATUSES = ["queued", "downloading", "waiting", "paused", "committing", "completed", "failed", "cancelled"];

/** Returns true if what a ledger has is a record of a download, as this version writes them. */
export const isRecord = (record) => typeof record?.url === "string" && STATUSES.includes(record.status);

/** A URL as it may be shown: its query may hold secrets. */
export const shown = (url) => url.replace(/[?#].*$/s, "");

/** A text with its URLs as they may be shown: without user, password, query and fragment. */
export function withoutSecrets(text) {
  return text.replace(/\b(https?:\/\/)([^\s"'`<>]+)/gi, (_, scheme, rest) => {
    const [, address, hidden] = /^([^?#]*)(.*)$/s.exec(rest);
    const ending = /[?#]/.test(hidden) ? /[),.:;\]}]*$/.exec(hidden)[0] : "";
    return scheme + address.replace(/^[^/\\]*@/, "") + ending;
  });
}

/** Returns true if `asked` is the URL `recorded`, or that URL as shown, without its query. */
export function names(asked, recorded) {
  return asked === recorded || (!asked.includes("?") && asked === shown(recorded));
}

/** Returns true if an error is about terms that another caller of the same file does not share. */
export function isAboutTerms(code, terms, other) {
  if (code === "DigestMismatch" || code === "DigestConflict") return String(terms.digests) !== String(other.digests);
  return (code === "Status" || code === "CredentialsMissing") && String(terms.headers) !== String(other.headers);
}
