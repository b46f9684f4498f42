// The pages beside the downloads: the catalogue of what peers share, peers, keys and servers. Each is a form and a list.
//
// A page is read when it is opened, every few seconds while it is open, and after what was done on it.

import { Refused, api, now } from "./api.js";
import { make, mark, page, parts, refill, say } from "./elements.js";
import { known, readSides } from "./known.js";
import { confirmed } from "./removing.js";
import { peerItem, sideItem } from "./sides.js";
import { ago, bytes, counted, failure, joined, moment, plain } from "./words.js";

let open = "downloads";
let found = { releases: [], failures: [] };
// By the key of an item: whether something is done with it, and the result of the last time.
const busy = new Set();
const results = new Map();

const readServers = async () => Object.assign(known, await api("servers"));
const PAGES = {
  catalogue: { read: readServers, submit: search, items: () => found.releases.map(releaseItem) },
  peers: { read: readSides, submit: addPeer, items: () => known.peers.map(peerCard) },
  keys: { read: async () => Object.assign(known, await api("keys")), submit: makeKey, items: () => known.keys.map(keyItem) },
  servers: { read: readServers, submit: register, items: () => known.servers.map(serverItem) },
};
const at = (name) => parts(page(`${name}-page`));

export const readPage = () => PAGES[open]?.read().then(drawPage);

export function drawPage() {
  if (!PAGES[open]) return;
  const { list, none, failures } = at(open);
  const items = PAGES[open].items();
  refill(list, items);
  if (none) none.hidden = items.length > 0;
  if (failures) refill(failures, found.failures.map((failed) => make("li", null, make("p", { class: "bad" }, plain(failed)))));
}

export function preparePages() {
  for (const [name, { submit }] of Object.entries(PAGES)) {
    const { form, wrong, note } = at(name);
    const input = form.querySelector("input");
    const blame = (text) => (input ? mark(input, wrong, text) : say(wrong, text));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const fields = Object.fromEntries(new FormData(form, event.submitter));
      once(form, async () => {
        blame("");
        say(note, "");
        try {
          const done = await submit(fields);
          say(note, done);
          say(page("said"), done);
        } catch (error) {
          blame(failure(error));
        }
      });
    });
  }
  const issued = page("issued");
  parts(issued).close.addEventListener("click", () => issued.close());
  issued.addEventListener("close", () => (parts(issued).value.value = ""));
  addEventListener("hashchange", turn);
  turn(null);
}

// Opens the page that the address names, if it names one.
function turn(event) {
  const name = location.hash.replace("#/", "") || "downloads";
  if (name !== "downloads" && !PAGES[name]) return;
  open = name;
  page("downloads").hidden = page("downloads").nextElementSibling.hidden = name !== "downloads";
  for (const other of Object.keys(PAGES)) page(`${other}-page`).hidden = other !== name;
  for (const link of page("pages").children) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  drawPage();
  if (event === null) return;
  (page(`${name}-page`)?.querySelector("h2") ?? page("board")).focus();
  readPage()?.catch((error) => say(at(name).wrong, failure(error)));
}

async function once(key, task) {
  if (busy.has(key)) return;
  busy.add(key);
  drawPage();
  await task();
  busy.delete(key);
  await readPage()?.catch(() => {});
  drawPage();
}

// An item with buttons, each `[text, task]`; what a task returns or throws is shown in the item.
function withButtons(item, key, name, ...buttons) {
  const result = results.get(key);
  const run = (task) => () =>
    once(key, async () => {
      results.delete(key);
      const ended = await task().then(
        (text) => ({ text }),
        (error) => ({ text: failure(error), bad: true }),
      );
      if (ended.text) results.set(key, ended);
      say(page("said"), ended.text ? `${plain(name)}: ${ended.text}` : "");
    });
  const state = busy.has(key) ? { "aria-disabled": "true" } : {};
  const elements = buttons.filter(Boolean).map(([text, task]) => {
    const element = make("button", { type: "button", "aria-label": `${text} ${plain(name)}`, ...state }, text);
    element.addEventListener("click", run(task));
    return element;
  });
  item.dataset.key = key;
  if (elements.length > 0) item.append(make("div", { class: "actions" }, ...elements));
  if (result) item.append(make("p", { class: result.bad ? "wrong" : "note" }, plain(result.text)));
  return item;
}

