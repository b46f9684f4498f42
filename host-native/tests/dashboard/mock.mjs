// A server that speaks the API of `regrip serve` as the dashboard needs it, with a state that tests write.
//
// It serves the page's own files under the policy that `api/dashboard/mod.rs` names, so what breaks the policy breaks here.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const FILES = new URL("../../src/api/dashboard/", import.meta.url);
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript" };

/** Thrown by handlers: what the API answers instead. */
class Refusal extends Error {
  constructor(status, code, message, field) {
    super(message);
    Object.assign(this, { status, code, field });
  }
}

export class Mock {
  #rows = new Map();
  #timelines = new Map();
  #streams = new Set();
  #sessions = new Set();
  #refusals = [];
  #held = [];
  #nextId = 1;
  #port = 0;

  constructor({ key = null } = {}) {
    this.key = key;
    this.stubs = [];
    this.peers = [];
    this.troubles = [];
    this.workers = [];
    this.keys = [];
    this.servers = [];
    /** Releases of the catalogue, and errors of peers. */
    this.releases = [];
    this.failures = [];
    /** Bodies of changes beside downloads, by `METHOD /path`, in order. */
    this.bodies = [];
    this.watchPath = "/srv/regrip/watch";
    /** `METHOD /path?query` of each request to the API, in order. */
    this.requests = [];
    /** How far the server's clock is ahead, in milliseconds. */
    this.ahead = 0;
  }

