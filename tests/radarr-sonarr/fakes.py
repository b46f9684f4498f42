"""Fakes of Radarr and Sonarr, which are not available to the tests.

Every request to them is checked against what they publish: the parameters and models of PyPI's radarr-py and sonarr-py, which are
generated from their OpenAPI documents. What they do by themselves is modelled on the behaviour of their source: they test what is
registered, add a grabbed release to the download client, poll it, import what is completed, remove what they imported, and after a
failure block the release and grab another one.
"""

import hashlib
import http.cookiejar
import importlib
import inspect
import json
import os
import re
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import xml.etree.ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MASK = "********"
KINDS = {
    # The category field, that of items nobody knows, and what the other settings of the two implementations are called.
    "radarr": ("movieCategory", "includeUnknownMovieItems", "movieImportedCategory recentMoviePriority olderMoviePriority"),
    "sonarr": ("tvCategory", "includeUnknownSeriesItems", "tvImportedCategory recentTvPriority olderTvPriority"),
}
CLIENT_FIELDS = "host port useSsl urlBase username password initialState sequentialOrder firstAndLast contentLayout".split()
INDEXER_FIELDS = ("baseUrl apiPath apiKey categories additionalParameters multiLanguages minimumSeeders seedCriteria.seedRatio "
                  "seedCriteria.seedTime requiredFlags rejectBlocklistedTorrentHashesWhileGrabbing removeYear animeCategories "
                  "animeStandardFormatSearch failDownloads seedCriteria.seasonPackSeedTime").split()


class Refused(Exception):
    def __init__(self, status, answer):
        super().__init__(f"{status}: {answer}")
        self.status, self.answer = status, answer


def failure(name, message, warning=False):
    return {"propertyName": name, "errorMessage": message, "isWarning": warning, "severity": "warning" if warning else "error"}


def info_hash(stub):
    """The SHA-1 of the value of `info`, by reading bencode."""
    def end(at):
        kind = stub[at:at + 1]
        if kind in b"dl":
            at += 1
            while stub[at:at + 1] != b"e":
                at = end(at)
            return at + 1
        if kind == b"i":
            return stub.index(b"e", at) + 1
        colon = stub.index(b":", at)
        return colon + 1 + int(stub[at:colon])

    at = 1
    while True:
        value = end(at)
        after = end(value)
        if stub[at:value].endswith(b"info"):
            return hashlib.sha1(stub[value:after]).hexdigest()
        at = after


class Client:
    """The download client as these programs use it: in this order, with these parameters."""

    def __init__(self, fields, category):
        get = {field["name"]: field.get("value") for field in fields}.get
        self.base = f"{'https' if get('useSsl') else 'http'}://{get('host')}:{get('port')}{get('urlBase') or ''}"
        self.login = urllib.parse.urlencode({"username": get("username"), "password": get("password")}).encode()
        self.category = category
        jar = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(strict_ns_domain=0))
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar))

    def open(self, path, body=None, headers={}):
        request = urllib.request.Request(f"{self.base}/api/v2/{path}", data=body, headers=headers)
        with self.opener.open(request, timeout=60) as answer:
            return answer.read().decode()

    def ask(self, path, form=None, file=None):
        body, headers = None, {}
        if file is not None:
            boundary = uuid.uuid4().hex
            parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="torrents"; filename="{file[0]}"\r\n'
                     "Content-Type: application/x-bittorrent\r\n\r\n".encode() + file[1] + b"\r\n"]
            parts += [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
                      for name, value in form.items()]
            body = b"".join(parts) + f"--{boundary}--\r\n".encode()
            headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        elif form is not None:
            body = urllib.parse.urlencode(form).encode()
        try:
            return self.open(path, body, headers)
        except urllib.error.HTTPError as error:
            if error.code != 403:
                raise
        if self.open("auth/login", self.login) != "Ok.":
            raise Refused(400, [failure("Username", "Authentication failure")])
        return self.open(path, body, headers)

    def test(self):
        try:
            self.open("app/webapiVersion")
        except urllib.error.HTTPError as error:
            if error.code != 403:
                raise
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?", self.ask("app/webapiVersion"))
        self.ask("app/version")
        preferences = json.loads(self.ask("app/preferences"))
        if preferences["max_ratio_enabled"] and preferences["max_ratio_act"] in (1, 3):
            raise Refused(400, [failure("", "qBittorrent is configured to remove torrents when they reach their Share Ratio Limit")])
        labels = json.loads(self.ask("torrents/categories"))
        if self.category not in labels:
            self.ask("torrents/createCategory", {"category": self.category})
        json.loads(self.ask("torrents/info?" + urllib.parse.urlencode({"category": self.category})))
        return preferences


