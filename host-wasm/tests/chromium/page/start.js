// What the tests use in a page: the package, and digests by the browser's own means.
import * as regrip from "/pkg/web.js";

globalThis.regrip = regrip;

/** Short waits, and a list of what is told but for the progress. */
globalThis.listening = (options = {}) => {
  const events = [];
  const onEvent = (event) => {
    if (event.event !== "progress") events.push(event);
    options.onEvent?.(event);
  };
  return { events, options: { retryBaseDelayMs: 1, retryMaxDelayMs: 5, ...options, onEvent } };
};

globalThis.sha256 = async (bytes) => {
  const buffer = bytes instanceof Blob ? await bytes.arrayBuffer() : bytes;
  return [...new Uint8Array(await crypto.subtle.digest("SHA-256", buffer))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};

globalThis.sha256Of = async (name) => sha256(await regrip.openFile(name));

/** All names in the private file system. */
globalThis.names = async (folder) => {
  const found = [];
  for await (const name of (folder ?? (await navigator.storage.getDirectory())).keys()) found.push(name);
  return found.sort();
};

/** What a promise rejects with, as plain facts. */
globalThis.failure = async (promise) => {
  try {
    return { resolved: await promise };
  } catch (error) {
    const { name, code, message, class: itsClass, attempts, bytes, advice } = error;
    return { name, code, message, class: itsClass, attempts, bytes, advice, cause: error.cause?.name };
  }
};

globalThis.ready = true;
