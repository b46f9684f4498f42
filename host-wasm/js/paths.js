// The names of the files beside a destination in Node. The part and its lock are named as the native regrip names them, so that each
// finds what the other left.
import { createHash } from "node:crypto";
import { basename, dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { found, isUrl } from "./checks.js";

/** The path that a caller gave as a text or a `file:` URL. */
export function nameOf(what, given) {
  if (typeof given === "string") return given;
  if (!isUrl(given)) throw new TypeError(`${what} is ${found(given)}, expected a path or a file: URL`);
  if (given.protocol !== "file:") throw new TypeError(`${what} has the scheme ${given.protocol.slice(0, -1)}, expected a path or a file: URL`);
  return fileURLToPath(given.href);
}

/**
 * What the record and the lock of a destination lie beside: a path, or, for a sink of the program's own, a file of its name in the
 * engine's folder.
 */
export function placeOf(folder, name) {
  if (isAbsolute(name)) return name;
  return `${folder}/${name.replace(/[%/\\\0]/g, encodeURIComponent)}`;
}

/** Longest file name, in bytes. */
export const NAME_BYTES = 255;

/** Longer "extensions" are not one, and would leave no room. */
const EXTENSION_BYTES = 64;

/** `<destination>.part`. If that name would exceed 255 bytes: the SHA-256 of the file's name, its extension and `.part`. */
export function partPath(path) {
  const name = basename(path);
  if (fits(`${name}.part`)) return `${path}.part`;
  return join(dirname(path), `${sha256(name)}${shortExtension(name)}.part`);
}

/** `<part>.lock`. If that name with two times `.new` would exceed 255 bytes: the SHA-256 of the part's name and `.lock`. */
export function lockPath(part) {
  const name = basename(part);
  return join(dirname(part), `${fits(`${name}.lock.new.new`) ? name : sha256(name)}.lock`);
}

/** `<part>.json`. If that name with `.new` would exceed 255 bytes: the SHA-256 of the file's name and `.part.json`. */
export function recordPath(path) {
  const part = partPath(path);
  if (fits(`${basename(part)}.json.new`)) return `${part}.json`;
  return join(dirname(path), `${sha256(basename(path))}.part.json`);
}

/** The names that are kept for the partial data of a destination: part, record and lock, and what these are replaced by. */
export function besides(path) {
  const part = partPath(path);
  const [record, lock] = [recordPath(path), lockPath(part)];
  return [part, record, `${record}.new`, lock, `${lock}.new`, `${lock}.new.new`];
}

function fits(name) {
  return Buffer.byteLength(name) <= NAME_BYTES;
}

/** With its dot; a name that begins with its only dot has none. */
function shortExtension(name) {
  const dot = name.lastIndexOf(".");
  const extension = name.slice(dot + 1);
  return dot > 0 && Buffer.byteLength(extension) <= EXTENSION_BYTES ? `.${extension}` : "";
}

function sha256(text) {
  return createHash("sha256").update(text).digest("hex");
}
