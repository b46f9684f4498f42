// Errors: as the module gets them, and as a caller gets them when a download failed.
import { withoutSecrets } from "./terms.js";

/** What a download rejects with, see `common.d.ts`. */
export class RegripError extends Error {
  constructor(message, { cause, name = "RegripError", ...facts }) {
    super(message, cause === undefined ? undefined : { cause });
    Object.defineProperty(this, "name", { value: name, configurable: true, writable: true });
    this.attempts = 0;
    for (const [fact, value] of Object.entries(facts)) if (value !== undefined) this[fact] = value;
  }
}

/** What a caller gets who called it off and gave no reason. `facts`: attempts, restarts, the bytes that are kept. */
export function cancelled(cause, { attempts, restarts, bytes } = {}) {
  return new RegripError("cancelled", { name: "AbortError", code: "cancelled", class: "permanent", cause, attempts, restarts, bytes });
}

export function digestMismatch(algorithm, wanted, got) {
  const advice = "check the digest; the source may hold another file";
  return new RegripError(`the ${algorithm} is ${got}, not ${wanted}`, { code: "DigestMismatch", class: "permanent", advice });
}

/** The last event of a download that the core did not send. `about`: id, url, path. */
export function failureEvent(event, { id, url, path }, error) {
  const { code, class: itsClass, message, advice, bytes = 0, attempts = 0, restarts = 0 } = error;
  return { event, id, at: Date.now(), url, path, bytes, attempts, restarts, class: itsClass, code, error: message, advice };
}

/** A failure on this side of the border, in the core's words. `src/failure.rs` reads it. */
export class Failed {
  constructor(code, { what = "", path = "", message = "", after = 0, cause } = {}) {
    Object.assign(this, { code, what, path, message, after, cause });
  }
}

/** What a sink threw while it was asked to do `what`. */
export function diskFailure(what, path, error) {
  const facts = { what, path, message: messageOf(error), cause: error };
  switch (codeOf(error)) {
    case "ENOSPC":
    case "EDQUOT":
    case "QuotaExceededError":
      return new Failed("DiskFull", facts);
    case "EMFILE":
    case "ENFILE":
      return new Failed("TooManyFiles", facts);
    case "EEXIST":
      if (what === "rename") return new Failed("DestinationExists", facts);
      break;
    case "PartLocked":
    case "NoModificationAllowedError": // the browser's own lock of a file
      return new Failed("PartLocked", { ...facts, what: error.file });
    case "ForeignPart":
      return new Failed("ForeignPart", facts);
    case "DestinationRefused":
      return new Failed("DestinationRefused", { ...facts, what: error.what });
  }
  return new Failed("Disk", facts);
}

/** The code of what a sink threw before anything was asked of the server. */
export const refusalCode = (error) => (["DestinationRefused", "NameRefused"].includes(error?.code) ? error.code : undefined);

/** What `fetch` or its body threw. Only Node can distinguish a bad certificate from a failed connection. */
export function networkFailure(what, error) {
  const facts = { what, message: messageOf(error), cause: error };
  const code = codeOf(error?.cause);
  // OpenSSL's names of what the next handshake would run into, too.
  if (/^ERR_SSL_.*(HANDSHAKE_FAILURE|PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|INSUFFICIENT_SECURITY|NO_APPLICATION_PROTOCOL|UNRECOGNIZED_NAME|CERTIFICATE_REQUIRED|UNSUPPORTED_CERTIFICATE)/.test(code)) {
    const message = `the server and Node have no TLS version, cipher suite or certificate in common: ${messageOf(error.cause)}`;
    return new Failed("Tls", { ...facts, message });
  }
  if (/CERT|^UNABLE_TO_VERIFY|SELF_SIGNED/.test(code)) return new Failed("Certificate", { ...facts, message: messageOf(error.cause) });
  // A head that is invalid or too large.
  if (what === "asking" && /^HPE_|^UND_ERR_HEADERS_OVERFLOW/.test(code)) return new Failed("Protocol", facts);
  if (/redirect count exceeded/.test(error?.cause?.message ?? "")) return new Failed("RedirectRefused", { ...facts, message: error.cause.message });
  return new Failed("Network", facts);
}

/** Returns true for a programming error, which no retry fixes. A broken connection is a TypeError too, with another message. */
export function isMistake(error) {
  const { name, message } = error ?? {};
  if (name === "TypeError") return /is not (a |an |iterable)|cannot (read|set|convert|destructure)|expected .+ (to be|instance)/i.test(message);
  return name === "ReferenceError" || name === "SyntaxError" || name === "RangeError";
}

function codeOf(error) {
  const code = error?.code;
  return typeof code === "string" ? code : String(error?.name ?? "");
}

/** An error's message, with the cause that Node's `fetch` hides one level down. URLs in it are as they may be shown. */
export function messageOf(error) {
  const own = error?.message || textOf(error);
  const cause = error?.cause?.message || error?.cause?.code;
  return withoutSecrets(cause ? `${own}: ${cause}` : String(own));
}

/** Anything can be thrown, also what has no text. */
function textOf(value) {
  try {
    return String(value);
  } catch {
    return "an object without a text";
  }
}
