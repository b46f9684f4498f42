// Redirects in Node that `tests/scenarios` cannot express.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { MemorySink, download } from "../pkg/node.js";

const servers = [];
after(() => servers.forEach((server) => server.close()));

/** Answers by `answer(request, response)`; resolves to its origin. */
async function serve(answer) {
  const server = createServer(answer);
  servers.push(server);
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${server.address().port}`;
}

test("a Location that is not ASCII is encoded byte by byte", async () => {
  const asked = [];
  const origin = await serve((request, response) => {
    asked.push(request.url);
    if (request.url === "/") response.writeHead(302, { Location: Buffer.from("/é").toString("latin1") });
    response.end();
  });
  await download(origin, new MemorySink());
  assert.deepEqual(asked, ["/", "/%C3%A9"]);
});

test("another origin that refuses a request without its headers is a refused redirect, which names them", async () => {
  const elsewhere = await serve((_, response) => response.writeHead(401).end());
  const origin = await serve((_, response) => response.writeHead(302, { Location: `${elsewhere}/film?key=secret` }).end());
  const failing = download(origin, new MemorySink(), { headers: { "X-Api-Key": "secret", Accept: "video/*" } });
  await assert.rejects(failing, (error) => {
    assert.deepEqual([error.code, error.class], ["RedirectRefused", "permanent"]);
    assert.ok(error.message.includes(`to ${elsewhere}/film, and x-api-key stays at ${origin}; the answer there is 401`), error.message);
    return true;
  });
  await assert.rejects(download(origin, new MemorySink()), { code: "Status", status: 401 });
});
