// The package in browsers, for `require`: Jest's jsdom has no `fetch`, so the module is inside.
import bytes from "./core-bytes.js";
import { initSync } from "./core.js";
import { loadBy } from "./load.js";
export * from "./web.js";

function read() {
  initSync({ module: Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)) });
}

loadBy(read);
