// Hashes for browsers: a small module of its own, loaded when a digest is first asked for.
let compiled;

/** As the module numbers them. */
const ALGORITHMS = ["sha256", "sha512", "sha1", "md5"];

/** A hasher, continued from a saved state if that is usable. */
export async function newHasher(algorithm, state) {
  compiled ??= compile(new URL("./sha256.wasm", import.meta.url)).catch((error) => {
    compiled = undefined; // the next one may find it
    throw error;
  });
  const { exports } = await WebAssembly.instantiate(await compiled, {});
  if (!exports.begin(ALGORITHMS.indexOf(algorithm))) throw new Error(`${algorithm} cannot be computed`);
  const hasher = new Hasher(exports);
  return { hasher, restored: state !== undefined && hasher.restore(state) };
}

async function compile(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} was answered with ${answer.status}`);
  return WebAssembly.compile(await answer.arrayBuffer());
}

class Hasher {
  #wasm;
  #capacity;

  constructor(wasm) {
    this.#wasm = wasm;
    this.#capacity = wasm.capacity();
  }

  update(bytes) {
    for (let at = 0; at < bytes.length; at += this.#capacity) {
      const piece = bytes.subarray(at, at + this.#capacity);
      this.#buffer(piece.length).set(piece);
      this.#wasm.update(piece.length);
    }
  }

  save() {
    return this.#buffer(this.#wasm.save()).slice();
  }

  restore(state) {
    if (state.length > this.#capacity) return false;
    this.#buffer(state.length).set(state);
    return Boolean(this.#wasm.restore(state.length));
  }

  finish() {
    return String.fromCharCode(...this.#buffer(this.#wasm.finish()));
  }

  #buffer(length) {
    const at = this.#wasm.buffer(); // first: the memory may grow by it
    return new Uint8Array(this.#wasm.memory.buffer, at, length);
  }
}
