// Makes each bug of bugs.json in a copy of the core, and looks for the first seed that finds it.
//
//   node tests/simulator/bugs.mjs [SEEDS]   all of them; writes the seeds into bugs.json
//   node tests/simulator/bugs.mjs quick     those that are marked so, each by the seed that found it
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const quick = process.argv[2] === "quick";
const seeds = quick ? 1 : Number(process.argv[2] ?? "10000");
const list = join(import.meta.dirname, "bugs.json");
const copy = mkdtempSync(join(tmpdir(), "regrip-bugs-"));
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "bugs");
const MODELS = ["small", "full", "fleet"];
const missed = [];

try {
  const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0");
  for (const file of files.filter((file) => /\.(rs|toml|lock)$/.test(file) || file.startsWith("core/"))) {
    cpSync(join(root, file), join(copy, file));
  }
  const bugs = JSON.parse(readFileSync(list, "utf8"));
  for (const bug of quick ? bugs.filter((bug) => bug.quick) : bugs) {
    const path = join(copy, bug.file);
    const code = readFileSync(path, "utf8");
    if (code.split(bug.from).length !== 2) throw new Error(`${bug.file} does not have "${bug.from}" exactly once`);
    writeFileSync(path, code.replace(bug.from, () => bug.to));
    const seed = found(bug);
    if (seed === undefined) missed.push(bug.bug);
    console.log(`${bug.bug}: ${seed === undefined ? "NOT FOUND" : `${seed.model} model, seed ${seed.seed}: ${seed.violation}`}`);
    if (!quick) {
      bug.found = seed && { model: seed.model, seed: seed.seed };
      writeFileSync(list, `${JSON.stringify(bugs, null, 1)}\n`);
    }
    writeFileSync(path, code);
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
console.log(missed.length === 0 ? "every bug is found" : `${missed.length} bugs are not found`);
process.exitCode = missed.length === 0 ? 0 : 1;

/** The first seed that finds it, in the simplest model. */
function found({ found }) {
  // Built without what makes a build long.
  const profile = ["lto=false", "codegen-units=16", "incremental=true", "opt-level=1"].flatMap((one) => ["--config", `profile.release.${one}`]);
  const build = ["build", "--release", "--quiet", "--package", "regrip-simulator", ...profile];
  const env = { ...process.env, CARGO_TARGET_DIR: target, RUSTFLAGS: `${process.env.RUSTFLAGS ?? ""} --cap-lints warn` };
  const built = spawnSync("cargo", build, { cwd: copy, env, encoding: "utf8" });
  if (built.status !== 0) throw new Error(built.stderr);
  for (const model of quick ? [found.model] : MODELS) {
    const first = quick ? found.seed : 0;
    // The large models take a hundred times as long.
    const count = model === "small" ? seeds : Math.ceil(seeds / 10);
    const options = [...(model === "full" ? [] : [`--${model}`]), "--first", first, "--first-failure", "--seeds", count];
    const run = spawnSync(join(target, "release", "regrip-simulator"), options, { encoding: "utf8" });
    if (run.status === 0) continue;
    const line = /^seed (\d+): (.*)$/m.exec(run.stdout);
    return { model, seed: line ? Number(line[1]) : undefined, violation: line?.[2] ?? run.stderr.split("\n")[0] };
  }
}
