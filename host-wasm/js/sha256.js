// SHA-256 for browsers: a small module of its own, loaded when a digest is first asked for.
let compiled;

/** A hasher, going on from a saved state where that is usable. */
export async function newHasher(state) {
  compiled ??= compile(new URL("./sha256.wasm", import.meta.url)).catch((error) => {
    compiled = undefined; // the next one may find it
    throw error;
  });
  const { exports } = await WebAssembly.instantiate(await compiled, {});
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
    const digest = this.#buffer(this.#wasm.finish());
    return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  #buffer(length) {
    const at = this.#wasm.buffer(); // first: the memory may grow by it
    return new Uint8Array(this.#wasm.memory.buffer, at, length);
  }
}
