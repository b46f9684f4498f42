// Prepares the JavaScript around a module for being imported anywhere: `node importable.mjs FOLDER`.
//
// Importing `core.js` does no work, and its users need no TextDecoder: jsdom has none. The module's bytes become JavaScript (`core-bytes.js`)
// for Node and for `require`, so that a bundle of a program for Node needs no file beside it.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [folder] = process.argv.slice(2);
const scriptPath = join(folder, "core.js");
let script = readFileSync(scriptPath, "utf8");

replace("let cachedTextDecoder = new TextDecoder('utf-8', { ignoreBOM: true });\ncachedTextDecoder.decode();\n", "let cachedTextDecoder;\n");
replace("return cachedTextDecoder.decode(bytes);", "if (typeof TextDecoder === 'undefined') return decodeURIComponent(Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''));\n    cachedTextDecoder ??= new TextDecoder('utf-8', { ignoreBOM: true });\n    return cachedTextDecoder.decode(bytes);");
// Every browser that runs the module has `encodeInto`.
replace(/const cachedTextEncoder = new TextEncoder\(\);\n\nif \(!\('encodeInto'[^]+?\n}\n/, `let cachedTextEncoder;
function textEncoder() {
    if (typeof TextEncoder !== 'undefined') return (cachedTextEncoder ??= new TextEncoder());
    const encode = (text) => Uint8Array.from(unescape(encodeURIComponent(text)), (letter) => letter.charCodeAt(0));
    return { encode, encodeInto: (text, view) => (view.set(encode(text)), { written: encode(text).length }) };
}
`);
replace(/cachedTextEncoder\.(encode|encodeInto)\(/g, "textEncoder().$1(");
for (const name of ["CoreFinalization", "CLOSURE_DTORS"]) {
  const made = new RegExp(`const ${name} = \\(typeof[^;]+new FinalizationRegistry\\((.+)\\);\n`);
  const [, free] = made.exec(script) ?? [];
  replace(made, `let ${name}Registry;\nconst ${name} = {\n    register: (...given) => (${name}Registry ??= new FinalizationRegistry(${free})).register(...given),\n    unregister: (token) => ${name}Registry?.unregister(token),\n};\n`);
}
// Where the module is, each platform says by itself.
replace(/ {4}if \(module_or_path === undefined\) \{\n.+import\.meta\.url\);\n {4}\}\n/, "");
writeFileSync(scriptPath, script);

const bytes = readFileSync(join(folder, "core_bg.wasm")).toString("base64");
writeFileSync(join(folder, "core-bytes.js"), `// core_bg.wasm, as text: made by the build.\nexport default "${bytes}";\n`);

function replace(what, by) {
  const changed = script.replace(what, by);
  if (changed === script) throw new Error(`not in the script any more: ${what}`);
  script = changed;
}
