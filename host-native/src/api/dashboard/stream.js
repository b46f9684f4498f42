// The event stream, by fetch: the cookie goes with it, and its end is seen.

import { Refused, api, onLocked } from "./api.js";
import { page, parts, say } from "./elements.js";
import { hear } from "./events.js";
import { downloads, noteChange, readAll, readSides } from "./known.js";
import { hasLoggedIn, logIn } from "./login.js";
import { readPage } from "./pages.js";
import { forgetSpeeds } from "./speed.js";
import { failure, time } from "./words.js";

const SILENCE = 40000;
let connection = new AbortController();
let wake = () => {};
let lostAt = null;
let locked = false;

export const isConnected = () => lostAt === null && page("link").classList.contains("live");

// Ends a wait, and the connection if it is no longer authorised: the next response shows the login.
export function tryNow() {
  wake();
}

function lock() {
  locked = true;
  connection.abort();
  wake();
}
onLocked(lock);

export function prepareLeaving() {
  page("leave").addEventListener("click", async () => {
    await api("session", { method: "DELETE" }).catch(() => {});
    lock();
  });
}

export async function stayConnected() {
  for (let failures = 0, why = null; ; failures += 1) {
    connection = new AbortController();
    locked = false;
    try {
      const response = await fetch("api/events", {
        cache: "no-store",
        headers: { accept: "text/event-stream" },
        signal: connection.signal,
      });
      if (response.status === 401) {
        await response.body?.cancel();
        await logIn();
        failures = -1;
        continue;
      }
      if (!response.ok) throw new Refused(response.status, (await response.json().catch(() => null))?.error);
      // Events are collected while the lists are read, so that nothing falls between the two.
      const heard = events(response.body);
      const first = heard.next();
      first.catch(() => {});
      for (const row of downloads.values()) row.heard = "";
      await Promise.all([readAll(), readSides(), readPage()]);
      connected();
      failures = 0;
      for (let next = await first; !next.done; next = await heard.next()) hear(next.value);
      why = null;
    } catch (error) {
      // Whatever it was, the answer is another try.
      why = error;
    }
    connection.abort();
    if (!locked) await lost(failures, why);
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let data = [];
  for (;;) {
    const dead = setTimeout(() => connection.abort(), SILENCE);
    const { done, value } = await reader.read().finally(() => clearTimeout(dead));
    if (done) return;
    text += value;
    const lines = text.split(/\r\n|\n|\r/);
    text = lines.pop();
    if (text.length > 1 << 20) throw new Error("a line without an end");
    for (const line of lines) {
      if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      if (line !== "" || data.length === 0) continue;
      yield JSON.parse(data.join("\n"));
      data = [];
    }
  }
}

function connected() {
  lostAt = null;
  noteChange(true);
  page("trouble").hidden = true;
  page("board").hidden = false;
  page("pages").hidden = false;
  page("board").classList.remove("stale");
  page("add").hidden = false;
  page("leave").hidden = !hasLoggedIn();
  page("link").className = "live";
  say(page("link"), "Live");
}

// Waits before the next try: twice as long each time, up to half a minute, and not in step with other pages.
async function lost(failures, why) {
  const pause = Math.min(30000, 1000 * 2 ** Math.min(failures, 5)) * (0.5 + Math.random() / 2);
  const until = Date.now() + pause;
  lostAt ??= new Date();
  forgetSpeeds();
  noteChange();
  page("link").className = "lost";
  say(page("link"), "Not connected");
  page("board").classList.add("stale");
  const banner = parts(page("trouble"));
  const refused = why instanceof Refused && `Unexpected answer from the server: ${failure(why)}.`;
  const old = page("board").hidden ? "" : `The data shown is from ${time(lostAt)}.`;
  say(banner.what, `${refused || "The server does not answer."} ${old}`);
  page("trouble").hidden = false;
  const tell = () => say(banner.when, `Trying again in ${Math.max(1, Math.ceil((until - Date.now()) / 1000))} s`);
  tell();
  const ticking = setInterval(tell, 1000);
  await new Promise((resolve) => {
    wake = resolve;
    setTimeout(resolve, pause);
  });
  clearInterval(ticking);
  say(banner.when, "Trying now");
}
