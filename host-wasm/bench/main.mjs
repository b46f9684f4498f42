// The command: which parts, how often, and where the tables go.
import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { chromium } from "./chromium.mjs";
import { node } from "./node.mjs";
import { primitives } from "./primitives.mjs";
import { sizes } from "./sizes.mjs";

const PAGE = new URL("../BENCHMARKS.md", import.meta.url);
const PARTS = { node, chromium, primitives, sizes };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: "string", default: "5" }, mib: { type: "string", default: "512" }, cycles: { type: "string", default: "1000000" }, write: { type: "boolean", default: false } },
});
const plan = { runs: Number(values.runs), bytes: Number(values.mib) * 2 ** 20, cycles: Number(values.cycles) };

for (const name of positionals.length > 0 ? positionals : Object.keys(PARTS)) {
  if (!PARTS[name]) throw new Error(`there is no part ${name}: ${Object.keys(PARTS).join(", ")}`);
  const before = loadavg()[0];
  const table = await PARTS[name](plan);
  const text = `${await circumstances(before)}\n\n${table}`;
  console.log(`\n## ${name}\n\n${text}`);
  if (values.write) await put(name, text);
}

/** When, on what, of which commit, and how busy the machine was before. */
async function circumstances(load) {
  const commit = execFileSync("git", ["describe", "--always", "--dirty", "--abbrev=7"], { encoding: "utf8" }).trim();
  const model = cpus()[0].model.replaceAll(/\s+/g, " ").trim();
  const busy = `load ${load.toFixed(1)} before it`;
  return `<sub>${new Date().toISOString().slice(0, 10)}, commit ${commit}, ${cpus().length} × ${model}, Node ${process.versions.node}, ${busy}, medians of ${plan.runs}: \`host-wasm/bench/run ${process.argv.slice(2).join(" ")}\`</sub>`;
}

/** Replaces what stands between the marks of a part. */
async function put(name, text) {
  const page = await readFile(PAGE, "utf8");
  const marked = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`);
  if (!marked.test(page)) throw new Error(`BENCHMARKS.md has no marks for ${name}`);
  await writeFile(PAGE, page.replace(marked, (_, begin, end) => `${begin}${text}\n${end}`));
}
