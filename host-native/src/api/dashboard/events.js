// Events: what each changes in a row.

import { allSoon, downloads, importSoon, latestSoon, put } from "./known.js";
import { views } from "./row.js";
import { measure } from "./speed.js";

const STANDS = { waiting_until: null, waiting_why: null, error: null, error_class: null, error_code: null };
const ended = (status) => (event) => ({
  ...STANDS,
  status,
  downloaded_bytes: event.bytes,
  attempts: event.attempts,
  restarts: event.restarts,
  error: event.error,
  error_class: event.class,
  error_code: event.code,
});
const STANDING = ["queued", "waiting"];
const CHANGES = {
  queued: () => ({ ...STANDS, status: "queued" }),
  started: (event) => ({
    ...STANDS,
    status: "downloading",
    attempts: event.attempt,
    downloaded_bytes: event.from,
    started_over: null,
  }),
  headers: (event) => ({
    expected_bytes: event.expected_bytes,
    expected_bytes_source: event.source,
    expected_bytes_mismatch: event.mismatch,
  }),
  progress: (event, row) => ({
    status: STANDING.includes(row.status) ? "downloading" : row.status,
    downloaded_bytes: event.bytes,
    expected_bytes: event.total,
  }),
  restart: (event, row) => ({ downloaded_bytes: 0, restarts: row.restarts + 1, started_over: event }),
  retrying: (event) => ({
    ...STANDS,
    status: "waiting",
    waiting_until: new Date(Date.parse(event.at) + event.delay_ms).toISOString(),
    waiting_why: event.error,
  }),
  // Without an end it waits for a user: it is paused.
  waiting: (event) =>
    event.until === null
      ? { ...STANDS, status: "paused" }
      : { ...STANDS, status: "waiting", waiting_until: event.until, waiting_why: event.why },
  completed: (event) => ({ ...ended("completed")(event), sha256_got: event.sha256, completed_at: event.at }),
  failed: ended("failed"),
  cancelled: ended("cancelled"),
};

export function hear(event) {
  if (event.event === "lagged") return allSoon();
  const change = CHANGES[event.event];
  if (!change) return undefined;
  const row = downloads.get(event.id);
  if (!row) return latestSoon();
  const changed = Object.fromEntries(Object.entries(change(event, row)).filter(([, value]) => value !== undefined));
  const quiet = event.event === "progress" || event.event === "headers";
  put({ ...row, ...changed, heard: event.at, updated_at: quiet ? row.updated_at : event.at });
  measure(event);
  if (!quiet) views.get(event.id)?.rereadSoon();
  // What follows a completed download (its import) has no event.
  if (event.event === "completed") importSoon();
  return undefined;
}
