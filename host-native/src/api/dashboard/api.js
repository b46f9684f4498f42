// Asks the API. The cookie goes along by itself; the key is sent once, by the login, and kept nowhere.

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `the server answered ${status}`);
    Object.assign(this, { status, code: error?.code, field: error?.field });
  }
}

let locked = () => {};

// Calls back when the API wants a key and does not get it.
export function onLocked(callback) {
  locked = callback;
}

// How far this clock is ahead of the server's, in milliseconds.
let ahead = 0;
export const now = () => Date.now() - ahead;

// A body is sent as JSON, or as the form it is. Text that is not JSON is returned as it is.
export async function api(path, { method = "GET", body } = {}) {
  const isForm = body instanceof URLSearchParams;
  const response = await fetch(path.startsWith("torznab/") ? path : `api/${path}`, {
    method,
    cache: "no-store",
    headers: body && !isForm ? { "content-type": "application/json" } : {},
    body: isForm ? body : body && JSON.stringify(body),
    signal: AbortSignal.timeout(30000),
  });
  const difference = Date.now() - Date.parse(response.headers.get("date"));
  ahead = Math.abs(difference) > 2000 ? difference : 0;
  const text = await response.text();
  let answer = text || null;
  try {
    answer = JSON.parse(text);
  } catch {
    // Torznab, and the API of the download client.
  }
  if (response.ok) return answer;
  if (response.status === 401 && path !== "session") locked();
  throw new Refused(response.status, answer?.error ?? (isForm && { message: text }));
}
