// What travels: bundled and minified as a page's build does it, and compressed.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export async function sizes() {
  const rows = {
    "`core_bg.wasm`, loaded when first needed": await readFile(here("../pkg/core_bg.wasm")),
    "`sha256.wasm`, loaded in a browser when a digest is first asked for": await readFile(here("../pkg/sha256.wasm")),
    "the JavaScript for a browser": await bundled(`export * from ${JSON.stringify(here("../pkg/web.js"))}`),
    "`regrip/retry`": await bundled(`export * from ${JSON.stringify(here("../pkg/retry.js"))}`),
    "p-retry": await bundled('export * from "p-retry"; export { default } from "p-retry"'),
    "p-limit": await bundled('export * from "p-limit"; export { default } from "p-limit"'),
    "p-queue": await bundled('export * from "p-queue"; export { default } from "p-queue"'),
  };
  const lines = Object.entries(rows).map(([name, bytes]) => `| ${name} | ${bytes.length} | ${gzipSync(bytes, { level: 9 }).length} | ${brotliCompressSync(bytes).length} |`);
  return ["| bytes | plain | gzip | brotli |", "|---|---|---|---|", ...lines].join("\n");
}

async function bundled(contents) {
  const { outputFiles } = await build({ stdin: { contents, resolveDir: here(".") }, bundle: true, minify: true, format: "esm", platform: "browser", target: "es2022", write: false, logLevel: "error" });
  return Buffer.from(outputFiles[0].contents);
}
