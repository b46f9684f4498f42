"""From a grab to `imported`, and from a release that is at fault to another one, with two regrip nodes and a bad line between."""

import json
import random
import signal
import subprocess

from fakes import Refused, Server, info_hash
from nodes import KEY, BadLine, Node, ask, folder, regrip, row_is, row_of, until


def stub(item, title, peer=None, size=1_000_000):
    path = folder / f"{random.random()}.torrent"
    subprocess.run([regrip, "stub", "create", "--peer", peer or line.address, "--item", item, "--name", title, "--length", str(size),
                    "-o", path], check=True, stdout=subprocess.DEVNULL)
    return path.read_bytes()


for name in ["friend", "completed", "films", "series"]:
    (folder / name).mkdir()
for name in ["Film One (2020).mkv", "Film Two (2021).mkv", "Film Three (2022).mkv", "Show S01E01.mkv", "Locked (2020).mkv"]:
    (folder / "friend" / name).write_bytes(random.randbytes(1_000_000))
friend = Node("friend", "share", "friend", "--listen", "127.0.0.1:0", "--state", "friend.db")
line = BadLine(("127.0.0.1", int(friend.address.rsplit(":", 1)[1])), 4, 300_000)
items = {item["filename"]: item["id"] for item in ask(friend.address, "/peer/search")["items"]}

films, series = Server("radarr", "a" * 32, folder / "films"), Server("sonarr", "b" * 32, folder / "series")
films.unavailable = 1
config = {
    "downloads": {"completedPath": "completed", "retryBaseDelayMs": 10, "retryMaxDelayMs": 100, "importPollIntervalMs": 1000,
                  "unlinkImportedFiles": True, "peerPatienceMs": 3000},
    "regrip": {"listen": "127.0.0.1:0", "apiKey": KEY, "dataDir": "data"},
    "peers": [{"name": "friend", "url": line.address}, {"name": "away", "url": "http://127.0.0.1:9"}],
    "servers": [
        {"type": "radarr", "name": "My Films", "url": films.url, "apiKey": films.key, "autoregister": {"priority": 7}},
        {"type": "sonarr", "name": "Series", "url": series.url, "apiKey": series.key},
    ],
}


def configure():
    (folder / "config.jsonc").write_text(json.dumps(config))


def registered(count):
    all_saved = lambda: min(len(server.saves) for server in (films, series)) >= count
    until(f"{count} entries are saved", lambda: (films.saves, films.wrong, series.wrong, node.log.read_text()), all_saved)


# Registration: at a reload that says how to reach this node, although a server is not available at first and only warns then.
configure()
node = Node("node", "serve", "--config", "config.jsonc")
until("it has read its configuration", node.log.read_text, lambda: "internalUrl is not configured" in node.log.read_text())
assert not films.saves
config["regrip"]["internalUrl"] = node.address
series.warns_once = True
configure()
node.process.send_signal(signal.SIGHUP)
registered(2)
[client], [indexer] = films.entries["downloadclient"].values(), films.entries["indexer"].values()
assert (client["priority"], client["implementation"]) == (50, "QBittorrent"), client
assert (indexer["priority"], indexer["downloadClientId"]) == (7, client["id"]), indexer
fields = {field["name"]: field["value"] for field in client["fields"]}
assert (fields["movieCategory"], fields["username"]) == ("my-films", "My Films"), fields
[indexer] = series.entries["indexer"].values()
assert {"name": "categories", "value": [5000]} in indexer["fields"], indexer

# Again: the same entries, and what the user changed there stays.
series.warns_once = False
films.entries["downloadclient"][client["id"]]["tags"] = [3]
node.process.send_signal(signal.SIGHUP)
registered(4)
assert [saved for _, saved in films.saves] == [False, False, True, True], films.saves
assert films.entries["downloadclient"][client["id"]]["tags"] == [3]

# A refusal is shown in full, without the key in it.
films.save_as_usual, films.save = films.save, None
def refuse(*_):
    raise Refused(400, [{"propertyName": "Host", "errorMessage": f"cannot connect with {KEY}"}])
films.save = refuse
node.process.send_signal(signal.SIGHUP)
troubles = lambda: [trouble["message"] for trouble in ask(node.address, "/api/troubles")["troubles"]]
shown = lambda: [text for text in troubles() if "My Films" in text and "cannot connect with ***" in text]
until("the refusal is shown", troubles, shown)
assert KEY not in node.log.read_text()
listed = lambda: ask(node.address, "/api/servers")["servers"]
cards = lambda: [(card["name"], card["registration"], card["category"]) for card in listed()]
until("both were tried", listed, lambda: cards() == [("My Films", "failed", "my-films"), ("Series", "registered", "series")])
servers = listed()
assert "cannot connect with ***" in servers[0]["error"] and servers[1]["error"] is None, servers
films.save = films.save_as_usual
servers = ask(node.address, "/api/servers/register", method="POST")["servers"]
assert [(card["registration"], card["error"]) for card in servers] == [("registered", None)] * 2, servers
assert not troubles()
described = ask(node.address, "/openapi.json")["components"]["schemas"]["Server"]
assert set(described["required"]) == set(described["properties"]) == set(servers[0]), servers

