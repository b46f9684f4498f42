// What each runtime and each build has to do: the same lines everywhere. `to`: a path or name, or nothing for memory.
export async function suite(regrip, { url, wanted, to }) {
  const { MemorySink, RegripError, Semaphore, download, resumableFetch, retry } = regrip;
  const quick = { retryBaseDelayMs: 1, retryMaxDelayMs: 5 };
  const sink = new MemorySink();
  const { attempts, sha256 } = await download(`${url}/cut-1`, to ?? sink, { ...quick, sha256: true });
  expect(attempts === 2 && sha256 === wanted, `download: ${attempts} attempts, ${sha256}`);
  const body = new Uint8Array(await (await resumableFetch(`${url}/cut-2`, quick)).arrayBuffer());
  const digest = [...new Uint8Array(await crypto.subtle.digest("SHA-256", body))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  expect(digest === wanted, `resumableFetch: ${digest}`);
  const gone = await download(`${url}/gone`, new MemorySink(), quick).catch((error) => error);
  expect(gone instanceof RegripError && gone.status === 404, `an error: ${gone}`);
  const tried = await retry((attempt) => (attempt < 3 ? Promise.reject(new TypeError("fetch failed")) : attempt), { baseDelayMs: 1 });
  expect(tried === 3 && (await new Semaphore(1).run(() => "ran")) === "ran", "the primitives");
}

function expect(holds, what) {
  if (!holds) throw new Error(what);
}
