// Runs the tests of the core against every mutant that cargo-mutants lists for it, all of them in one build.
//
//   node tests/mutants/run.mjs [FILE...]   those of some files of core/src, for example `bounds resume`; of all without names
//
// Needs cargo-mutants. A mutant that no test kills must be in equivalent.txt, with the reason. What was found is kept in the target
// folder: a second run goes on where the first was stopped, as long as neither the core nor its tests have changed.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "mutants");
const [copy, list, unviable] = ["copy", "list.json", "unviable.txt"].map((name) => join(target, name));
const env = { ...process.env, CARGO_TARGET_DIR: join(target, "build"), RUSTFLAGS: `${process.env.RUSTFLAGS ?? ""} --cap-lints allow` };
const PROFILE = ["opt-level=1", "debug=false"].flatMap((one) => ["--config", `profile.dev.${one}`]);
// A mutant may loop and allocate for ever.
const MOST_KILOBYTES = 6_000_000;
const QUICK_MS = 100;

mkdirSync(target, { recursive: true });
const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0").filter(Boolean);
const sources = files.filter((file) => file.startsWith("core/") || file === "Cargo.lock");
const state = createHash("sha256");
for (const file of sources) state.update(readFileSync(join(root, file)));
const results = join(target, `results-${state.digest("hex").slice(0, 16)}.txt`);

const mutants = listed();
const wanted = process.argv.slice(2);
const chosen = [...mutants.keys()].filter((number) => {
  const path = mutants[number].file.replace("core/src/", "").replace(".rs", "");
  return wanted.length === 0 || wanted.some((name) => path === name || path.startsWith(`${name}/`));
});
const programs = build();
const found = new Map(known());
await run();
report();

/** The mutants of the core, without those of what only tests use. */
function listed() {
  const arguments_ = ["mutants", "--list", "--json", "--package", "regrip-core", "--exclude", "core/src/testing/**", "--exclude", "core/src/schedule.rs"];
  const json = execFileSync("cargo", arguments_, { cwd: root, encoding: "utf8", maxBuffer: 1 << 30 });
  writeFileSync(list, json);
  return JSON.parse(json).map(({ name, file, span }) => {
    const line = readFileSync(join(root, file), "utf8").split("\n")[span.start.line - 1].trim();
    return { file, name, key: `${name.replace(/:\d+:\d+: /, ": ")} @ ${line}` };
  });
}

/** Builds the tests with all mutants that compile. */
function build() {
  rmSync(copy, { recursive: true, force: true });
  for (const file of files.filter((file) => /\.(rs|toml|lock)$/.test(file) || file.startsWith("core/"))) {
    if (existsSync(join(root, file))) cpSync(join(root, file), join(copy, file));
  }
  execFileSync("cargo", ["build", "--quiet", "--package", "regrip-mutants"], { cwd: root });
  const instrument = resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "debug/regrip-mutants");
  // Those of an earlier run, whatever their lines are now.
  const keys = join(target, "unviable-keys.txt");
  const earlier = new Set(existsSync(keys) ? readFileSync(keys, "utf8").split("\n") : []);
  writeFileSync(unviable, mutants.map(({ key }, number) => (earlier.has(key) ? `${number}\n` : "")).join(""));
  for (;;) {
    for (const file of files.filter((file) => file.startsWith("core/src/"))) cpSync(join(root, file), join(copy, file));
    const expressed = execFileSync(instrument, [list, unviable, copy], { encoding: "utf8", maxBuffer: 1 << 30 });
    writeFileSync(join(target, "expressed.txt"), expressed);
    const cargo = (...words) => spawnSync("cargo", [...words, "--package", "regrip-core", ...PROFILE, "--message-format=json"], { cwd: copy, env, encoding: "utf8", maxBuffer: 1 << 30 });
    const checked = cargo("check", "--features", "testing");
    const messages = lines(checked.stdout);
    if (checked.status === 0) {
      const built = cargo("test", "--no-run");
      if (built.status !== 0) throw new Error(built.stderr);
      return lines(built.stdout).filter(({ executable, profile }) => executable && profile.test).map(({ executable }) => ({ executable, name: basename(executable).replace(/-[0-9a-f]+$/, "") }));
    }
    const faulty = new Set(messages.filter(({ message }) => message?.level === "error").flatMap(({ message }) => culprits(message)));
    if (faulty.size === 0) throw new Error(checked.stderr.slice(-3000) + JSON.stringify(messages.filter(({ message }) => message?.level === "error").map(({ message }) => message.rendered)).slice(0, 3000));
    appendFileSync(unviable, [...faulty].map((number) => `${number}\n`).join(""));
    appendFileSync(keys, [...faulty].map((number) => `${mutants[number].key}\n`).join(""));
    const codes = new Set(messages.filter(({ message }) => message?.level === "error").map(({ message }) => message.code?.code));
    console.log(`${faulty.size} more mutants do not compile: ${[...codes].join(", ")}`);
  }
}