# A film: grabbed, its transfer cut again and again, completed, imported and removed by Radarr.
film = films.grab(stub(items["Film One (2020).mkv"], "Film.One.2020"), "Film.One.2020")
def imported(server, hash):
    server.refresh()
    return server.tracked[hash]["state"] == "imported"
until("imported", lambda: (films.queue(), node.log.read_text()), lambda: imported(films, film))
row_is(node, "Film One (2020).mkv", "imported", "imported by My Films")
assert line.cut > 0
assert (folder / "films" / "Film One (2020).mkv").read_bytes() == (folder / "friend" / "Film One (2020).mkv").read_bytes()
assert not (folder / "completed" / "my-films" / "Film One (2020).mkv").exists()

# An episode that Sonarr copies and leaves: regrip removes its own name of it.
show = series.grab(stub(items["Show S01E01.mkv"], "Show.S01E01"), "Show.S01E01")
until("imported", lambda: (series.queue(), node.log.read_text()), lambda: imported(series, show))
row_is(node, "Show S01E01.mkv", "imported", "imported by Series")
until("unlinked", lambda: "", lambda: not (folder / "completed" / "series" / "Show S01E01.mkv").exists())
assert (folder / "series" / "Show S01E01.mkv").exists()

# A release that is gone at the peer: removed from the queue and blocklisted, and the next one is grabbed and imported.
(folder / "friend" / "Film Two (2021).mkv").unlink()
gone = stub("no-such-item", "Film.Two.2021.GONE")
films.alternatives[info_hash(gone)] = (stub(items["Film Three (2022).mkv"], "Film.Two.2021.OTHER"), "Film.Two.2021.OTHER")
gone = films.grab(gone, "Film.Two.2021.GONE")
until("blocklisted", lambda: (films.queue(), node.log.read_text()), lambda: films.blocked == [gone])
others = lambda: [hash for hash, item in list(films.tracked.items()) if item["title"].endswith("OTHER")]
[other] = until("another release is grabbed", films.queue, others)
until("imported", lambda: (films.queue(), node.log.read_text()), lambda: imported(films, other))
row_is(node, "Film Three (2022).mkv", "imported")
deletes = [path for method, path in films.requests if method == "DELETE"]
assert deletes and all("blocklist=true" in path and "removeFromClient=true" in path and "skipRedownload=false" in path for path in deletes)
assert gone not in json.loads(films.client.ask("torrents/info"))

# A release that Radarr rejects shows why; a peer that is away is no fault of the release.
rejected = stub(items["Locked (2020).mkv"], "Locked.2020")
films.rejected[info_hash(rejected)] = "Not an upgrade for existing movie file"
films.grab(rejected, "Locked.2020")
def shows_why():
    films.refresh()
    return "Not an upgrade" in ((row_of(node, "Locked (2020).mkv") or {}).get("import_state") or "")
until("the reason is shown", lambda: (row_of(node, "Locked (2020).mkv"), node.log.read_text()), shows_why)
away = films.grab(stub("1", "Away.2020", "http://127.0.0.1:9"), "Away.2020")
def failed():
    films.refresh()
    torrents = json.loads(films.client.ask("torrents/info"))
    return any(torrent["hash"] == away and torrent["state"] == "error" for torrent in torrents)
until("the peer is given up", node.log.read_text, failed)
asked = len(films.requests)
until("two more rounds", lambda: films.requests[asked:], lambda: sum("/history" in path for _, path in films.requests[asked:]) > 2)
assert films.blocked == [gone], films.blocked

# A restart registers nothing twice, and says nothing wrong.
node.stop()
before = (len(films.entries["downloadclient"]), len(films.entries["indexer"]))
config["regrip"]["listen"] = node.address.removeprefix("http://")
configure()
saves = [len(server.saves) for server in (films, series)]
node = Node("again", "serve", "--config", "config.jsonc")
until("registered again", node.log.read_text,
      lambda: all(len(server.saves) >= before + 2 for server, before in zip((films, series), saves)))
assert (len(films.entries["downloadclient"]), len(films.entries["indexer"])) == before == (1, 1)
node.stop()
friend.stop()
assert not films.wrong and not series.wrong, (films.wrong, series.wrong)
print("fakes of Radarr and Sonarr: all passed")
