// Which boot of the machine a page's bytes were written in: within one boot all that was written counts, not only what was
// flushed. No page can see a reboot, so a page has a number of its own and passes it to its successor in the same tab, if
// that follows sooner than any machine could boot after a power failure.
const KEY = "regrip boot";

/** No machine boots and opens a browser within this time. */
const AT_ONCE_MS = 10_000;

let id;

/** The same as long as what was written outlives it. */
export function bootId() {
  if (id === undefined) {
    id = handedOn() ?? `page ${globalThis.crypto?.randomUUID?.() ?? Math.random()}`;
    if (storage()) addEventListener("pagehide", handOn);
  }
  return id;
}

function handedOn() {
  try {
    const { id, at } = JSON.parse(storage().getItem(KEY));
    storage().removeItem(KEY);
    return Math.abs(performance.timeOrigin - at) < AT_ONCE_MS ? id : undefined;
  } catch {
    return undefined; // no storage, or nothing in it
  }
}

function handOn() {
  try {
    storage().setItem(KEY, JSON.stringify({ id, at: Date.now() }));
  } catch {
    // It is full: the next page counts what was flushed.
  }
}

/** Of the tab. Workers have none, and a page may be denied it. */
function storage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}
