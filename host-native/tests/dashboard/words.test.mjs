// What the page says of the engine's codes and reasons is about ones that there are.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { ADVICE, RESTARTS, bytes, clock, counted, plain, wait } from "../../src/api/dashboard/words.js";

const core = (file) => readFile(new URL(`../../../core/src/${file}`, import.meta.url), "utf8");

/** The names between quotes in the body of a function. */
function names(rust, beginning) {
  const from = rust.indexOf(beginning);
  assert.notEqual(from, -1, beginning);
  const body = rust.slice(from, rust.indexOf("\n    }\n", from));
  return [...body.matchAll(/=> "([^"]+)"/g)].map(([, name]) => name);
}

test("every_reason_for_a_restart_has_words", async () => {
  const rust = await core("record/change.rs");
  const reasons = names(rust.slice(rust.indexOf("impl RestartReason")), "pub fn name");
  assert.deepEqual(Object.keys(RESTARTS).toSorted(), reasons.toSorted());
});

test("advice_is_given_for_codes_that_there_are", async () => {
  const rust = await core("error_code.rs");
  const [, table] = /\nerror_codes! \{([^}]+)\}/.exec(rust);
  const codes = [...table.matchAll(/(\w+)(?: => "(\w+)")?[,;\n]/g)].map(([, variant, name]) => name ?? variant);
  assert.ok(codes.length > 30);
  assert.deepEqual(
    Object.keys(ADVICE).filter((code) => !codes.includes(code)),
    [],
  );
});

test("numbers_are_written_as_the_command_line_writes_them", () => {
  const table = [
    [bytes(999), "999 B"],
    [bytes(1000), "1.00 kB"],
    [bytes(9_995_000), "10.0 MB"],
    [bytes(99_950_000), "100 MB"],
    [bytes(999_500_000), "1.00 GB"],
    [wait(40), "40 ms"],
    [wait(400), "0.4 s"],
    [wait(59_900), "59 s"],
    [wait(125_000), "2 min 5 s"],
    [wait(12_000_000), "3 h 20 min"],
    [wait(183_600_000), "2 d 3 h"],
    [clock(12), "00:12"],
    [clock(3723.9), "1:02:03"],
    [clock(1e9), "> 99 d"],
    [counted(1, "attempt"), "1 attempt"],
    [counted(1200, "attempt"), "1,200 attempts"],
    [plain("a\u0000b\u202ec"), "a\ufffdb\ufffdc"],
    [plain(null), ""],
  ];
  for (const [got, wanted] of table) assert.equal(got, wanted);
});