/** The mutants in whose code an error of the compiler is. */
function culprits({ spans, children, code }) {
  if (code?.code === "E0004") {
    // An arm that the match cannot do without: it follows what is matched.
    const [{ file_name, byte_end }] = spans;
    const after = readFileSync(join(copy, file_name)).subarray(byte_end).toString();
    return [Number(/if !crate::mutant::is\((\d+)\)/.exec(after)[1])];
  }
  const all = [...spans, ...children.flatMap((child) => child.spans)];
  // If two branches differ, the first is that of the mutant.
  const first = all.filter(({ label }) => label?.startsWith("expected because of this"));
  const primary = all.filter(({ is_primary }) => is_primary);
  for (const span of [...first, ...primary, ...all]) {
    if (!span.file_name.startsWith("core/")) continue; // the declaration of something in the standard library
    const bytes = readFileSync(join(copy, span.file_name));
    // The innermost switch that opens before the error and whose text the error is in.
    const before = bytes.subarray(0, span.byte_end).toString();
    const own = [...before.slice(-4000).matchAll(/mutant::is\((\d+)\)/g)].map(([, number]) => Number(number));
    if (own.length > 0 && before.length - before.lastIndexOf("mutant::is(") < 4000) return [own.at(-1)];
  }
  return [];
}

