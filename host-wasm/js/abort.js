/**
 * What is promised, or the reason of the signal if that comes first. The signal keeps no listener: `fetch` holds signals for
 * long, and with a listener the response too.
 */
export function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    const over = () => signal.removeEventListener("abort", abort);
    Promise.resolve(promise).then(resolve, reject).then(over);
  });
}
