// Records in files beside the parts: `<path>.part.json`, replaced as a whole.
import { open, readFile, readdir, rename, unlink } from "node:fs/promises";
import { join, resolve } from "node:path";

const SUFFIX = ".part.json";

export class FileLedger {
  #folder;

  /** `list` looks into this folder. */
  constructor(folder = ".") {
    this.#folder = resolve(folder);
  }

  async load(path) {
    return read(path + SUFFIX, path);
  }

  async save(path, record) {
    const name = path + SUFFIX;
    const fresh = `${name}.new`;
    const file = await open(fresh, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify(record));
      // Before the name changes, so that after a crash there is the old record or the new one, and never half of one.
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(fresh, name);
  }

  async remove(path) {
    await unlink(path + SUFFIX).catch(unlessMissing);
  }

  async list() {
    const names = await readdir(this.#folder).catch(unlessMissing);
    const records = [];
    for (const name of names ?? []) {
      if (!name.endsWith(SUFFIX)) continue;
      const path = join(this.#folder, name.slice(0, -SUFFIX.length));
      // One that cannot be read is not ours, or is told of when its file is asked for.
      const record = await read(path + SUFFIX, path).catch(() => {});
      if (record) records.push(record);
    }
    return records;
  }
}

async function read(name, path) {
  const text = await readFile(name, "utf8").catch(unlessMissing);
  if (text === undefined) return undefined;
  const record = JSON.parse(text);
  if (typeof record?.url !== "string" || typeof record.status !== "string") throw new Error(`${name} is no record of regrip`);
  // Moved with its part, it is of the place where it is now.
  return { ...record, path, part: `${path}.part` };
}

function unlessMissing(error) {
  if (error.code !== "ENOENT") throw error;
}
