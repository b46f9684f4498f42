"""From a search to `imported`, and from a release at fault to a new search: two nodes, a link between them that is cut again and
again, and a kill in the middle."""

import json
import os
import random

from fakes import Server
from nodes import KEY, BadLine, Node, ask, folder, row_is, row_of, until

SIZE = 6_000_000
for name in ["friend", "completed", "films"]:
    (folder / name).mkdir()
names = {
    "one": "Film One (2020) {imdb-tt0000001}.mkv",
    "gone": "Film Two A (2021) {imdb-tt0000002}.mkv",
    "kept": "Film Two B (2021) {imdb-tt0000002}.mkv",
    "changed": "Film Three A (2022) {imdb-tt0000003}.mkv",
    "whole": "Film Three B (2022) {imdb-tt0000003}.mkv",
}
files = {key: folder / "friend" / name for key, name in names.items()}
for file in files.values():
    file.write_bytes(random.randbytes(SIZE))


def write(name, config):
    (folder / name).write_text(json.dumps(config))


# The friend is reached through the line only; its link says so.
line = BadLine(None, 0, 1_000_000, 0.004)
write("friend.jsonc", {"regrip": {"listen": "127.0.0.1:0", "apiKey": KEY, "dataDir": "friend-data", "external": {"url": line.address}},
                       "share": ["friend"]})
friend = Node("friend", "serve", "--config", "friend.jsonc")
host, port = friend.address.removeprefix("http://").rsplit(":", 1)
line.to = (host, int(port))

films = Server("radarr", "a" * 32, folder / "films")
config = {
    "downloads": {"completedPath": "completed", "retryBaseDelayMs": 10, "retryMaxDelayMs": 3000, "importPollIntervalMs": 1000},
    "regrip": {"listen": "127.0.0.1:0", "apiKey": KEY, "dataDir": "data"},
    "servers": [{"type": "radarr", "name": "Films", "url": films.url, "apiKey": films.key}],
}
write("config.jsonc", config)
node = Node("before", "serve", "--config", "config.jsonc")
node.stop()
config["regrip"].update(listen=node.address.removeprefix("http://"), internalUrl=node.address)
write("config.jsonc", config)
node = Node("node", "serve", "--config", "config.jsonc")
until("registered", node.log.read_text, lambda: len(films.saves) == 2)
link = ask(friend.address, "/api/links", {"name": "me"})["link"]
peer = ask(node.address, "/api/peers", {"link": link})["id"]
assert ask(node.address, f"/api/peers/{peer}/test", method="POST")["ok"]


def found(imdb):
    return films.search({"imdbid": imdb})


def imported(hash):
    films.refresh()
    return films.tracked.get(hash, {}).get("state") == "imported"


def say():
    return films.wrong, films.queue(), node.log.read_text()


# A film: cut three times, the node killed in the middle, and imported.
until("all are found", say, lambda: sum(len(found(imdb)) for imdb in ("0000001", "0000002", "0000003")) == 5)
line.cuts = 3
film = films.search_and_grab({"imdbid": "0000001"})
part = folder / "completed" / "films" / f"{names['one']}.part"
until("it was cut three times and half of it is there", say, lambda: line.cut == 3 and part.exists() and part.stat().st_size > SIZE // 2)
node.kill()
assert part.stat().st_size < SIZE, "it was killed too late"
node = Node("again", "serve", "--config", "config.jsonc")
until("imported", say, lambda: imported(film))
row_is(node, names["one"], "imported", "imported by Films")
row = row_of(node, names["one"])
assert row["restarts"] == 0 and row["attempts"] >= 4, row
assert (folder / "films" / names["one"]).read_bytes() == files["one"].read_bytes()


# A release that is gone at the peer in the middle, and one that is another file by then: blocked, and the other one is imported.
def wait_for_bytes(name):
    part = folder / "completed" / "films" / f"{name}.part"
    until(f"{name} has bytes", say, lambda: part.exists() and part.stat().st_size > 500_000)
    line.cuts += 1


def spoil_and_see(imdb, key, other, spoil):
    first = next(hash for title, hash, _ in found(imdb) if title == names[key].removesuffix(".mkv"))
    # The one to be spoilt is grabbed first, whichever the feed lists first.
    films.blocked += [hash for _, hash, _ in found(imdb) if hash != first]
    held = list(films.blocked)
    assert films.search_and_grab({"imdbid": imdb}) == first
    films.blocked = [hash for hash in held if hash in films.faults]
    wait_for_bytes(names[key])
    spoil()
    until(f"{key} is blocked", say, lambda: first in films.blocked)
    films.faults.append(first)
    second = until("another one is grabbed", say, lambda: next((hash for hash, item in list(films.tracked.items())
                                                                if item.get("query") == {"imdbid": imdb} and hash != first), None))
    until("the other one is imported", say, lambda: imported(second))
    row_is(node, names[other], "imported", "imported by Films")
    assert (folder / "films" / names[other]).read_bytes() == files[other].read_bytes()
    assert not (folder / "films" / names[key]).exists()


films.faults = []
spoil_and_see("0000002", "gone", "kept", files["gone"].unlink)


def replace():
    new = folder / "new"
    new.write_bytes(random.randbytes(SIZE))
    os.replace(new, files["changed"])


key = ask(friend.address, "/api/keys", {"name": "looks"})["key"]
shared = lambda: ask(friend.address, "/peer/search", key=key)["items"]
until("the digest is known", shared, lambda: all("sha256" in item for item in shared() if item["filename"] == names["changed"]))
spoil_and_see("0000003", "changed", "whole", replace)
assert films.blocked == films.faults, (films.blocked, films.faults)
assert not films.wrong, films.wrong
node.stop()
friend.stop()
print("from a search to imported: all passed")
