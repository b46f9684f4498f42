// The package in Node: the module is loaded as it is imported.
import { readFileSync } from "node:fs";
import { initSync } from "./engine.js";

initSync({ module: readFileSync(new URL("./engine_bg.wasm", import.meta.url)) });

export { Downloader, download } from "./downloader.js";
export { FileSink } from "./file.js";