  async start() {
    this.policy = await policy();
    this.server = createServer((request, response) => this.#answer(request, response));
    this.server.listen(this.#port, "127.0.0.1");
    await once(this.server, "listening");
    this.#port = this.server.address().port;
    this.origin = `http://127.0.0.1:${this.#port}`;
    return this;
  }

  /** Ends it as a crash does; `start` brings it back at the same address with the same state. */
  async stop() {
    if (!this.server.listening) return;
    this.server.close();
    this.server.closeAllConnections();
    this.#streams.clear();
    await once(this.server, "close");
  }

  /** Cuts the event streams; the server goes on. */
  cut() {
    for (const stream of this.#streams) stream.destroy();
    this.#streams.clear();
  }

  get listeners() {
    return this.#streams.size;
  }

  /** Ends all sessions. */
  forget() {
    this.#sessions.clear();
  }

  /** The next request that begins so (`POST /api/downloads`) is refused. */
  refuse(request, status, code, message, field) {
    this.#refusals.push({ request, refusal: new Refusal(status, code, message, field) });
  }

  /** The next request that begins so is answered as things stand then, but only once `release` was called. */
  hold(request) {
    let release;
    let reached;
    const held = { request, until: new Promise((resolve) => (release = resolve)) };
    held.reached = new Promise((resolve) => (reached = resolve));
    held.reach = reached;
    this.#held.push(held);
    return { reached: held.reached, release };
  }

  /** Adds a download, without an event. */
  add(fields = {}, attempts = []) {
    const id = this.#nextId++;
    const filename = fields.filename ?? `film-${id}.mkv`;
    const at = time(Date.now());
    const row = {
      id,
      kind: fields.peer_name ? "peer" : "url",
      url: `https://files.example.org/${encodeURIComponent(filename)}`,
      peer_id: null,
      peer_name: null,
      item_id: null,
      stub_name: null,
      filename,
      dest_path: `/srv/films/${filename}`,
      part_path: `/srv/films/${filename}.part`,
      on_exists: "overwrite",
      header_names: [],
      release_size: null,
      expected_bytes: null,
      expected_bytes_source: null,
      expected_bytes_mismatch: false,
      downloaded_bytes: 0,
      durable_bytes: 0,
      etag: null,
      last_modified: null,
      sha256_wanted: null,
      sha256_got: null,
      attempts: 0,
      restarts: 0,
      status: "queued",
      waiting_until: null,
      waiting_why: null,
      error: null,
      error_class: null,
      error_code: null,
      import_state: null,
      created_at: at,
      started_at: null,
      updated_at: at,
      completed_at: null,
      ...fields,
    };
    this.#rows.set(id, row);
    this.#timelines.set(
      id,
      attempts.map((attempt, place) => ({ ...ATTEMPT, attempt: place + 1, ...attempt })),
    );
    return row;
  }

  /** Somebody else removes it. */
  remove(id) {
    this.#rows.delete(id);
  }

  row(id) {
    return this.#rows.get(id);
  }

  /** Changes a row as the ledger would, and tells it by an event; `fields` are the event's. */
  emit(event, id, fields = {}) {
    const row = this.#rows.get(id);
    const at = time(Date.now());
    Object.assign(row, CHANGES[event](fields, row, at), event === "progress" ? {} : { updated_at: at });
    this.send({ event, id, at, url: row.url, path: row.dest_path, ...fields });
  }

  /** Sends an event as it is. */
  send(object) {
    for (const stream of this.#streams) stream.write(`data: ${JSON.stringify(object)}\n\n`);
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.origin);
    response.setHeader("date", new Date(Date.now() + this.ahead).toUTCString());
    try {
      if (!url.pathname.startsWith("/api/") && url.pathname !== "/torznab/api") return await this.#file(url.pathname, response);
      const asked = `${request.method} ${url.pathname}${url.search}`;
      this.requests.push(asked);
      const planned = this.#refusals.findIndex((one) => asked.startsWith(one.request));
      if (planned >= 0) throw this.#refusals.splice(planned, 1)[0].refusal;
      const [status, body, headers] = await this.#api(request, url, response);
      const text = body === null ? "" : typeof body === "string" ? body : JSON.stringify(body);
      const held = this.#held.findIndex((one) => asked.startsWith(one.request));
      if (held >= 0) {
        const [{ until, reach }] = this.#held.splice(held, 1);
        reach();
        await until;
      }
      if (status !== null) response.writeHead(status, { "content-type": "application/json", ...headers }).end(text);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { status, code, message, field } = error;
      response
        .writeHead(status, { "content-type": "application/json" })
        .end(JSON.stringify({ error: { code, message, field } }));
    }
    return undefined;
  }

  async #file(path, response) {
    const name = path === "/" ? "index.html" : path.replace(/^\/dashboard\//, "");
    const type = TYPES[name.split(".").at(-1)];
    if (!type || name.includes("/")) return response.writeHead(404).end();
    const text = await readFile(new URL(name, FILES));
    const headers = {
      "content-type": `${type}; charset=utf-8`,
      "content-security-policy": this.policy,
      "cache-control": "no-cache",
      "x-content-type-options": "nosniff",
    };
    return response.writeHead(200, headers).end(text);
  }

  async #api(request, url, response) {
    const { method } = request;
    if (method !== "GET" && request.headers.origin !== this.origin)
      throw new Refusal(403, "ForeignOrigin", "the request comes from another site's page");
    const body = await json(request);
    const path = url.pathname === "/torznab/api" ? "torznab" : url.pathname.slice("/api/".length);
    if (path === "session" && method === "POST") return this.#logIn(body);
    const token = /regrip_session=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
    if (this.key !== null && !this.#sessions.has(token))
      throw new Refusal(401, "Unauthorized", "the key is missing or wrong");
    if (path === "session") {
      this.#sessions.delete(token);
      return [204, null, { "set-cookie": "regrip_session=; Path=/; Max-Age=0" }];
    }
    if (path === "events") return this.#stream(request, response);
    if (path === "stubs")
      return [200, { stubs: this.stubs.slice(0, 1000), total: this.stubs.length, watch_path: this.watchPath }];
    const side = this.#side(method, path, body);
    if (side) return side;
    if (path === "workers") return [200, { workers: this.workers }];
    if (path === "troubles") return [200, { troubles: this.troubles }];
    const [, id, action = ""] = path.split("/");
    if (id === undefined) return method === "GET" ? [200, this.#list(url.searchParams)] : this.#accept(body);
    const row = this.#rows.get(Number(id));
    if (!row) throw new Refusal(404, "NoSuchDownload", `there is no download ${id}`);
    return this.#one(`${method} ${action}`, row);
  }

  /** Peers, keys, links, servers and the catalogue. */
  #side(method, path, body) {
    const [kind, id, action] = path.split("/");
    if (!["peers", "keys", "links", "servers", "torznab", "v2"].includes(kind)) return null;
    if (method !== "GET") this.bodies.push([`${method} /api/${path}`, body]);
    const asked = `${method} ${action ?? (kind === "peers" || kind === "keys" ? (id === undefined ? kind : `${kind}/id`) : path)}`;
    switch (asked) {
      case "GET torznab":
        return [200, feed(this.releases, this.failures)];
      case "POST add":
        return [200, "Ok."];
      case "GET peers":
        return [200, { peers: this.peers }];
      case "POST peers":
        this.peers.push(peer(`id-of-${this.peers.length}`, "berta", { url: "https://berta.example" }));
        return [201, { id: this.peers.at(-1).id }];
      case "DELETE peers/id":
        this.peers = this.peers.filter((one) => one.id !== id);
        return [204, null];
      case "POST test": {
        const { reachable, error } = this.peers.find((one) => one.id === id);
        return [200, reachable ? { ok: true, version: "0.9.1", error: null } : { ok: false, version: null, error }];
      }
      case "POST links/read":
        if (!body.link.startsWith("jack-link:v1:"))
          throw new Refusal(400, "LinkRefused", "a quick link begins with jack-link:v1:", "link");
        return [200, { name: "berta", url: "https://berta.example", header_names: ["CF-Access"] }];
      case "GET keys":
        return [200, { keys: this.keys }];
      case "POST keys":
      case "POST links": {
        if (!body.name) throw new Refusal(400, "BadRequest", "a name is needed", "name");
        this.keys.push(key(this.keys.length + 1, body.name, { expires_at: body.expires_at ?? null }));
        return [201, kind === "keys" ? { ...this.keys.at(-1), key: "regrip_secret" } : { link: "jack-link:v1:secret", key: this.keys.at(-1) }];
      }
      case "DELETE keys/id":
        this.keys.find((one) => String(one.id) === id).revoked_at = time(Date.now());
        return [204, null];
      case "POST servers/register":
        this.servers = this.servers.map((one) => (one.registration === "off" ? one : { ...one, registration: "registered", error: null }));
        return [200, { servers: this.servers }];
      case "GET servers":
        return [200, { servers: this.servers }];
      default:
        throw new Refusal(404, "NotFound", "there is nothing at this path");
    }
  }

  #logIn(body) {
    if (body?.key !== this.key) throw new Refusal(401, "Unauthorized", "this is not the server's key");
    const token = randomUUID();
    this.#sessions.add(token);
    return [204, null, { "set-cookie": `regrip_session=${token}; Path=/; HttpOnly; SameSite=Strict` }];
  }

  #stream(request, response) {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(": here\n\n");
    this.#streams.add(response);
    request.on("close", () => this.#streams.delete(response));
    return [null];
  }

  #list(query) {
    const wanted = query.get("status")?.split(",");
    const all = [...this.#rows.values()];
    const rows = wanted ? all.filter((row) => wanted.includes(row.status)) : all;
    rows.sort((one, other) =>
      one.updated_at === other.updated_at ? other.id - one.id : one.updated_at < other.updated_at ? 1 : -1,
    );
    const after = query.get("after");
    if (after !== null && !this.#rows.has(Number(after)))
      throw new Refusal(404, "NoSuchDownload", `there is no download ${after}`, "after");
    const from = after === null ? 0 : rows.findIndex((row) => row.id === Number(after)) + 1;
    const limit = Number(query.get("limit"));
    const downloads = rows.slice(from, from + limit);
    const counts = {};
    for (const row of all) counts[row.status] = (counts[row.status] ?? 0) + 1;
    return { downloads, next: from + limit < rows.length ? downloads.at(-1).id : null, counts };
  }

  #accept({ url, filename, sha256 }) {
    if (!/^https?:\/\/\S+$/.test(url))
      throw new Refusal(400, "BadUrl", `${JSON.stringify(url)} is not an http or https URL`, "url");
    if (filename?.includes("/"))
      throw new Refusal(
        400,
        "NameRefused",
        `the name ${JSON.stringify(filename)} was refused: it has a path in it`,
        "filename",
      );
    if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256))
      throw new Refusal(400, "BadDigest", "a sha256 has 64 hexadecimal digits", "sha256");
    const known = [...this.#rows.values()].find((row) => row.url === url);
    if (known) return [200, known];
    const row = this.add({ url, filename: filename ?? url.split("/").at(-1), sha256_wanted: sha256 ?? null });
    this.emit("queued", row.id);
    return [201, row];
  }

