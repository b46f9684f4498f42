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

export async function api(path, { method = "GET", body } = {}) {
  const response = await fetch(`api/${path}`, {
    method,
    cache: "no-store",
    headers: body ? { "content-type": "application/json" } : {},
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(20000),
  });
  const difference = Date.now() - Date.parse(response.headers.get("date"));
  ahead = Math.abs(difference) > 2000 ? difference : 0;
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.ok) return answer;
  if (response.status === 401 && path !== "session") locked();
  throw new Refused(response.status, answer?.error);
}
