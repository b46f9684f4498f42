// What a caller asks for, in its normal form.
import { refuseUnknown, whole } from "./options.js";

const JOB_OPTIONS = ["sha256", "headers", "signal", "onEvent", "adoptPart", "expectedBytes"];

/** What `fetch` or the engine sets: a caller's value would change which bytes are sent. */
const OURS = ["accept-encoding", "range", "if-range"];

/** The options of a job; the destination is not among them. */
export function termsOf({ url: given, ...options }) {
  refuseUnknown(options, JOB_OPTIONS);
  const { url, authorization } = addressOf(given);
  const { expectedBytes, signal, onEvent } = options;
  return {
    url,
    headers: headersOf(options.headers, authorization),
    sha256: digestOf(options.sha256),
    expectedBytes: expectedBytes === undefined ? undefined : whole("expectedBytes", expectedBytes, 0),
    adoptPart: Boolean(options.adoptPart),
    signal: signal ?? undefined,
    onEvent,
  };
}

/** A URL as the core compares it: a fragment is no part of it, and a user with password is a header. */
function addressOf(given) {
  const address = new URL(given, globalThis.location?.href);
  if (address.protocol !== "http:" && address.protocol !== "https:") throw new TypeError(`${address.protocol} is not downloaded: http and https are`);
  const authorization = address.username || address.password ? basic(address) : undefined;
  address.username = address.password = address.hash = "";
  return { url: address.href, authorization };
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
  const pairs = Symbol.iterator in given ? [...given].map(([name, value]) => [name, value]) : given;
  const headers = new Headers(pairs);
  if (authorization !== undefined && !headers.has("authorization")) headers.set("authorization", authorization);
  for (const name of OURS) headers.delete(name);
  return [...headers];
}

function digestOf(sha256) {
  if (sha256 === undefined || sha256 === false) return undefined;
  if (sha256 === true) return true;
  if (typeof sha256 === "string" && /^(sha256:)?[0-9a-f]{64}$/i.test(sha256)) return sha256.slice(-64).toLowerCase();
  throw new TypeError("sha256 is neither 64 hex digits nor true");
}

/** A URL as it may be shown: its query may hold secrets. */
export const shown = (url) => url.replace(/[?#].*$/s, "");

/** Whether `asked` names the download of `recorded`: itself, or as it is shown, without its query. */
export function names(asked, recorded) {
  return asked === recorded || (!asked.includes("?") && asked === shown(recorded));
}

/** Whether an error is about terms that differ: another caller of the same file need not share it. */
export function isAboutTerms(code, terms, other) {
  if (code === "DigestMismatch") return typeof terms.sha256 === "string" && terms.sha256 !== other.sha256;
  return (code === "Status" || code === "CredentialsMissing") && String(terms.headers) !== String(other.headers);
}
