// Beside the downloads: what is wrong with the server, pending stubs, workers, peers.

import { make, page, refill, say } from "./elements.js";
import { PAGE, known } from "./known.js";
import { ago, bytes, counted, inAWhile, joined, moment, plain } from "./words.js";

let stubsShown = PAGE;

export function sideItem(title, state, bad, ...lines) {
  const told = make("span", bad ? { class: "bad" } : null, state);
  return make(
    "li",
    null,
    make("p", { class: "title" }, make("bdi", null, plain(title)), told),
    ...lines.filter(Boolean).map((line) => make("p", null, plain(line))),
  );
}

function stubItem(stub) {
  const state = stub.next_try_at
    ? `next try ${inAWhile(stub.next_try_at)}`
    : stub.error
      ? "asking again"
      : "asking its peer";
  const from = stub.peer_name ? `from ${stub.peer_name}` : `no peer ${stub.peer_id} is configured`;
  return sideItem(
    stub.name || stub.stub_name,
    state,
    false,
    joined(from, stub.size !== null && bytes(stub.size), stub.attempts > 0 && `asked ${stub.attempts} ×`),
    stub.error,
  );
}

export function peerItem(peer) {
  const state = peer.reachable === null ? "not asked yet" : peer.reachable ? "reachable" : "not reachable";
  const since = peer.since && `since ${moment(peer.since)}`;
  const probe = peer.next_probe_at && `asked again ${inAWhile(peer.next_probe_at)}`;
  return sideItem(
    peer.name,
    state,
    peer.reachable === false,
    peer.url,
    joined(since, probe, peer.version && `version ${peer.version}`),
    peer.error,
    peer.last_search && searched(peer.last_search, peer.error),
  );
}

function searched({ at, releases, error }, known) {
  if (error === null) return `last search ${ago(at)}: ${counted(releases, "release")}`;
  return `last search failed ${ago(at)}${error === known ? "" : `: ${error}`}`;
}

function troubleItem(trouble) {
  return sideItem(trouble.what, "", false, trouble.message, `since ${moment(trouble.since)}`);
}

function workerItem(worker) {
  const shown = worker.leases.map((lease) => lease.filename);
  const more = worker.leases_count - shown.length;
  return sideItem(
    `${worker.host} ${worker.pid}`,
    worker.state,
    ["lost", "waiting"].includes(worker.state),
    joined(worker.address, `up to ${worker.permits} at once`, `seen ${ago(worker.seen_at)}`),
    joined(...shown, more > 0 && `${more} more`),
    worker.trouble,
  );
}

export function drawSides() {
  page("workers").hidden = known.workers.length === 0;
  say(page("workers").querySelector(".count"), known.workers.length.toLocaleString("en"));
  refill(page("workers").querySelector("ul"), known.workers.map(workerItem));

  page("troubles").hidden = known.troubles.length === 0;
  refill(page("troubles").querySelector("ul"), known.troubles.map(troubleItem));
  page("stubs").hidden = known.stubs.length === 0;
  say(page("stubs").querySelector(".count"), known.stubsInAll.toLocaleString("en"));
  refill(page("stubs").querySelector("ul"), known.stubs.slice(0, stubsShown).map(stubItem));
  page("stubs").querySelector(".more").hidden = known.stubs.length <= stubsShown;
  refill(page("peers").querySelector("ul"), known.peers.map(peerItem));
  page("peers").querySelector(".none").hidden = known.peers.length > 0;
}

export function prepareSides() {
  page("stubs")
    .querySelector(".more")
    .addEventListener("click", () => {
      stubsShown += PAGE;
      drawSides();
    });
}
