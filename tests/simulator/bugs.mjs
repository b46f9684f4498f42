// Makes each bug of bugs.json in a copy of the core, and prints the first seed that finds it.
//
//   node tests/simulator/bugs.mjs [SEEDS]
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const seeds = process.argv[2] ?? "10000";
const copy = mkdtempSync(join(tmpdir(), "regrip-bugs-"));
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "bugs");
const missed = [];

try {
  const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0");
  for (const file of files.filter((file) => /\.(rs|toml|lock)$/.test(file) || file.startsWith("core/"))) {
    cpSync(join(root, file), join(copy, file));
  }
  for (const { file, from, to, bug } of JSON.parse(readFileSync(join(import.meta.dirname, "bugs.json"), "utf8"))) {
    const path = join(copy, file);
    const code = readFileSync(path, "utf8");
    if (code.split(from).length !== 2) throw new Error(`${file} does not have "${from}" exactly once`);
    writeFileSync(path, code.replace(from, () => to));
    console.log(`${bug}: ${found() ?? (missed.push(bug), "NOT FOUND")}`);
    writeFileSync(path, code);
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
console.log(missed.length === 0 ? "every bug is found" : `${missed.length} bugs are not found`);
process.exitCode = missed.length === 0 ? 0 : 1;

/** What the simulator says first, of the small model, else of the full one. */
function found() {
  const build = ["build", "--release", "--quiet", "--package", "regrip-simulator"];
  const env = { ...process.env, CARGO_TARGET_DIR: target, RUSTFLAGS: `${process.env.RUSTFLAGS ?? ""} --cap-lints warn` };
  const built = spawnSync("cargo", build, { cwd: copy, env, encoding: "utf8" });
  if (built.status !== 0) throw new Error(built.stderr);
  for (const model of [["--small"], []]) {
    const run = spawnSync(join(target, "release", "regrip-simulator"), [...model, "--first-failure", "--seeds", seeds], { encoding: "utf8" });
    if (run.status !== 0) return `${model[0] ?? "full"} ${run.stdout.split("\n")[0] || run.stderr.split("\n")[0]}`;
  }
}