class Server:
    """Radarr or Sonarr, below the URL base /base."""

    def __init__(self, kind, key, library):
        self.kind, self.key, self.library = kind, key, Path(library)
        self.category_field, self.unknown_items, others = KINDS[kind]
        self.client_fields = {*CLIENT_FIELDS, self.category_field, *others.split()}
        self.entries = {"downloadclient": {}, "indexer": {}}
        self.requests, self.wrong, self.saves = [], [], []
        self.tracked, self.history, self.blocked, self.alternatives, self.rejected = {}, [], [], {}, {}
        self.unavailable = 0
        self.warns_once = False
        self.lock = threading.RLock()
        self.numbers = iter(range(1, 10_000))
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def respond(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else b""
                url = urllib.parse.urlsplit(self.path)
                query = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
                fake.requests.append((self.command, self.path))
                try:
                    status, answer = fake.answer(self.command, url.path, query, body, self.headers)
                except Refused as refused:
                    status, answer = refused.status, refused.answer
                except urllib.error.URLError as error:
                    status, answer = 400, [failure("Host", f"Unable to connect: {error}")]
                except Exception as error:  # what the real one could not read either
                    fake.wrong.append(f"{self.command} {self.path}: {error!r}")
                    status, answer = 500, {"message": repr(error)}
                answer = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                try:
                    self.wfile.write(answer)
                except OSError:
                    pass  # the node was stopped

            do_GET = do_POST = do_PUT = do_DELETE = respond

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/base"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    # What is published.

    def published(self, method, path):
        """The endpoint of the generated client for a request, its query parameters, and its body's model."""
        plain = re.sub(r"/\d+$", "/{id}", path)
        for name in ["download_client", "indexer", "queue", "history", "command", "system"]:
            api = importlib.import_module(f"{self.kind}.api.{name}_api")
            [kind] = [kind for title, kind in vars(api).items() if title.lower() == f"{name}_api".replace("_", "")]
            for title, function in inspect.getmembers(kind, inspect.isfunction):
                source = inspect.getsource(function) if title.endswith("_serialize") else ""
                if f"method='{method}'" in source and f"resource_path='{plain}'" in source:
                    public = getattr(kind, title.removeprefix("_").removesuffix("_serialize"))
                    model = re.search(r"(\w+Resource)", str(inspect.signature(public)).split("_request_timeout")[0])
                    return set(re.findall(r"_query_params\.append\(\('(\w+)'", source)), model and model[1]
        raise AssertionError(f"{self.kind} has no {method} {path}")

    def check(self, method, path, query, body, headers):
        names, model = self.published(method, path)
        unknown = [name for name, _ in query if name not in names]
        assert not unknown, f"unknown parameters {unknown}"
        if not body:
            return None
        assert headers["Content-Type"].split(";")[0] == "application/json", headers["Content-Type"]
        value = json.loads(body)
        kind = getattr(importlib.import_module(f"{self.kind}.models"), model)
        kind.from_dict(value)  # the types, strictly
        unknown = set(value) - set(getattr(kind, f"_{model}__properties"))
        if model == "CommandResource":
            unknown -= {"path"}  # a command's own property, which the document does not list
        assert not unknown, f"{model} has no {unknown}"
        return value

    # What it answers.

    def answer(self, method, path, query, body, headers):
        assert path.startswith("/base/api/v3/"), path
        if headers["X-Api-Key"] != self.key:
            raise Refused(401, {"error": "Unauthorized"})
        path = path.removeprefix("/base")
        value = self.check(method, path, query, body, headers)
        if self.unavailable:
            self.unavailable -= 1
            raise Refused(503, {"message": "starting"})
        query = dict(query)
        resource, _, number = path.removeprefix("/api/v3/").partition("/")
        with self.lock:
            if resource in self.entries:
                if method == "GET":
                    return 200, [self.masked(entry) for entry in self.entries[resource].values()]
            elif resource == "queue" and method == "GET":
                return 200, self.page(query, self.queue(), "queue_resource_paging_resource")
            elif resource == "history":
                assert (query["sortKey"], query["sortDirection"]) == ("date", "descending")
                return 200, self.page(query, self.history[::-1], "history_resource_paging_resource")
        if resource in self.entries:
            return self.save(resource, number, value, query)
        if resource == "queue" and method == "DELETE":
            return 200, self.remove(int(number), query)
        raise AssertionError(f"not expected: {method} {path}")

    def page(self, query, records, model):
        page, size = int(query.get("page", 1)), int(query.get("pageSize", 10))
        answer = {"page": page, "pageSize": size, "totalRecords": len(records), "records": records[(page - 1) * size:page * size]}
        name = "".join(part.title() for part in model.split("_"))
        getattr(importlib.import_module(f"{self.kind}.models"), name).from_dict(answer)  # the fake keeps to the document too
        return answer

    def masked(self, entry):
        fields = [{**field, "value": MASK} if field["name"] in ("password", "apiKey") else field for field in entry["fields"]]
        return {**entry, "fields": fields}

    def save(self, resource, number, entry, query):
        known = self.entries[resource].get(int(number)) if number else None
        if number and known is None:
            raise Refused(404, {"message": "NotFound"})
        names = [other["name"] for other in self.entries[resource].values() if other is not known]
        if not entry.get("name") or entry["name"] in names:
            raise Refused(400, [failure("Name", "Should be unique")])
        contract, allowed = {"downloadclient": ("QBittorrentSettings", self.client_fields),
                             "indexer": ("TorznabSettings", set(INDEXER_FIELDS))}[resource]
        assert entry["configContract"] == contract and entry["protocol"] == "torrent", entry
        values = {field["name"]: field.get("value") for field in entry["fields"]}
        assert set(values) <= allowed, set(values) - allowed
        before = {field["name"]: field.get("value") for field in known["fields"]} if known else {}
        for field in entry["fields"]:
            if field["value"] == MASK:
                field["value"] = before[field["name"]]
        if self.warns_once and query["forceSave"] == "false":
            raise Refused(400, [failure("", "Remote path mapping is missing", warning=True)])
        if resource == "downloadclient":
            assert isinstance(values["port"], int) and isinstance(values["useSsl"], bool)
            assert re.fullmatch(r"([^\\/](/?[^\\/])*)?", values[self.category_field])
            self.client = Client(entry["fields"], values[self.category_field])
            self.preferences = self.client.test()
        else:
            self.test_indexer(values)
            if entry["downloadClientId"] not in self.entries["downloadclient"]:
                raise Refused(400, [failure("DownloadClientId", "Download client does not exist")])
        with self.lock:
            entry = {**entry, "id": int(number) if number else next(self.numbers)}
            self.entries[resource][entry["id"]] = entry
            self.saves.append((resource, bool(known)))
        return (202 if number else 201), self.masked(entry)

    def test_indexer(self, values):
        assert all(isinstance(category, int) for category in values["categories"]), values
        url = f"{values['baseUrl']}{values['apiPath']}?t=caps&apikey={urllib.parse.quote(values['apiKey'])}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=60) as answer:
                assert b"<caps" in answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(400, [failure("", f"Unable to connect to indexer: {error}")])

    # What it does by itself.

    def search(self, parameters):
        """The releases that its indexer has for a film or an episode: titles, info hashes and links, in the order of the feed."""
        [entry] = self.entries["indexer"].values()
        values = {field["name"]: field.get("value") for field in entry["fields"]}
        kind = "movie" if self.kind == "radarr" else "tvsearch"
        query = {"t": kind, "cat": ",".join(map(str, values["categories"])), "extended": 1, "apikey": values["apiKey"], "offset": 0,
                 "limit": 100, **parameters}
        feed = self.fetch(f"{values['baseUrl']}{values['apiPath']}?{urllib.parse.urlencode(query)}")
        attribute = "{http://torznab.com/schemas/2015/feed}attr"
        return [(item.findtext("title"), next(at.get("value") for at in item.iter(attribute) if at.get("name") == "infohash"),
                 item.find("enclosure").get("url")) for item in xml.etree.ElementTree.fromstring(feed).iter("item")]

    def fetch(self, url):
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as answer:
            return answer.read()

    def search_and_grab(self, parameters):
        """Grabs the first release that is not blocked: its link is fetched here, without any header, and added as a file."""
        for title, hash, url in self.search(parameters):
            if hash not in self.blocked:
                stub = self.fetch(url)
                assert info_hash(stub) == hash, title
                self.grab(stub, title)
                self.tracked[hash]["query"] = parameters
                return hash
        return None

    def grab(self, stub, title):
        """Adds a release to the download client, as after a search."""
        hash = info_hash(stub)
        form = {"category": self.client.category, "paused": "False"}
        assert self.client.ask("torrents/add", form, (f"{title}.torrent", stub)) != "Fails."
        self.client.ask("torrents/topPrio", {"hashes": hash})
        with self.lock:
            self.tracked[hash] = {"id": next(self.numbers), "title": title, "state": "downloading", "messages": [], "path": ""}
            self.note("grabbed", hash, {})
        return hash

    def note(self, event, hash, data):
        self.history.append({"id": next(self.numbers), "eventType": event, "downloadId": hash.upper(),
                             "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "sourceTitle": self.tracked[hash]["title"], "data": data})

    def refresh(self):
        """One round of following the downloads."""
        listed = json.loads(self.client.ask("torrents/info?" + urllib.parse.urlencode({"category": self.client.category})))
        for torrent in listed:
            item = self.tracked.get(torrent["hash"])
            if item is None or item["state"] in ("imported", "failed"):
                continue
            item["status"] = {"error": "warning", "stalledDL": "warning", "missingFiles": "warning", "stoppedDL": "paused",
                              "queuedDL": "queued", "stoppedUP": "completed"}.get(torrent["state"], "downloading")
            item["path"] = torrent["content_path"]
            if item["status"] == "completed":
                self.complete(torrent, item)

    def complete(self, torrent, item):
        path, hash = Path(torrent["content_path"]), torrent["hash"]
        if hash in self.rejected:
            item["state"], item["messages"] = "importPending", [self.rejected[hash]]
            return
        target = self.library / path.name
        if self.kind == "radarr":
            os.link(path, target)
        else:
            shutil.copyfile(path, target)
        with self.lock:
            item["state"] = "imported"
            self.note("downloadFolderImported", hash, {"droppedPath": str(path), "importedPath": str(target)})
        [entry] = self.entries["downloadclient"].values()
        limit = torrent["ratio_limit"] if torrent["ratio_limit"] >= 0 else self.preferences["max_ratio"]
        if self.kind == "radarr" and entry["removeCompletedDownloads"]:
            assert torrent["ratio"] >= limit, "it may not be removed yet"
            self.client.ask("torrents/delete", {"hashes": hash, "deleteFiles": "true"})

    def queue(self):
        return [{"id": item["id"], "title": item["title"], "downloadId": hash.upper(), "protocol": "torrent", "outputPath": item["path"],
                 "status": item.get("status", "queued"), "trackedDownloadState": item["state"],
                 "trackedDownloadStatus": "warning" if item["messages"] or item.get("status") == "warning" else "ok",
                 "statusMessages": [{"title": item["title"], "messages": item["messages"]}]}
                for hash, item in self.tracked.items() if item["state"] not in ("imported", "failed")]

    def remove(self, number, query):
        [(hash, item)] = [(hash, item) for hash, item in self.tracked.items() if item["id"] == number] or [(None, None)]
        if hash is None:
            raise Refused(404, {"message": "NotFound"})
        assert set(query) <= {"removeFromClient", "blocklist", "skipRedownload", "changeCategory"}, query
        if query.get("removeFromClient", "true") == "true":
            self.client.ask("torrents/delete", {"hashes": hash, "deleteFiles": "true"})
        if query.get("blocklist") == "true":
            item["state"] = "failed"
            self.blocked.append(hash)
            self.note("downloadFailed", hash, {})
            if query.get("skipRedownload") != "true" and hash in self.alternatives:
                self.grab(*self.alternatives[hash])
            elif query.get("skipRedownload") != "true" and "query" in item:
                self.search_and_grab(item["query"])
        return {}
