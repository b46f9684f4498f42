// Looks for the first seed that finds each bug of bugs.json. They are all in one build of a copy of the core: a function with a bug has
// its code twice, and a run chooses.
//
//   node tests/simulator/bugs.mjs [SEEDS]   all of them; writes the seeds into bugs.json
//   node tests/simulator/bugs.mjs missing   those that no seed has found yet
//   node tests/simulator/bugs.mjs quick     each by the seed that found it
import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const quick = process.argv[2] === "quick";
const missing = process.argv[2] === "missing";
const seeds = quick ? 1 : Number(missing ? "10000" : (process.argv[2] ?? "10000"));
const list = join(import.meta.dirname, "bugs.json");
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "bugs");
// The large models take thirty times as long, and in a torture each effect is a run.
const MODELS = {
  small: { options: ["--small"], share: 1 },
  torture: { options: ["--small", "--every-failure"], share: 50 },
  full: { options: [], share: 10 },
  fleet: { options: ["--fleet"], share: 10 },
};
const SWITCH = `
/// The bug that was chosen.
#[doc(hidden)]
pub mod bug {
    static CHOSEN: std::sync::LazyLock<Option<u32>> =
        std::sync::LazyLock::new(|| std::env::var("REGRIP_BUG").ok()?.parse().ok());
    pub(crate) fn is(number: u32) -> bool {
        *CHOSEN == Some(number)
    }
}
`;

const bugs = JSON.parse(readFileSync(list, "utf8"));
const simulator = build();
const missed = [];
for (const [number, bug] of bugs.entries()) {
  if (missing && bug.found) continue;
  const seed = found(number, bug);
  if (seed === undefined) missed.push(bug.bug);
  console.log(`${bug.bug}: ${seed === undefined ? "NOT FOUND" : `${seed.model} model, seed ${seed.seed}: ${seed.violation}`}`);
  if (quick) continue;
  bug.found = seed && { model: seed.model, seed: seed.seed };
  writeFileSync(list, `${JSON.stringify(bugs, null, 1)}\n`);
}
console.log(missed.length === 0 ? `all ${bugs.length} bugs are found` : `${missed.length} of ${bugs.length} bugs are not found`);
process.exitCode = missed.length === 0 ? 0 : 1;

/** Builds the simulator with all bugs in it. */
function build() {
  const copy = mkdtempSync(join(tmpdir(), "regrip-bugs-"));
  try {
    const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0");
    for (const file of files.filter((file) => /\.(rs|toml|lock)$/.test(file) || file.startsWith("core/"))) {
      cpSync(join(root, file), join(copy, file));
    }
    for (const file of new Set(bugs.map(({ file }) => file))) {
      const code = readFileSync(join(root, file), "utf8");
      writeFileSync(join(copy, file), withBugs(file, code));
    }
    appendFileSync(join(copy, "core/src/lib.rs"), SWITCH);
    const profile = ["lto=false", "codegen-units=16"].flatMap((one) => ["--config", `profile.release.${one}`]);
    const cargo = ["build", "--release", "--quiet", "--package", "regrip-simulator", ...profile];
    const env = { ...process.env, CARGO_TARGET_DIR: target, RUSTFLAGS: `${process.env.RUSTFLAGS ?? ""} --cap-lints warn` };
    const built = spawnSync("cargo", cargo, { cwd: copy, env, encoding: "utf8" });
    if (built.status !== 0) throw new Error(built.stderr);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  return join(target, "release", "regrip-simulator");
}

/** A file in which each function with a bug has its code once more for each of its bugs. */
function withBugs(file, code) {
  const lines = code.split("\n");
  const functions = new Map();
  for (const [number, bug] of bugs.entries()) {
    if (bug.file !== file) continue;
    const parts = code.split(bug.from);
    if (parts.length !== 2) throw new Error(`${file} does not have "${bug.from}" exactly once`);
    const at = parts[0].split("\n").length - 1;
    // As rustfmt lays out a function.
    const first = lines.findLastIndex((line, index) => index <= at && /^ *(pub(\([a-z]+\))? )?(async )?fn /.test(line));
    const open = lines.findIndex((line, index) => index >= first && line.endsWith("{"));
    const close = lines.findIndex((line, index) => index > open && line === `${/^ */.exec(lines[first])[0]}}`);
    const body = lines.slice(open + 1, close).join("\n");
    const withBug = `${body}\n`.replace(bug.from, () => bug.to);
    if (withBug === `${body}\n`) throw new Error(`"${bug.from}" is not in one function of ${file}`);
    functions.set(open, { close, body, bodies: [...(functions.get(open)?.bodies ?? []), `if crate::bug::is(${number}) {\n${withBug}\n} else `] });
  }
  for (const [open, { close, body, bodies }] of [...functions].sort(([a], [b]) => b - a)) {
    lines.splice(open + 1, close - open - 1, `${bodies.join("")}{\n${body}\n}`);
  }
  return lines.join("\n");
}

/** The first seed that finds a bug, in the simplest model. */
function found(number, { found }) {
  const env = { ...process.env, REGRIP_BUG: String(number) };
  if (quick && found === undefined) return undefined;
  for (const model of quick ? [found.model] : Object.keys(MODELS)) {
    const first = quick ? found.seed : 0;
    const count = Math.ceil(seeds / MODELS[model].share);
    const options = [...MODELS[model].options, "--first", first, "--first-failure", "--seeds", count];
    const run = spawnSync(simulator, options, { env, encoding: "utf8" });
    if (run.status === 0) continue;
    const line = /^seed (\d+): (.*)$/m.exec(run.stdout);
    return { model, seed: line ? Number(line[1]) : undefined, violation: line?.[2] ?? run.stderr.split("\n")[0] };
  }
}
