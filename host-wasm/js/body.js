// A response as `fetch` should give it, and the reader of its body. A `fetch` of the caller's own may give other streams
// than a browser does.
import { Failed } from "./errors.js";

const NEEDED = "the fetch that was given has to resolve to a Response";

/** Refuses what no attempt would change: an answer that is no response. */
export function refuseOddHead(response) {
  const { status, headers } = response ?? {};
  if (!Number.isInteger(status)) throw odd(`${NEEDED}, with a status`);
  if (typeof headers?.get !== "function") throw odd(`${NEEDED}, with headers that have get()`);
}

/** A reader with `read` and `cancel`: of a web stream, of anything that is iterated over asynchronously, as Node's streams are, or of all bytes at once. */
export function readerOf(response, isOwn) {
  const { body } = response;
  if (response.bodyUsed || body?.locked) throw odd("the fetch that was given has read the body already: give it back unread");
  if (typeof body?.getReader === "function") return body.getReader();
  if (typeof body?.[Symbol.asyncIterator] === "function") return readerOver(body[Symbol.asyncIterator](), body);
  if (body !== null && body !== undefined) throw odd("the body of the fetch that was given is neither a web stream nor a stream of Node");
  if (isOwn && typeof response.arrayBuffer === "function") return readerOnce(response);
  if (isOwn && body === undefined) throw odd("the fetch that was given has no body: a web stream, a stream of Node, or arrayBuffer()");
  return { read: async () => ({ done: true }), cancel: async () => {} };
}

/** Leaves a body unread. */
export async function discard({ body }) {
  if (typeof body?.cancel === "function") await body.cancel();
  else body?.destroy?.();
}

function readerOver(iterator, body) {
  return {
    async read() {
      const { done, value } = await iterator.next();
      return { done, value: value instanceof ArrayBuffer ? new Uint8Array(value) : value };
    },
    async cancel() {
      if (typeof body.destroy === "function") body.destroy();
      else await iterator.return?.();
    },
  };
}

function readerOnce(response) {
  let bytes;
  return {
    async read() {
      if (bytes) return { done: true };
      bytes = new Uint8Array(await response.arrayBuffer());
      return { done: bytes.length === 0, value: bytes };
    },
    cancel: async () => {},
  };
}

function odd(message) {
  return new Failed("Protocol", { message });
}
