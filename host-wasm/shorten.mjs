// Shortens the names of a module's imports, and of where they come from, in the module and in the JavaScript around it:
// `node shorten.mjs MODULE SCRIPT`.
//
// wasm-bindgen's names carry a hash each, to be unique; here numbers do, and hashes do not compress.
import { readFileSync, writeFileSync } from "node:fs";

const [modulePath, scriptPath] = process.argv.slice(2);
const module = readFileSync(modulePath);
let script = readFileSync(scriptPath, "utf8");
const IMPORTS = 2;
const FROM = "./core_bg.js";

const pieces = [module.subarray(0, 8)];
for (let at = 8; at < module.length; ) {
  const id = module[at];
  const [length, start] = number(at + 1);
  const body = module.subarray(start, start + length);
  const section = id === IMPORTS ? shortened(start) : body;
  pieces.push(Buffer.from([id]), leb(section.length), section);
  at = start + length;
}
writeFileSync(modulePath, Buffer.concat(pieces));
if (!script.includes(`"${FROM}":`)) throw new Error(`${FROM} is not in the script`);
writeFileSync(scriptPath, script.replace(`"${FROM}":`, '"r":'));
if (!WebAssembly.validate(readFileSync(modulePath))) throw new Error("the module is broken");

function shortened(start) {
  const [count, first] = number(start);
  const entries = [leb(count)];
  for (let index = 0, at = first; index < count; index++) {
    const [from, afterFrom] = text(at);
    const [name, afterName] = text(afterFrom);
    const after = afterDescription(afterName);
    const short = `i${index}`;
    const ours = from === FROM;
    if (ours) {
      const named = new RegExp(`^( +)${name}:`, "m");
      if (!named.test(script)) throw new Error(`${name} is not in the script`);
      script = script.replace(named, `$1${short}:`);
    }
    entries.push(named(ours ? "r" : from), named(ours ? short : name), module.subarray(afterName, after));
    at = after;
  }
  return Buffer.concat(entries);
}

/** Past what an import is: a function's type, a table, a memory, a global or a tag. */
function afterDescription(at) {
  const kind = module[at];
  const limits = (at) => {
    const [, afterLeast] = number(at + 1);
    return module[at] & 1 ? number(afterLeast)[1] : afterLeast;
  };
  if (kind === 0) return number(at + 1)[1];
  if (kind === 1) return limits(at + 2);
  if (kind === 2) return limits(at + 1);
  if (kind === 3) return at + 3;
  return number(at + 2)[1];
}

function text(at) {
  const [length, start] = number(at);
  return [module.toString("utf8", start, start + length), start + length];
}

function named(name) {
  const bytes = Buffer.from(name);
  return Buffer.concat([leb(bytes.length), bytes]);
}

function number(at) {
  let value = 0;
  let shift = 0;
  for (;;) {
    const byte = module[at++];
    value += (byte & 127) * 2 ** shift;
    shift += 7;
    if (byte < 128) return [value, at];
  }
}

function leb(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return Buffer.from([...bytes, value]);
}
