// What npm would publish, installed into fresh projects: by `import`, by `require`, in TypeScript, through Vite in a browser.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build as esbuild } from "esbuild";
import ts from "typescript";
import { build } from "vite";
import { launch } from "../chromium/browser.mjs";
import { Faultd, sha256, startFaultd } from "../faultd.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const run = promisify(execFile);
const FILM = { files: { "/film": { versions: [{ seed: 1, size: 6_000_000, etag: '"one"' }], answers: [[{ cut: { after: 2_000_000 } }]] } } };

let folder, tarball, files, server, faultd, digest;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "regrip-packed-"));
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: here("../../pkg") });
  const [packed] = [JSON.parse(stdout)].flat();
  tarball = join(folder, packed.filename);
  files = packed.files.map(({ path }) => path);
  server = await startFaultd("--pages", `/=${join(folder, "dist")}`);
  faultd = new Faultd(server.origin);
  await faultd.play({ files: { "/film": { versions: FILM.files["/film"].versions } } });
  digest = sha256(Buffer.from(await (await fetch(faultd.url("/film"))).arrayBuffer()));
});
after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A project that has nothing but the package. */
async function project(name, manifest = {}) {
  const path = join(folder, name);
  await mkdir(path);
  await writeFile(join(path, "package.json"), JSON.stringify({ name, private: true, ...manifest }));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", tarball], { cwd: path });
  return path;
}

/** Runs a program of a project; it prints JSON. */
async function printed(path, name, program) {
  await writeFile(join(path, name), program);
  const { stdout } = await run(process.execPath, [name, faultd.url("/film")], { cwd: path });
  return JSON.parse(stdout);
}

const USE = `
  const url = process.argv[2];
  download(url, "film", { sha256: true, retryBaseDelayMs: 1 }).then(async ({ attempts, sha256 }) => {
    const answer = await retry(async (attempt) => attempt);
    console.log(JSON.stringify({ attempts, sha256, answer, waits: parseRetryAfter("2") }));
  });`;

test("the package has what it needs and nothing else", async () => {
  const expected = /^(LICENSE|README\.md|package\.json|[a-z_0-9-]+\.(js|cjs|wasm|d\.ts|d\.cts)|(sinks|ledgers)\/[a-z-]+\.js)$/;
  assert.deepEqual(files.filter((path) => !expected.test(path)), []);
  for (const path of ["LICENSE", "README.md", "core_bg.wasm", "sha256.wasm", "node.js", "node.cjs", "web.js", "opfs-worker.js", "node.d.ts", "node.d.cts", "web.cjs", "retry.js", "retry.cjs", "retry.d.ts", "retry.d.cts", "web.d.ts", "web.d.cts", "index.d.ts", "index.d.cts"]) {
    assert.ok(files.includes(path), path);
  }
  const manifest = JSON.parse(await readFile(here("../../pkg/package.json"), "utf8"));
  assert.deepEqual([manifest.dependencies, manifest.scripts], [undefined, undefined]);
  assert.match(manifest.version, /^\d+\.\d+\.\d+$/);
  assert.notEqual(manifest.version, "0.0.0");
});

test("in a project of modules it is imported", async () => {
  const path = await project("esm", { type: "module" });
  await faultd.play(FILM);
  const got = await printed(path, "use.js", `import { download, parseRetryAfter, retry } from "regrip";${USE}`);
  assert.deepEqual(got, { attempts: 2, sha256: digest, answer: 1, waits: 2000 });
  assert.ok((await readdir(path)).includes("film"));
});

test("in a project of CommonJS it is required", async () => {
  const path = await project("cjs");
  await faultd.play(FILM);
  const got = await printed(path, "use.js", `const { download, parseRetryAfter, retry } = require("regrip");${USE}`);
  assert.deepEqual(got, { attempts: 2, sha256: digest, answer: 1, waits: 2000 });
});

// FJ09
test("importing it does no work: no module is compiled before it is needed", async () => {
  const path = await project("lazy", { type: "module" });
  const program = `
    let compiled = 0;
    for (const name of ["Module", "Instance"]) {
      const Own = WebAssembly[name];
      WebAssembly[name] = class extends Own { constructor(...given) { super(...given); compiled++; } };
    }
    const { load, retry } = await import("regrip");
    await (await import("regrip/retry")).retry(() => retry(() => 1));
    const before = compiled;
    await load();
    console.log(JSON.stringify([before, compiled > 0]));`;
  assert.deepEqual(await printed(path, "use.js", program), [0, true]);
});

