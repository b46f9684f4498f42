// The core's contracts on Node's file, memory and streams, on `fetch`, and on the rows of this host. The module under test is
// `host-wasm/build --contract`.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { FileSink, MemorySink, StreamSink } from "../contract/node.js";
import { Subject, check, promises } from "../contract/subject.js";
import { STORE_EXCEPTIONS } from "./contract/exceptions.mjs";

const platform = {
  bootId: () => "a boot",
  maySendIfRange: () => true,
  newHasher(algorithm) {
    const hash = createHash(algorithm);
    return { hasher: { update: (chunk) => hash.update(chunk), finish: () => hash.digest("hex") }, restored: false };
  },
};

/** One test for each promise. An exception that no longer applies fails as well. */
async function keeps(contract, subject, except = []) {
  for (const promise of await promises(contract)) {
    test(promise, async () => {
      const checked = check(contract, promise, subject);
      await (except.includes(promise) ? assert.rejects(checked) : checked);
    });
  }
}

const folder = await mkdtemp(join(tmpdir(), "regrip-"));
after(() => rm(folder, { recursive: true }));

describe("Node's file keeps the contract of a store", async () => {
  await keeps(
    "store",
    new Subject({
      platform,
      folder: `${folder}/`,
      sinkFor: (path) => new FileSink(path),
      put: (name, bytes) => writeFile(name, bytes),
      content: (name) => readFile(name).catch(() => {}),
    }),
    STORE_EXCEPTIONS.file,
  );
});

describe("a sink in memory keeps the contract of a store", async () => {
  const content = (_, sink) => sink.bytes();
  await keeps("store", new Subject({ platform, sinkFor: () => new MemorySink(), content }), STORE_EXCEPTIONS.nameless);
});

describe("a stream keeps the contract of a store", async () => {
  const written = new Map();
  const sinkFor = (path) => {
    const chunks = [];
    written.set(path, chunks);
    return new StreamSink(new WritableStream({ write: (chunk) => void chunks.push(chunk.slice()) }));
  };
  const content = (name) => new Uint8Array(Buffer.concat(written.get(name)));
  await keeps("store", new Subject({ platform, sinkFor, content }), STORE_EXCEPTIONS.stream);
});

describe("fetch keeps the contract of a transport", async () => {
  // `fetch` joins fields of one name. The core then sees one invalid ETag.
  await keeps("transport", new Subject({ platform, server: rawServer() }), ["duplicate_fields_are_kept_apart"]);
});

describe("the rows of the module keep the contract of a ledger", async () => {
  await keeps("ledger", new Subject({ platform }), [
    // One process has one handle.
    "what_is_recorded_is_there_for_every_handle",
    "attempts_are_counted_without_a_gap",
    // A destination has one row, by which it is named, and `js/regrip.js` removes it.
    "ids_are_never_reused",
    "a_removed_row_is_gone",
  ]);
});

/** Writes what it is told to, byte for byte: each answer has a server of its own. */
function rawServer() {
  const answers = new Map();
  const servers = [];
  after(() => servers.forEach((server) => server.close()));

  async function serve(bytes, hold) {
    const heard = {};
    const received = new Promise((resolve) => (heard.received = resolve));
    const gone = new Promise((resolve) => (heard.gone = resolve));
    const server = createServer((socket) => {
      let head = "";
      socket.on("error", () => {});
      socket.on("close", () => heard.gone(true));
      socket.on("data", (data) => {
        head += data.toString("latin1");
        if (!head.endsWith("\r\n\r\n")) return;
        const fields = head.split("\r\n").slice(1, -2);
        heard.received(Object.fromEntries(fields.map((field) => [field.slice(0, field.indexOf(":")).toLowerCase(), field.slice(field.indexOf(":") + 2)])));
        socket.write(bytes);
        if (!hold) socket.end();
      });
    });
    servers.push(server);
    await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
    const url = `http://127.0.0.1:${server.address().port}/`;
    answers.set(url, { received, gone });
    return url;
  }

  return {
    serve,
    received: (url) => answers.get(url).received,
    gaveUp: (url) => Promise.race([answers.get(url).gone, new Promise((late) => setTimeout(late, 20_000, false).unref())]),
  };
}