function lines(text) {
  return text.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

function* known() {
  if (!existsSync(results)) return;
  for (const line of readFileSync(results, "utf8").split("\n").filter(Boolean)) {
    const [number, result] = line.split("\t");
    yield [Number(number), result];
  }
}

async function run() {
  const expressed = new Set(readFileSync(join(target, "expressed.txt"), "utf8").split("\n").filter(Boolean).map((line) => Number(line.split(" ")[0])));
  const tests = [];
  for (const program of programs) tests.push(...(await measured(program)));
  tests.sort((a, b) => a.took - b.took);
  console.log(`${tests.length} tests, ${(tests.reduce((sum, { took }) => sum + took, 0) / 1000).toFixed(1)} s; the slowest: ${tests.slice(-5).map(({ name, took }) => `${name} ${took} ms`).join(", ")}`);
  const left = chosen.filter((number) => !found.has(number));
  const begun = Date.now();
  for (const [index, number] of left.entries()) {
    let result = expressed.has(number) ? "survived" : "does not compile";
    if (expressed.has(number)) {
      const reaching = tests.filter(({ reached }) => reached.has(number));
      if (reaching.length === 0) result = "not reached";
      for (const batch of batches(reaching)) {
        const took = batch.reduce((sum, test) => sum + test.took, 0);
        const how = await fails(batch, { REGRIP_MUTANT: String(number) }, took * 4 + 3000);
        if (how) {
          result = how;
          break;
        }
      }
    }
    found.set(number, result);
    appendFileSync(results, `${number}\t${result}\t${mutants[number].name}\n`);
    if (result === "survived" || result === "not reached") console.log(`${result}: ${mutants[number].name}`);
    if (index % 50 === 49) console.log(`${index + 1} of ${left.length}, ${((Date.now() - begun) / (index + 1) / 1000).toFixed(2)} s each`);
  }
}

/** Each test of a program: how long it takes, and the mutants that it reaches. No other test can kill these. */
async function measured({ executable, name: program }) {
  const names = execFileSync(executable, ["--list", "--format", "terse"], { cwd: join(copy, "core"), encoding: "utf8" });
  const tests = [];
  for (const name of [...names.matchAll(/^(.*): test$/gm)].map(([, name]) => name)) {
    const reached = join(target, "reached.txt");
    rmSync(reached, { force: true });
    const test = { executable, program, name };
    const begun = Date.now();
    if (await fails([test], { REGRIP_MUTANTS_REACHED: reached }, 600_000)) throw new Error(`${name} fails without a mutant`);
    test.took = Date.now() - begun;
    test.reached = new Set(existsSync(reached) ? readFileSync(reached, "utf8").split("\n").filter(Boolean).map(Number) : []);
    tests.push(test);
  }
  return tests;
}

/** Quick tests of one program run together, slower ones alone and later. */
function* batches(tests) {
  const quick = new Map();
  for (const test of tests.filter(({ took }) => took < QUICK_MS)) {
    quick.set(test.executable, [...(quick.get(test.executable) ?? []), test]);
  }
  yield* quick.values();
  for (const test of tests.filter(({ took }) => took >= QUICK_MS)) yield [test];
}

/** Runs tests of one program until the first one fails, and returns how. */
function fails(batch, variables, timeout) {
  return new Promise((end) => {
    const [{ executable, program }] = batch;
    const shell = `ulimit -v ${MOST_KILOBYTES}; exec "$0" --test-threads=1 --exact "$@"`;
    const words = ["-c", shell, executable, ...batch.map(({ name }) => name)];
    const child = spawn("sh", words, { cwd: join(copy, "core"), env: { ...env, ...variables }, stdio: ["ignore", "pipe", "ignore"] });
    let [failed, late, output] = [undefined, false, ""];
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, timeout);
    child.stdout.on("data", (data) => {
      output += data;
      failed ??= /^test (\S+).* \.\.\. FAILED$/m.exec(output)?.[1];
      if (failed) child.kill("SIGKILL");
    });
    child.on("close", (status) => {
      clearTimeout(timer);
      const running = [...output.matchAll(/^test (\S+)/gm)].at(-1)?.[1] ?? "";
      end(late ? `never ends in ${program} ${running}` : failed || status !== 0 ? `killed by ${program} ${failed ?? running}` : undefined);
    });
  });
}

function report() {
  const equivalent = readFileSync(join(import.meta.dirname, "equivalent.txt"), "utf8").split("\n").filter((line) => line.startsWith("core/"));
  const excused = new Map();
  for (const key of equivalent) excused.set(key, (excused.get(key) ?? 0) + 1);
  const sum = {};
  const open = [];
  for (const number of chosen) {
    const result = found.get(number);
    let kind = result.startsWith("killed") ? "killed" : result.startsWith("never ends") ? "timed out" : result;
    if (kind === "survived" || kind === "not reached") {
      const left = excused.get(mutants[number].key) ?? 0;
      if (left > 0) {
        excused.set(mutants[number].key, left - 1);
        kind = "equivalent";
      } else open.push(`${result}: ${mutants[number].name}\n  ${mutants[number].key}`);
    }
    sum[kind] = (sum[kind] ?? 0) + 1;
  }
  open.forEach((line) => console.log(line));
  console.log(`${chosen.length} mutants: ${Object.entries(sum).map(([kind, count]) => `${count} ${kind}`).join(", ")}`);
  process.exitCode = open.length === 0 ? 0 : 1;
}
