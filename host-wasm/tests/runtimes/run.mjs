// Tries the package, as npm would publish it, in every runtime, build and test runner there is here, and writes the table of
// yes and no into the README: `host-wasm/tests/runtimes/run.mjs [--write]`. Needs REGRIP_FAULTD, and REGRIP_CHROMIUM and
// REGRIP_FIREFOX (Debian: firefox-esr) for browsers; the rest is installed by npm into `target/runtimes`, which takes a few minutes once.
import { execFile, spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { Faultd, sha256, startFaultd } from "../faultd.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const exec = promisify(execFile);
const README = here("../../js/README.md");
const FILM = { seed: 1, size: 3_000_000, etag: '"one"' };

/** Kept: what npm installs is large. */
const folder = here("../../../target/runtimes");
await rm(join(folder, "pages"), { recursive: true, force: true });
await mkdir(join(folder, "pages"), { recursive: true });
const bin = (path) => join(folder, "node_modules", path);
const server = await startFaultd("--pages", `/=${join(folder, "pages")}`);
const faultd = new Faultd(server.origin);
const rows = [];
try {
  await install();
  await main();
} finally {
  await report();
  await server.stop();
}

async function install() {
  const manifest = JSON.parse(await readFile(here("package.json"), "utf8"));
  const { stdout } = await exec("npm", ["pack", "--json", "--pack-destination", folder], { cwd: here("../../pkg") });
  manifest.dependencies.regrip = `file:${[JSON.parse(stdout)].flat()[0].filename}`;
  await writeFile(join(folder, "package.json"), JSON.stringify(manifest));
  await exec("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", "--no-package-lock"], { cwd: folder });
  await copyFile(here("suite.mjs"), join(folder, "suite.mjs"));
}

async function main() {
  await faultd.play({ files: { "/film": { versions: [FILM] } } });
  const wanted = sha256(Buffer.from(await (await fetch(faultd.url("/film"))).arrayBuffer()));
  const facts = `{ url: ${JSON.stringify(faultd.origin)}, wanted: "${wanted}"`;
  const use = (to, name = "regrip") => `import * as regrip from "${name}"; import { suite } from "./suite.mjs"; await suite(regrip, ${facts}, to: ${to} });`;
  await writeFile(join(folder, "node.mjs"), `import { tmpdir } from "node:os"; ${use('`${tmpdir()}/regrip-${Math.random()}`')} console.log("done");`);
  await writeFile(join(folder, "page.js"), `${use('"film"')}`.replace(/await suite(.+);/, 'suite$1.then(() => (document.title = "done"), (error) => (document.title = String(error?.stack ?? error))).then(() => fetch(`/ended/${encodeURIComponent(document.title)}`));'));

  await run("Node 20", bin("node20/bin/node"), ["node.mjs"]);
  await run("Node 22", bin("node22/bin/node"), ["node.mjs"]);
  await run("Bun", bin("@oven/bun-linux-x64/bin/bun"), ["node.mjs"]);
  await run("Deno", bin("@deno/linux-x64-glibc/deno"), ["run", "--allow-all", "--node-modules-dir=manual", "node.mjs"]);

  const test = `test("it works", async () => { await suite(regrip, ${facts} }); }, 60000);`;
  await writeFile(join(folder, "vitest.test.mjs"), `import { test } from "vitest"; import * as regrip from "regrip"; import { suite } from "./suite.mjs"; ${test}`);
  await run("Vitest", bin("node22/bin/node"), [bin("vitest/vitest.mjs"), "run", "vitest.test.mjs"]);
  await writeFile(join(folder, "suite.cjs"), (await readFile(here("suite.mjs"), "utf8")).replace("export async", "exports.suite = suite; async"));
  await writeFile(join(folder, "jest.test.cjs"), `const regrip = require("regrip"); const { suite } = require("./suite.cjs"); ${test}`);
  await run("Jest", process.execPath, [bin("jest/bin/jest.js"), "--testMatch", "**/jest.test.cjs", "--rootDir", folder, "--config", "{}"]);

  const out = (name) => join(folder, "pages", name);
  const builds = {
    Vite: `const { build } = await import("vite"); await writeFile("index.html", '<script type="module" src="/page.js"></script>'); await build({ base: "/vite/", logLevel: "error", build: { outDir: "${out("vite")}", target: "es2022" } });`,
    webpack: `const { default: webpack } = await import("webpack"); await new Promise((done, failed) => webpack({ mode: "production", context: process.cwd(), entry: "./page.js", experiments: { outputModule: true }, output: { path: "${out("webpack")}", publicPath: "/webpack/", filename: "page.js", module: true } }, (error, stats) => (error || stats.hasErrors() ? failed(error ?? new Error(stats.toString())) : done())));`,
    esbuild: `const { build } = await import("esbuild"); await build({ entryPoints: ["page.js"], bundle: true, format: "esm", minify: true, outfile: "${out("esbuild/page.js")}", logLevel: "error" });`,
    Rollup: `const { rollup } = await import("rollup"); const { nodeResolve } = await import("@rollup/plugin-node-resolve"); const bundle = await rollup({ input: "page.js", plugins: [nodeResolve({ browser: true })] }); await bundle.write({ dir: "${out("rollup")}", format: "esm" });`,
  };
  const assets = ["core_bg.wasm", "sha256.wasm", "opfs-worker.js", "sinks"];
  for (const [name, program] of Object.entries(builds)) {
    const page = name.toLowerCase();
    await writeFile(join(folder, "build.mjs"), `import { writeFile } from "node:fs/promises"; ${program}`);
    const built = await attempt(() => exec(process.execPath, ["build.mjs"], { cwd: folder }));
    if (built === true && name !== "Vite") await writeFile(out(`${page}/index.html`), `<script type="module" src="/${page}/page.js"></script>`);
    // These two do not follow \`new URL(…, import.meta.url)\`: the README says which files go along.
    const copied = name === "esbuild" || name === "Rollup";
    if (built === true && copied) for (const asset of assets) await exec("cp", ["-R", join(folder, "node_modules/regrip", asset), out(page)]);
    note(name, built === true ? await browse(chromium, process.env.REGRIP_CHROMIUM, `/${page}/index.html`) : built);
  }
  note("Chromium", rows.find(([name]) => name === "Vite")[1]);
  note("Firefox", await firefox(process.env.REGRIP_FIREFOX, "/vite/index.html"));
}

