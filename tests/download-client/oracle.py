"""The same calls by qbittorrent-api, unmodified, on qBittorrent and on `regrip serve`. Writes a table of every method it knows.

The table has what each of the two answers, and which fields of qBittorrent's answer regrip's lacks.
"""

import hashlib
import os
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

import qbittorrentapi

theirs, their_key, ours, our_key, peer, item, table = sys.argv[1:]


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(name.encode()) + bencode(value[name]) for name in sorted(value)) + b"e"
    return b"%d:%s" % (len(value), value)


info = {"length": 2_000_000, "name": b"Film", "piece length": 1 << 20, "pieces": bytes(40)}
stub = bencode({"comment": f"regrip:{hashlib.sha256(peer.encode()).hexdigest()[:8]}:{item}".encode(), "info": info})
hash = hashlib.sha1(bencode(info)).hexdigest()

# What any method may want to be given.
GIVEN = {
    "hash": hash, "hashes": hash, "category": "films", "categories": "none", "tags": "a", "rid": 0, "limit": 0, "limits": 0, "value": "true",
    "mode": 0, "enable": "true", "disable": "false", "json": "{}", "ratioLimit": -2, "seedingTimeLimit": -2, "inactiveSeedingTimeLimit": -2,
    "last_known_id": -1, "id": 0, "priority": 1, "name": "other", "newPath": "b", "oldPath": "a", "location": "/nowhere", "savePath": "",
    "urls": "http://127.0.0.1:9/announce", "origUrl": "http://127.0.0.1:9/a", "newUrl": "http://127.0.0.1:9/b", "peers": "127.0.0.1:9",
    "path": "a", "pattern": "a", "plugins": "all", "ruleName": "a", "ruleDef": "{}", "taskID": "a", "sourcePath": "/nowhere",
}
# Fields that are listed one by one.
MOST_LISTED = 20

# It would end the process, log out, or needs more than a parameter.
LEFT_OUT = {("app", "shutdown"), ("auth", "login"), ("auth", "logout"), ("torrents", "add"), ("torrents", "delete")}


def methods():
    source = "\n".join(path.read_text() for path in Path(qbittorrentapi.__file__).parent.glob("*.py"))
    found = {(qbittorrentapi.definitions.APINames[name].value, method) for name, method in re.findall(r'_name=APINames\.(\w+),\s*_method="(\w+)"', source)}
    found |= {("torrents", method) for method in ("pause", "resume", "stop", "start", "createCategory", "setCategory")}
    found -= LEFT_OUT
    # Those that change what the others read come last.
    return sorted(found, key=lambda one: (one[1] in ("pause", "stop", "setCategory", "removeCategories"), one))


def client(base, user, key):
    made = qbittorrentapi.Client(host=base, username=user, password=key, VERIFY_WEBUI_CERTIFICATE=False,
                                 RAISE_ERROR_FOR_UNSUPPORTED_QBITTORRENT_VERSIONS=False)
    made.auth_log_in()
    return made


def shape(value):
    """The names of an answer's fields, one level below lists and maps by hash."""
    if isinstance(value, list):
        return shape(value[0]) if value else set()
    if isinstance(value, dict):
        inner = value.get(hash) if set(value) == {hash} else None
        return shape(inner) if inner is not None else set(value)
    return set()


def ask(api, name, method):
    try:
        response = api._post(_name=name, _method=method, data=GIVEN)
    except qbittorrentapi.exceptions.HTTPError as error:
        return f"no ({error.http_status_code})" if error.http_status_code in (404, 405) else f"yes ({error.http_status_code})", None
    except qbittorrentapi.exceptions.APIError as error:
        return f"no ({type(error).__name__})", None
    try:
        return "yes", response.json()
    except ValueError:
        return "yes", None


apis = [client(theirs, "admin", their_key), client(ours, "anybody", our_key)]
for api in apis:
    assert api.torrents_add(torrent_files=stub, category="films", is_paused=True, is_stopped=True) == "Ok."
    for _ in range(100):
        if api.torrents_info(torrent_hashes=hash):
            break
        time.sleep(0.1)
    assert api.torrents_info(torrent_hashes=hash)[0].state in ("pausedDL", "stoppedDL", "checkingResumeData"), api.torrents_info()

neither = []
lines = [f"| method | qBittorrent {apis[0].app.version} | regrip | fields that regrip's answer lacks |", "|---|---|---|---|"]
for name, method in methods():
    (their, their_json), (our, our_json) = [ask(api, name, method) for api in apis]
    if their == our == "no (404)":
        neither.append(f"{name}/{method}")
        continue
    lacks = sorted(shape(their_json) - shape(our_json)) if their == our == "yes" else []
    listed = " ".join(lacks) if len(lacks) <= MOST_LISTED else f"{len(lacks)} fields, such as {' '.join(lacks[:3])}"
    lines.append(f"| {name}/{method} | {their} | {our} | {listed} |")
for name, path in [("transfer", "transfer/info"), ("sync", "sync/maindata")]:
    assert apis[1]._get(_name=name, _method=path.split("/")[1]).ok
for api in apis:
    api.torrents_delete(delete_files=True, torrent_hashes=hash)
    assert all(torrent.hash != hash for torrent in api.torrents_info())
for name, method in sorted(LEFT_OUT - {("app", "shutdown")}):
    lines.append(f"| {name}/{method} | yes | yes |  |")
lines.append("| app/shutdown | not called | no (404) |  |")

text = f"""# The methods of qBittorrent's Web API

Made by `tests/download-client/run` with PyPI's qbittorrent-api {version("qbittorrent-api")}: the same calls on both.
A status in brackets is that of an error; 404 means that there is no such method, or that it has nothing of that name.

""" + "\n".join(lines) + f"\n\nNeither has, or found, {', '.join(neither)}.\n"
known = Path(table)
if os.environ.get("UPDATE") or not known.exists():
    known.write_text(text)
elif known.read_text() != text:
    sys.exit(f"{table} is not what the two answer now: run again with UPDATE=1 and look at the difference\n{text}")
print("qBittorrent and regrip compared: as", table, "says")
