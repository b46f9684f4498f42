// The scenarios of `tests/scenarios`, which core and the native host run too, on the built package in Node: the same
// events in the same order, the same reasons, codes and classes. `tests/scenarios/README.md` describes the format.
import { lstat, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { Engine } from "../pkg/node.js";
import { startFaultd } from "./faultd.mjs";
import { drive } from "./scenarios/drive.js";
import { fingerprint } from "./scenarios/judge.mjs";
import { defineTests } from "./scenarios/suite.mjs";

let servers;
before(async () => {
  const [here, elsewhere, expired] = await Promise.all([startFaultd(), startFaultd(), startFaultd("--tls", "expired")]);
  servers = { here, elsewhere, expired };
});
after(() => Promise.all(Object.values(servers).map((server) => server.stop())));

defineTests({ name: "node", open });

/** A file in a folder of its own. */
async function open(scenario) {
  const folder = await mkdtemp(join(tmpdir(), "regrip-"));
  const path = join(folder, scenario.download?.name ?? "film.mkv");
  return {
    servers: { here: servers.here.origin, elsewhere: servers.elsewhere.origin, expired: servers.expired.origin },
    async put(suffix, there) {
      if (there instanceof Uint8Array) return writeFile(path + suffix, there);
      const beside = join(folder, "beside");
      if (there.odd === "folder") return mkdir(path + suffix);
      if (there.odd === "link") await writeFile(beside, "elsewhere");
      return symlink(beside, path + suffix);
    },
    drive: (scenario, { url, digests, later }) => drive(Engine, scenario, { url, to: path, digests, later }),
    async content(suffix) {
      const stats = await lstat(path + suffix).catch(() => undefined);
      return stats?.isFile() ? fingerprint(await readFile(path + suffix)) : undefined;
    },
    record: () => readFile(`${path}.part.json`, "utf8").then(JSON.parse, () => undefined),
    leftovers: async () => (await readdir(folder)).filter((name) => /lock|new/.test(name)),
    async close() {
      await rm(folder, { recursive: true });
      if (scenario.cancel_at) await renewServer();
    },
  };
}

/** A request that was cancelled may reach its server late, and would be taken for the first one of the next scenario. */
async function renewServer() {
  await servers.here.stop();
  servers.here = await startFaultd();
}
