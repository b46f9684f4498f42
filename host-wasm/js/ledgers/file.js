// Records in files beside the parts: `<part>.json`, replaced as a whole.
import { open, readFile, readdir, rename, unlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { nameOf, partPath, placeOf, recordPath } from "../paths.js";

const SUFFIX = ".part.json";

export class FileLedger {
  #folder;

  /** `list` looks into this folder, and what is no path is recorded there. */
  constructor(folder = ".") {
    this.#folder = resolve(nameOf("folder", folder));
  }

  async load(path) {
    return read(this.#nameOf(path), path);
  }

  async save(path, record) {
    const name = this.#nameOf(path);
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
    await unlink(this.#nameOf(path)).catch(unlessMissing);
  }

  async list() {
    const names = await readdir(this.#folder).catch(unlessMissing);
    const records = [];
    for (const name of names ?? []) {
      if (!name.endsWith(SUFFIX)) continue;
      // An unreadable one is not ours, or is reported when its file is downloaded.
      const record = await readListed(join(this.#folder, name)).catch(() => {});
      if (record) records.push(record);
    }
    return records;
  }

  #nameOf(path) {
    return recordPath(placeOf(this.#folder, path));
  }
}

/** The record in a file; its destination is the one that it names if that has this name of a record, else the one that the name says. */
async function readListed(file) {
  const record = await read(file);
  if (record?.ownSink && recordPath(placeOf(dirname(file), String(record.path))) === file) return record;
  const named = record && join(dirname(file), basename(String(record.path)));
  return record && at(record, recordPath(named) === file ? named : file.slice(0, -SUFFIX.length));
}

async function read(name, path) {
  const text = await readFile(name, "utf8").catch(unlessMissing);
  if (text === undefined) return undefined;
  const record = parsed(text);
  if (typeof record?.url !== "string" || typeof record.status !== "string") {
    throw new Error(`${name} is no record of regrip, or damaged: move it away; then \`adoptPart: true\` continues from the partial data`);
  }
  return path === undefined ? record : at(record, path);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A record that was moved with its part belongs to its present path. */
function at(record, path) {
  return { ...record, path, part: partPath(path) };
}

function unlessMissing(error) {
  if (error.code !== "ENOENT") throw error;
}
