"""Drives a running `regrip serve` by qbittorrent-api, unmodified: log in, add, follow, stop, start, delete."""

import subprocess
import sys
import time
from pathlib import Path

import qbittorrentapi

base, key, regrip, peer, item, folder = sys.argv[1:]
folder = Path(folder)
completed = folder / "completed"


def until(what, state):
    for _ in range(300):
        torrent = next(iter(client.torrents_info(torrent_hashes=what)), None)
        if torrent is not None and torrent.state == state:
            return torrent
        time.sleep(0.1)
    raise AssertionError(f"not {state}: {torrent}")


def refused(error, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error:
        return
    raise AssertionError(f"{call} was not refused by {error}")


wrong = qbittorrentapi.Client(host=base, username="radarr", password="wrong")
refused(qbittorrentapi.LoginFailed, wrong.auth_log_in)
client = qbittorrentapi.Client(host=base, username="radarr", password=key, RAISE_ERROR_FOR_UNSUPPORTED_QBITTORRENT_VERSIONS=False)
client.auth_log_in()
assert client.is_logged_in
assert client.app.version == "v5.0.4" and client.app.web_api_version == "2.11.4"
assert client.app.preferences.save_path == str(completed)

client.torrents_create_category("films")
refused(qbittorrentapi.Conflict409Error, client.torrents_create_category, "films")
for name in ["..", "/etc", "a/../b", "a//b"]:
    refused(qbittorrentapi.Conflict409Error, client.torrents_create_category, name)
assert "films" in client.torrents_categories()

stub = folder / "Film.torrent"
subprocess.run([regrip, "stub", "create", "--peer", peer, "--item", item, "--name", "Film", "--length", "2000000",
                "-o", stub], check=True, stdout=subprocess.DEVNULL)
refused(qbittorrentapi.UnsupportedMediaType415Error, client.torrents_add, torrent_files=b"no stub")
assert client.torrents_add(torrent_files=stub.read_bytes(), category="films", is_stopped=True) == "Ok."
[torrent] = client.torrents_info(category="films")
assert torrent.state == "stoppedDL" and torrent.name == "Film", torrent
assert client.torrents_properties(torrent.hash).save_path == str(completed / "films")
refused(qbittorrentapi.NotFound404Error, client.torrents_properties, "0" * 40)

client.torrents_start(torrent.hash)
done = until(torrent.hash, "stoppedUP")
path = completed / "films" / "film.bin"
assert done.content_path == str(path) and done.progress == 1, done
assert path.read_bytes() == (folder / "friend" / "film.bin").read_bytes()
assert client.torrents_files(done.hash)[0].name == "film.bin"
assert client.torrents_trackers(done.hash) == []
assert [found.hash for found in client.torrents_info(status_filter="completed", category="films")] == [done.hash]
assert client.torrents_info(status_filter="downloading") == [] and client.torrents_info(category="series") == []
assert list(client.sync_maindata().torrents) == [done.hash]
assert client.transfer_info().connection_status == "connected"
client.torrents_set_share_limits(ratio_limit=1, seeding_time_limit=60, inactive_seeding_time_limit=-1, torrent_hashes=done.hash)
client.torrents_set_force_start(enable=True, torrent_hashes=done.hash)
client.torrents_top_priority(done.hash)
refused(qbittorrentapi.Conflict409Error, client.torrents_set_location, location="/tmp", torrent_hashes=done.hash)
client.torrents_create_category("imported")
client.torrents_set_category(category="imported", torrent_hashes=done.hash)
assert client.torrents_info(category="imported")[0].content_path == str(path)

# Without files the file stays; with files it goes.
client.torrents_delete(delete_files=False, torrent_hashes=done.hash)
assert client.torrents_info() == [] and path.exists()
client.torrents_add(torrent_files=stub.read_bytes(), category="films")
until(done.hash, "stoppedUP")
client.torrents_delete(delete_files=True, torrent_hashes=done.hash)
assert client.torrents_info() == [] and not path.exists()
client.auth_log_out()
print("qbittorrent-api: all passed")
