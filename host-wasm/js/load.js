// The module, loaded when it is first needed. Importing the package does no work.
import * as core from "./core.js";

let loader;
let loaded = false;
let loading;

/** How this platform finds the module's bytes. */
export function loadBy(found) {
  loader = found;
}

/** Loads the module, from `source` if given. */
export function load(source) {
  if (loaded) return Promise.resolve();
  loading ??= Promise.resolve(source === undefined ? loader() : core.default({ module_or_path: source })).then(
    () => {
      loaded = true;
    },
    (error) => {
      loading = undefined; // the next one may find it
      throw error;
    },
  );
  return loading;
}

/** The module's exports, once it is loaded. */
export async function needed() {
  if (!loaded) await load();
  return core;
}