  #one(asked, row) {
    const { id, status } = row;
    const wrong = () => {
      throw new Refusal(409, "WrongState", `download ${id} is ${status}`);
    };
    const finished = ["completed", "import_queued", "failed", "cancelled"].includes(status);
    switch (asked) {
      case "GET ":
        return [200, row];
      case "GET timeline":
        return [200, { attempts: this.#timelines.get(id) }];
      case "POST retry":
        if (status !== "failed" && status !== "cancelled") wrong();
        this.emit("queued", id);
        return [200, row];
      case "POST pause":
        if (finished || status === "committing" || status === "paused") wrong();
        this.emit("waiting", id, { until: null, why: "paused" });
        return [200, row];
      case "POST resume":
        if (status !== "paused") wrong();
        this.emit("queued", id);
        return [200, row];
      case "POST cancel":
        if (finished || status === "committing") wrong();
        this.emit("cancelled", id, summary(row));
        return [200, row];
      case "DELETE ":
        this.#rows.delete(id);
        return [204, null];
      default:
        throw new Refusal(404, "NotFound", "there is nothing at this path");
    }
  }
}

const ATTEMPT = {
  ended_at: null,
  offset_from: 0,
  offset_to: null,
  outcome: null,
  class: null,
  code: null,
  error: null,
  wait_ms: null,
  asked_by: null,
  restart_reason: null,
  discarded_bytes: null,
};

const STANDS = { waiting_until: null, waiting_why: null, error: null, error_class: null, error_code: null };
const ended = (status) => (event) => ({
  ...STANDS,
  status,
  downloaded_bytes: event.bytes,
  error: event.error,
  error_class: event.class,
  error_code: event.code,
});
const CHANGES = {
  queued: () => ({ ...STANDS, status: "queued" }),
  started: (event) => ({ ...STANDS, status: "downloading", attempts: event.attempt, downloaded_bytes: event.from }),
  headers: (event) => ({ expected_bytes: event.expected_bytes }),
  progress: (event) => ({ downloaded_bytes: event.bytes }),
  restart: (event, row) => ({ downloaded_bytes: 0, restarts: row.restarts + 1 }),
  retrying: (event) => ({
    status: "waiting",
    waiting_until: time(Date.now() + event.delay_ms),
    waiting_why: event.error,
  }),
  waiting: (event) => ({ status: event.until === null ? "paused" : "waiting", waiting_until: event.until, waiting_why: event.why }),
  completed: (event, row, at) => ({ ...ended("completed")(event), sha256_got: event.sha256, completed_at: at }),
  failed: ended("failed"),
  cancelled: ended("cancelled"),
};

/** How a download ended, as its last event tells it. */
export function summary(row, fields = {}) {
  const { downloaded_bytes: bytes, attempts, restarts } = row;
  return { bytes, attempts, restarts, sha256: null, class: null, code: null, error: null, ...fields };
}

/** As the ledger writes times. */
export const time = (at) => new Date(at).toISOString();

/** A peer that is reachable. */
export const peer = (id, name, fields = {}) => ({
  id,
  name,
  url: `https://${name}.example`,
  version: "0.9.1",
  reachable: true,
  since: "2026-11-29T10:00:00.000Z",
  error: null,
  probes: 0,
  next_probe_at: null,
  last_search: null,
  ...fields,
});

/** A key in force. */
export const key = (id, name, fields = {}) => ({
  id,
  name,
  created_at: "2026-11-01T10:00:00.000Z",
  expires_at: null,
  last_used_at: null,
  revoked_at: null,
  ...fields,
});

/** Radarr, registered. */
export const server = (name, fields = {}) => ({
  name,
  type: "radarr",
  url: "http://radarr:7878",
  category: "films",
  registration: "registered",
  error: null,
  tried_at: "2026-11-29T10:00:00.000Z",
  ...fields,
});

/** As Torznab has it. */
function feed(releases, failures) {
  const escaped = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const items = releases.map(
    ({ id, title, size, category }) =>
      `<item><title>${escaped(title)}</title><guid isPermaLink="false">${id}</guid><pubDate>Sun, 29 Nov 2026 10:00:00 GMT</pubDate>` +
      `<category>${category}</category><size>${size}</size><link>http://regrip:5225/torznab/download/${id}.torrent</link></item>`,
  );
  const comments = failures.map((failed) => `<!-- ${failed.replaceAll("-", "- ")} -->`);
  return (
    `<?xml version="1.0"?><rss xmlns:torznab="http://torznab.com/schemas/2015/feed"><channel>` +
    `<torznab:response offset="0" total="${releases.length}"/>${comments.join("")}${items.join("")}</channel></rss>`
  );
}

async function json(request) {
  const chunks = await request.toArray();
  if (chunks.length === 0) return null;
  if (request.headers["content-type"].startsWith("application/x-www-form-urlencoded"))
    return Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
  if (request.headers["content-type"] !== "application/json")
    throw new Refusal(415, "NotJson", "the body must be JSON");
  return JSON.parse(Buffer.concat(chunks));
}

/** The policy as the server sends it. */
async function policy() {
  const rust = await readFile(new URL("mod.rs", FILES), "utf8");
  const [, literal] = /const POLICY: &str = "([^"]+)"/.exec(rust);
  return literal.replace(/\\\n\s*/g, "");
}