/** What `bundle` makes runs in a folder that has nothing else. */
async function runsAlone(bundle) {
  const path = await mkdtemp(join(folder, "bundled-"));
  await bundle(path);
  const [name] = (await readdir(path)).filter((name) => /\.[cm]?js$/.test(name));
  await faultd.play(FILM);
  const { stdout } = await run(process.execPath, [name, faultd.url("/film")], { cwd: path });
  assert.deepEqual(JSON.parse(stdout), { attempts: 2, sha256: digest, answer: 1, waits: 2000 });
}

// FJ07
test("bundled for Node it runs by itself", async () => {
  const path = await project("bundled", { type: "module" });
  await writeFile(join(path, "use.mjs"), `import { download, parseRetryAfter, retry } from "regrip";${USE}`);
  await writeFile(join(path, "use.cjs"), `const { download, parseRetryAfter, retry } = require("regrip");${USE}`);
  const options = { bundle: true, platform: "node", minify: true, logLevel: "error" };
  await runsAlone((to) => esbuild({ ...options, entryPoints: [join(path, "use.mjs")], format: "esm", outfile: join(to, "main.mjs") }));
  await runsAlone((to) => esbuild({ ...options, entryPoints: [join(path, "use.mjs")], format: "cjs", outfile: join(to, "main.cjs") }));
  await runsAlone((to) => esbuild({ ...options, entryPoints: [join(path, "use.cjs")], format: "cjs", outfile: join(to, "main.cjs") }));
  await runsAlone((to) => build({ root: path, logLevel: "error", ssr: { noExternal: true }, build: { ssr: "use.mjs", outDir: to, emptyOutDir: true } }).then(() => writeFile(join(to, "package.json"), '{"type": "module"}')));
});

test("the primitives alone are imported, required and bundled without the module", async () => {
  const path = await project("one", { type: "module" });
  await writeFile(join(path, "use.mjs"), `import { parseRetryAfter } from "regrip/retry"; console.log(parseRetryAfter("2"));`);
  await writeFile(join(path, "use.cjs"), `const { parseRetryAfter } = require("regrip/retry"); console.log(parseRetryAfter("2"));`);
  for (const name of ["use.mjs", "use.cjs"]) {
    const { outputFiles } = await esbuild({ entryPoints: [join(path, name)], bundle: true, platform: "node", format: "cjs", write: false, outfile: "main.cjs", minify: true });
    assert.ok(outputFiles[0].contents.length < 8_000, `${name}: ${outputFiles[0].contents.length} bytes`);
    await writeFile(join(path, "main.cjs"), outputFiles[0].contents);
    for (const program of [name, "main.cjs"]) assert.equal((await run(process.execPath, [program], { cwd: path })).stdout, "2000\n");
  }
});

test("it is imported and required where there is none of what a browser has, as in jsdom, and the primitives work by require", async () => {
  const path = await project("bare", { type: "module" });
  const program = `
    import { createRequire } from "node:module";
    const missing = ["TextDecoder", "TextEncoder", "fetch", "Headers", "Request", "Response", "ReadableStream", "WritableStream", "AbortController", "FinalizationRegistry", "WebAssembly", "crypto", "navigator", "performance", "btoa", "atob"];
    const kept = {};
    for (const name of missing) {
      kept[name] = Object.getOwnPropertyDescriptor(globalThis, name);
      Object.defineProperty(globalThis, name, { configurable: true, get() { throw new Error(name + " was touched"); } });
    }
    const require = createRequire(import.meta.url);
    const names = [await import("regrip"), await import("regrip/web"), require("regrip"), require("regrip/web")].map((all) => typeof all.download);
    const globals = missing.filter((name) => !["TextDecoder", "TextEncoder", "fetch"].includes(name));
    for (const name of ["TextDecoder", "TextEncoder", "fetch"]) delete globalThis[name];
    for (const name of globals) if (kept[name]) Object.defineProperty(globalThis, name, kept[name]); else delete globalThis[name];
    const { retry, parseRetryAfter } = require("regrip/web");
    let attempts = 0;
    await retry(async () => { if (++attempts < 2) throw new TypeError("fetch failed"); }, { baseDelayMs: 0 });
    console.log(JSON.stringify([names, attempts, parseRetryAfter("2")]));`;
  assert.deepEqual(await printed(path, "use.mjs", program), [["function", "function", "function", "function"], 2, 2000]);
});

