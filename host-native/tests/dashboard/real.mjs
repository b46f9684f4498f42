// The real server and its sources: `regrip serve` at REGRIP, the fault server at REGRIP_FAULTD, in a folder of their own.
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { sees } from "./browser.mjs";

/** Why it cannot be tested here; false where it can. */
export const isMissing =
  process.env.REGRIP && process.env.REGRIP_FAULTD ? false : "REGRIP and REGRIP_FAULTD do not name the programs";

/** Where nobody listens. */
const NOBODY = "http://127.0.0.1:1/cellar";

/** A program, once a line of its output says where it listens. */
async function started(program, options, stream, pattern) {
  const child = spawn(program, options, { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.resume();
  child.stderr.resume();
  const said = [];
  for await (const line of createInterface({ input: child[stream] })) {
    said.push(line);
    const origin = pattern.exec(line)?.[1];
    if (!origin) continue;
    // Reading on keeps its pipe from filling up.
    child[stream].resume();
    return { child, origin: origin.replace(/\/$/, "") };
  }
  throw new Error(`${program} does not start: ${said.join("\n")}`);
}

/** Logs in, once with a wrong key. */
export async function logIn(page, server) {
  await page.getByLabel("API key").fill("wrong");
  await page.keyboard.press("Enter");
  await sees(page, "key is wrong");
  await page.getByLabel("API key").fill(server.key);
  await page.keyboard.press("Enter");
  await sees(page, "Live");
}

export class Real {
  constructor(script) {
    this.script = script;
    this.key = "correct-horse-battery";
  }

  /** `share`: a film is shared, under an address that quick links can have. */
  async start({ share = false } = {}) {
    this.folder = await mkdtemp(join(tmpdir(), "regrip-dashboard-"));
    for (const name of ["watch", "completed", "data", "share"]) await mkdir(join(this.folder, name), { recursive: true });
    const scriptFile = join(this.folder, "script.json");
    await writeFile(scriptFile, JSON.stringify(this.script));
    this.source = await started(process.env.REGRIP_FAULTD, ["--script", scriptFile], "stdout", /^listening on (\S+)$/);
    this.config = join(this.folder, "config.json");
    await writeFile(
      this.config,
      JSON.stringify({
        downloads: {
          digest: "sha256",
          watchPath: join(this.folder, "watch"),
          completedPath: join(this.folder, "completed"),
          retryBaseDelayMs: 50,
        },
        regrip: { listen: "127.0.0.1:0", apiKey: this.key, dataDir: join(this.folder, "data") },
        peers: [{ name: "cellar", url: NOBODY, apiKey: "k" }],
      }),
    );
    if (share) return this.#sharing();
    await this.#serve();
    return this;
  }

  /** Its own address is known only once it has listened there. */
  async #sharing() {
    await writeFile(join(this.folder, "share", "Film (2020).mkv"), randomBytes(3_000_000));
    await this.#serve();
    await this.kill();
    const config = JSON.parse(await readFile(this.config, "utf8"));
    Object.assign(config.regrip, { listen: new URL(this.origin).host, external: { instanceName: "friend", url: this.origin } });
    await writeFile(this.config, JSON.stringify({ ...config, share: [join(this.folder, "share")] }));
    await this.#serve();
    return this;
  }

  async #serve() {
    this.server = await started(process.env.REGRIP, ["serve", "--config", this.config], "stderr", /listening at (\S+)/);
    this.origin = this.server.origin;
  }

  /** Where the source has a file. */
  url(path) {
    return `${this.source.origin}${path}`;
  }

  /** Drops a stub for an item of the peer that cannot be reached. */
  async drop(name) {
    const options = ["stub", "create", "--peer", NOBODY, "--item", name, "--name", name, "--length", "1000"];
    await promisify(execFile)(process.env.REGRIP, [...options, "-o", join(this.folder, "watch", `${name}.torrent`)]);
  }

  async kill() {
    this.server.child.kill("SIGKILL");
    await once(this.server.child, "exit");
  }

  async stop() {
    for (const { child } of [this.server, this.source].filter(Boolean)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGTERM");
      await once(child, "exit");
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