/** The table of what was tried. */
async function report() {
  const table = ["| | |", "|---|---|", ...rows.map(([name, works]) => `| ${name} | ${works === true ? "yes" : works === undefined ? "not tried" : "no"} |`)].join("\n");
  console.log(table);
  if (process.argv.includes("--write")) {
    const text = await readFile(README, "utf8");
    await writeFile(README, text.replace(/(<!-- runtimes -->\n)[^]*?(<!-- \/runtimes -->)/, (_, begin, end) => `${begin}${table}\n${end}`));
  }
  process.exitCode = rows.some(([, works]) => typeof works === "string") ? 1 : 0;
}

function note(name, works) {
  rows.push([name, works]);
  console.error(`${name}: ${works === true ? "yes" : works}`);
}

/** The films and their faults, from the beginning. */
function play() {
  const cut = { versions: [FILM], answers: [[{ cut: { after: 1_000_000 } }]] };
  return faultd.play({ files: { "/cut-1": cut, "/cut-2": cut, "/gone": { versions: [FILM], then: [{ status: { code: 404 } }] } } });
}

async function run(name, program, options) {
  await play();
  const works = await attempt(() => exec(program, options, { cwd: folder, timeout: 120_000, env: { ...process.env, NODE_OPTIONS: "", CI: "1" } }));
  note(name, typeof works === "string" && /ENOENT/.test(works) && works.includes(program) ? undefined : works);
}

async function browse(type, executablePath, path) {
  if (!executablePath) return undefined;
  await play();
  return attempt(async () => {
    const browser = await type.launch({ executablePath, args: type === chromium ? ["--no-sandbox"] : [] });
    try {
      const page = await browser.newPage();
      await page.goto(faultd.url(path));
      await page.waitForFunction(() => document.title !== "", undefined, { timeout: 60_000 });
      const title = await page.title();
      if (title !== "done") throw new Error(title);
    } finally {
      await browser.close();
    }
  });
}

/** Firefox as it is packaged, which takes no orders: the page says itself how it ended. */
async function firefox(program, path) {
  if (!program) return undefined;
  await play();
  const profile = await mkdtemp(join(tmpdir(), "regrip-firefox-"));
  const browser = spawn(program, ["--headless", "--no-remote", "--profile", profile, faultd.url(path)], { stdio: "ignore", env: { ...process.env, HOME: profile } });
  const ended = new Promise((done) => browser.once("close", done));
  try {
    return await attempt(async () => {
      for (let tries = 0; tries < 300; tries += 1) {
        const said = (await faultd.log()).find((entry) => entry.path.startsWith("/ended/"));
        if (said?.path === "/ended/done") return;
        if (said) throw new Error(decodeURIComponent(said.path));
        await new Promise((done) => setTimeout(done, 200));
      }
      throw new Error("the page did not end within a minute");
    });
  } finally {
    browser.kill();
    await ended;
    await rm(profile, { recursive: true, force: true });
  }
}

/** True, or what went wrong. */
async function attempt(work) {
  try {
    await work();
    return true;
  } catch (error) {
    return [error.message, error.stdout, error.stderr].filter(Boolean).join("\n");
  }
}