const NODE_TYPES = { types: ["node"], typeRoots: [here("../../node_modules/@types")] };
const NO_TYPES = { types: [] };
const ESNEXT = ["esnext"];
const DOM = ["esnext", "dom", "dom.iterable"];
const NODENEXT = { module: "nodenext", moduleResolution: "nodenext" };
const NODE16 = { module: "node16", moduleResolution: "node16" };
const BUNDLER = { module: "esnext", moduleResolution: "bundler" };

test("its types hold in TypeScript, by import and by require, and refuse what is wrong", async () => {
  const path = await project("types");
  await cp(here("types"), path, { recursive: true });
  assert.deepEqual(mistakes(path, ["node.mts", "node-required.cts"], { ...NODENEXT, ...NODE_TYPES, lib: ESNEXT }), []);
  assert.deepEqual(mistakes(path, ["node.mts", "node-required.cts"], { ...NODE16, ...NODE_TYPES, lib: DOM }), []);
  assert.deepEqual(mistakes(path, ["web.ts"], { ...BUNDLER, ...NO_TYPES, lib: DOM }), []);
  // A bundler chooses the platform later: there are the types of both.
  assert.deepEqual(mistakes(path, ["node.mts"], { ...BUNDLER, ...NODE_TYPES, lib: ESNEXT }), []);
});

// FJ08
test("its types compile with every resolution, with and without those of the DOM and of Node", async () => {
  const path = await project("every");
  await cp(here("types"), path, { recursive: true });
  for (const resolution of [NODENEXT, BUNDLER]) {
    for (const lib of [["es2022"], DOM]) {
      for (const types of [NODE_TYPES, NO_TYPES]) {
        const names = resolution === BUNDLER ? ["every.mts"] : ["every.mts", "every.cts"];
        assert.deepEqual(mistakes(path, names, { ...resolution, ...types, lib }), [], JSON.stringify([resolution, lib, types]));
      }
    }
  }
});

test("the types name what is there, and all of it", async () => {
  const options = { ...NODENEXT, lib: DOM, ...NO_TYPES };
  for (const name of ["node", "web", "retry"]) {
    const types = here(`../../pkg/${name}.d.ts`);
    const program = ts.createProgram([types], compilerOptions(options));
    const checker = program.getTypeChecker();
    const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(types)));
    const isValue = (symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol).flags & ts.SymbolFlags.Value;
    const declared = exported.filter(isValue).map((symbol) => symbol.name);
    assert.deepEqual(declared.sort(), Object.keys(await import(here(`../../pkg/${name}.js`))).sort(), name);
  }
});

function mistakes(path, names, options) {
  const program = ts.createProgram(names.map((name) => join(path, name)), compilerOptions(options));
  return ts.getPreEmitDiagnostics(program).map((found) => {
    const { line } = found.file?.getLineAndCharacterOfPosition(found.start) ?? {};
    return `${found.file?.fileName}:${line + 1}: ${ts.flattenDiagnosticMessageText(found.messageText, " ")}`;
  });
}

/** As a tsconfig.json has them. The package's own declarations are checked too. */
function compilerOptions(options) {
  const { options: read, errors } = ts.convertCompilerOptionsFromJson({ strict: true, noEmit: true, exactOptionalPropertyTypes: true, skipDefaultLibCheck: true, target: "es2022", ...options }, folder);
  assert.deepEqual(errors, []);
  return read;
}

test("Vite finds the worker and the modules, and the page downloads under a strict policy", async () => {
  const path = await project("vite", { type: "module" });
  await cp(here("vite"), path, { recursive: true });
  await build({ root: path, logLevel: "warn", build: { outDir: join(folder, "dist"), emptyOutDir: true, modulePreload: { polyfill: false } } });
  const assets = await readdir(join(folder, "dist/assets"));
  for (const wanted of [/^core_bg-.+\.wasm$/, /^sha256-.+\.wasm$/, /^opfs-worker-.+\.js$/]) {
    assert.ok(assets.some((name) => wanted.test(name)), `${wanted} in ${assets}`);
  }

  await faultd.play(FILM);
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const asked = [];
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    await page.goto(`${faultd.origin}/`);
    await page.waitForFunction(() => document.title !== "waiting");
    assert.equal(await page.title(), `2 ${digest} ${digest}`);
    assert.ok(asked.some((path) => /opfs-worker/.test(path)), "the worker was started");
  } finally {
    await browser.close();
  }
});