async function search({ q, t }) {
  const text = await api(`torznab/api?${new URLSearchParams({ t, q, limit: 500 })}`);
  const xml = new DOMParser().parseFromString(text ?? "", "text/xml");
  const wrong = xml.querySelector("error, parsererror");
  if (wrong) throw new Refused(200, { message: wrong.getAttribute("description") ?? "the answer is not a feed" });
  const releases = [...xml.querySelectorAll("item")].map((item) => {
    const of = (name) => item.querySelector(name)?.textContent ?? "";
    return { title: of("title"), id: of("guid"), url: of("link"), at: of("pubDate"), size: Number(of("size")), category: Number(of("category")) };
  });
  // The errors of peers are comments, in which each hyphen is followed by a space.
  const notes = [...(xml.querySelector("channel")?.childNodes ?? [])].filter((node) => node.nodeType === Node.COMMENT_NODE);
  found = { releases, failures: notes.map((node) => node.data.replaceAll("- ", "-").trim()) };
  results.clear();
  const total = Number(xml.querySelector("channel > *|response")?.getAttribute("total"));
  if (total > releases.length) return `the newest ${counted(releases.length, "release")} of ${total.toLocaleString("en")}`;
  return releases.length === 0 ? "No releases found" : counted(releases.length, "release");
}

function releaseItem({ title, id, url, at: published, size, category }) {
  const peer = known.peers.find((one) => id.startsWith(`${one.id}:`));
  const isFilm = category < 3000;
  const item = sideItem(title, bytes(size), false, joined(peer?.name, isFilm ? "film" : "series", moment(published)));
  const fetchIt = async () => {
    const server = known.servers.find((one) => one.registration === "registered" && (one.type === "radarr") === isFilm);
    const body = new URLSearchParams({ urls: url, category: server?.category ?? "" });
    await api("v2/torrents/add", { method: "POST", body });
    return server ? `added for ${server.name}: see Downloads` : "added: see Downloads";
  };
  return withButtons(item, `release ${id}`, title, ["Fetch", fetchIt]);
}

function peerCard(peer) {
  const { id, name } = peer;
  const test = async () => {
    const { ok, version, error } = await api(`peers/${id}/test`, { method: "POST" });
    if (!ok) throw new Refused(200, { message: error });
    return `answered, version ${version}`;
  };
  const remove = async () => {
    const what = `This removes ${peer.url} from the configuration. Its unfinished downloads wait until it is added again.`;
    if (await confirmed({ title: "Remove this peer?", name, what, verb: "Remove" }))
      await api(`peers/${id}`, { method: "DELETE" });
  };
  return withButtons(peerItem(peer), `peer ${id}`, name, ["Test", test], ["Remove", remove]);
}

async function addPeer({ link }) {
  const { name, url, header_names: headers } = await api("links/read", { method: "POST", body: { link: link.trim() } });
  const what = joined(url, headers.length > 0 && `with the headers ${headers.join(", ")}`);
  if (!(await confirmed({ title: "Add this peer?", name, what, verb: "Add", deletes: false }))) return "";
  await api("peers", { method: "POST", body: { link: link.trim() } });
  at("peers").form.reset();
  return `${plain(name)} is added`;
}

async function makeKey({ name, expires_at: day, make: kind }) {
  const body = { name, ...(day && { expires_at: `${day}T23:59:59Z` }) };
  const made = await api(kind, { method: "POST", body });
  const issued = parts(page("issued"));
  say(issued.title, `${kind === "keys" ? "Key" : "Quick link"} for ${plain(name)}`);
  issued.value.value = made.link ?? made.key;
  page("issued").showModal();
  issued.value.select();
  at("keys").form.reset();
  return "";
}

function keyItem(key) {
  const { id, name } = key;
  const isOver = key.expires_at && Date.parse(key.expires_at) <= now();
  const state = key.revoked_at ? "revoked" : isOver ? "expired" : "in force";
  const item = sideItem(
    name,
    state,
    false,
    joined(
      `made ${moment(key.created_at)}`,
      key.expires_at && `expires ${moment(key.expires_at)}`,
      key.revoked_at && `revoked ${moment(key.revoked_at)}`,
    ),
    key.last_used_at ? `last used ${ago(key.last_used_at)}` : "never used",
  );
  const revoke = async () => {
    const what = "Its peer cannot fetch anything with it any more. A revoked key cannot be restored.";
    if (await confirmed({ title: "Revoke this key?", name, what, verb: "Revoke" }))
      await api(`keys/${id}`, { method: "DELETE" });
  };
  return withButtons(item, `key ${id}`, name, !key.revoked_at && ["Revoke", revoke]);
}

const STATES = { off: "not registered", pending: "registering", registered: "registered", failed: "registration failed" };

function serverItem({ name, type, url, category, registration, error, tried_at: tried }) {
  const kind = type === "radarr" ? "Radarr" : "Sonarr";
  const facts = joined(kind, url, category && `category ${category}`);
  const hasFailed = registration === "failed";
  const item = sideItem(name, STATES[registration], hasFailed, facts, tried && moment(tried));
  if (error) item.append(make("p", hasFailed ? { class: "wrong" } : null, plain(error)));
  return item;
}

async function register() {
  const { servers } = await api("servers/register", { method: "POST" });
  const number = (state) => servers.filter((server) => server.registration === state).length;
  return `registered at ${counted(number("registered"), "server")}, failed at ${number("failed")}`;
}
