// A file the person chose. The browser writes to a copy that takes its place at the end.
import { WritableFile } from "./writable-file.js";

export class HandleSink {
  #file;

  constructor(handle) {
    this.#file = new WritableFile({ handle });
  }

  get readBackBytes() {
    return this.#file.readBackBytes;
  }

  size() {
    return this.#file.size();
  }
  write(chunk, at) {
    return this.#file.write([chunk], at);
  }
  read(at, length) {
    return this.#file.read(at, length);
  }
  truncate(size) {
    return this.#file.truncate(size);
  }
  /** Nothing of it would outlive the page: the record of it does not either. */
  flush() {}
  commit() {
    return this.#file.commit(true);
  }
  /** The partial data is kept, in the file if that was empty, so that another call with the same handle resumes from it. */
  abandon() {
    return this.#file.close();
  }
}
