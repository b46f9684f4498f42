// One download as a scenario describes it, by the package. Node and pages import this.

/**
 * Downloads `url` to `to` with the options of a scenario, as often as it says. Returns what was told and what the last call
 * rejected with, as plain facts; or the message that refused the configuration.
 */
export async function drive(Engine, scenario, { url, to, digests, later }) {
  const { download = {}, cancel_at, calls = 1 } = scenario;
  const { connectionsPerDownload: connections, ...config } = scenario.config ?? {};
  const events = [];
  let engine;
  try {
    const options = { retryBaseDelayMs: 0, ...config, connections };
    if (download.on_exists) options.onExists = download.on_exists;
    engine = new Engine(options);
  } catch (error) {
    if (error instanceof RangeError) return { refused: error.message };
    throw error;
  }
  let returned;
  for (let call = 1; call <= calls; call++) {
    const stop = new AbortController();
    const onEvent = (event) => {
      events.push(event);
      if (call === 1 && event.event === cancel_at) stop.abort();
    };
    const options = {
      onEvent,
      signal: stop.signal,
      adoptPart: download.adopt,
      headers: download.headers,
      expectedBytes: download.release_size,
      digest: call === 1 ? digests : [...digests, ...later],
    };
    returned = await engine.download(url, to, options).then(
      () => undefined,
      ({ code, class: itsClass, attempts, message }) => ({ code, class: itsClass, attempts, message }),
    );
  }
  return { events, returned };
}
