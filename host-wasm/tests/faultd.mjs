// The fault server for tests in JavaScript: the program at REGRIP_FAULTD, and what it saw.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** Starts a server on a free port; `stop` ends it. */
export async function startFaultd(...options) {
  const program = process.env.REGRIP_FAULTD;
  if (!program) throw new Error("REGRIP_FAULTD is not set: the path of the program regrip-faultd");
  const server = spawn(program, options, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: server.stdout });
  const [line] = await Promise.race([once(lines, "line"), once(server, "error").then(([error]) => Promise.reject(error))]);
  const origin = /^listening on (\S+)$/.exec(line)[1];
  return { origin, stop: () => stopped(server) };
}

async function stopped(server) {
  if (server.exitCode !== null) return;
  server.kill();
  await once(server, "exit");
}

/** A running server, asked over HTTP. */
export class Faultd {
  constructor(origin) {
    this.origin = origin;
  }

  /** Plays a script from its beginning, with an empty log. */
  async play(script) {
    const answer = await fetch(`${this.origin}/_faultd/script`, { method: "POST", body: JSON.stringify(script) });
    if (!answer.ok) throw new Error(await answer.text());
  }

  /** Ends every answer under way, as a broken line would. */
  async cut() {
    await fetch(`${this.origin}/_faultd/cut`, { method: "POST" });
  }

  /** Ends the pauses of every answer under way. */
  async go() {
    await fetch(`${this.origin}/_faultd/go`, { method: "POST" });
  }

  /** What it was asked so far, oldest first. */
  async log() {
    return (await fetch(`${this.origin}/_faultd/log`)).json();
  }

  /** The GETs of a file so far, oldest first. */
  async gets(path) {
    return (await this.log()).filter((entry) => entry.method === "GET" && entry.path === path);
  }

  url(path) {
    return this.origin + path;
  }
}

/** SHA-256 of bytes, in hex. */
export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
