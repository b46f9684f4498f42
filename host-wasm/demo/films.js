// The films, and how the breaking server is to break: a script for `regrip-faultd`, which `regrip demo --web` runs beside
// this page. Answer n is for the n-th request of a film.
const MB = 1_000_000;

/** Megabytes a second and connection: `?rate=30` is for the impatient. */
const RATE = Number(new URLSearchParams(location.search).get("rate")) || 3;

const version = (seed, size) => ({ seed, size, etag: `"v${seed}"` });

export const FILMS = [
  {
    name: "cut.mkv",
    trouble: "The line is cut every few seconds.",
    canReplace: true,
    file: {
      versions: [version(1, 30 * MB), version(7, 30 * MB)],
      answers: [[{ cut: { after: 8 * MB } }], [{ cut: { after: 7 * MB, how: "reset" } }], [{ cut: { after: 9 * MB } }]],
    },
  },
  {
    name: "busy.mkv",
    trouble: "The server falls silent, and then has no time for two seconds.",
    canReplace: true,
    file: {
      versions: [version(2, 24 * MB), version(8, 24 * MB)],
      answers: [[{ stall: { after: 10 * MB } }], [{ status: { code: 503, retry_after: "2" } }]],
    },
  },
  {
    name: "replaced.mkv",
    trouble: "After a cut the server has another film of that name, and says so.",
    file: {
      versions: [version(3, 22 * MB), version(4, 22 * MB)],
      answers: [[{ cut: { after: 9 * MB } }], [{ replace: { version: 1 } }]],
    },
  },
  {
    name: "unmarked.mkv",
    trouble: "The same, and the server does not say so: only the bytes tell.",
    file: {
      versions: [
        { seed: 5, size: 20 * MB },
        { seed: 6, size: 20 * MB },
      ],
      answers: [[{ cut: { after: 9 * MB } }], [{ replace: { version: 1 } }]],
    },
  },
];

export const pathOf = (name) => `/films/${name}`;

/** Returns true if the server of this page is the fault server. */
export async function hasPeer() {
  const answer = await fetch("/_faultd/log").catch(() => undefined);
  return Boolean(answer?.ok);
}

/** The server's present version of a film; undefined if it does not run our script. A reload must not restart that. */
export async function versionOf({ name, file }) {
  const { ok, headers } = await fetch(pathOf(name), { method: "HEAD" });
  return ok ? Math.max(file.versions.findIndex(({ etag }) => etag && etag === headers.get("etag")), 0) : undefined;
}

/** Has it play the script from its beginning. */
export async function play() {
  const files = Object.fromEntries(FILMS.map(({ name, file }) => [pathOf(name), file]));
  await control("script", { files, latency_ms: 30, bytes_per_second: RATE * MB });
}

/** Breaks every connection that carries bytes. */
export const cutTheLine = () => control("cut");

/** The server has the other version of a film from now on. */
export const replace = (name, version) => control(`replace?path=${encodeURIComponent(pathOf(name))}&version=${version}`);

async function control(what, body) {
  const answer = await fetch(`/_faultd/${what}`, { method: "POST", body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
}
