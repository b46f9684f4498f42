"""What the figures of a fleet share: the database of tests/fleet/run, servers of files, and workers."""

import contextlib
import glob
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "../../target"))
PROGRAMS = os.environ.get("REGRIP_PROGRAMS", os.path.join(TARGET, "release"))
URL = os.environ["REGRIP_TEST_POSTGRES"]
ORIGINS = 8


def psql(schema, sql):
    return subprocess.run(
        ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", sql, of(schema)],
        check=True, capture_output=True, text=True,
    ).stdout.strip()


def of(schema):
    return f"{URL}?options=-csearch_path%3D{schema}"


class Worker:
    def __init__(self, schema, completed, permits):
        self.folder = tempfile.TemporaryDirectory()
        config = os.path.join(self.folder.name, "config.jsonc")
        with open(config, "w") as file:
            json.dump({
                "downloads": {"completedPath": completed, "completedPathIsShared": True, "maxConcurrentDownloads": permits},
                "regrip": {"listen": "127.0.0.1:0", "dataDir": os.path.join(self.folder.name, "data"),
                           "ledger": {"postgres": of(schema)}},
            }, file)
        self.process = subprocess.Popen(
            [os.path.join(PROGRAMS, "regrip"), "serve", "--config", config], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening at (\S+)", line):
                self.url = found[1]
            if "taking downloads" in line:
                break
        # What it says later must have a reader.
        self.reader = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.load(reply)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.reader.wait()
        self.folder.cleanup()


def origins(folder, downloads):
    """Servers of small files; each is an origin of its own."""
    script = os.path.join(folder, "script.json")
    with open(script, "w") as file:
        files = {f"/{n}": {"versions": [{"seed": n, "size": 10_000, "etag": f'"{n}"'}]} for n in range(downloads)}
        json.dump({"files": files}, file)
    servers, urls = [], []
    for _ in range(ORIGINS):
        server = subprocess.Popen(
            [os.path.join(PROGRAMS, "regrip-faultd"), "--script", script], stdout=subprocess.PIPE, text=True)
        servers.append(server)
        urls.append(re.search(r"http://\S+", server.stdout.readline())[0])
    return servers, urls


@contextlib.contextmanager
def processor_time(of_postgres):
    """Appends how many seconds of processor time Postgres took meanwhile, all of its processes together."""
    before = postgres_seconds()
    yield
    of_postgres.append(postgres_seconds() - before)


def postgres_seconds():
    with open(os.path.join(psql("public", "SHOW data_directory"), "postmaster.pid")) as file:
        postmaster = int(file.readline())
    ticks = 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path) as file:
            head, fields = file.read().rsplit(")", 1)
            pid, fields = int(head.split()[0]), fields.split()
            if pid == postmaster:
                ticks += sum(map(int, fields[11:15]))  # with the children that ended
            elif int(fields[1]) == postmaster:
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def pgbench(schema, script, clients, seconds):
    """Transactions in a second, and what each costs in milliseconds of processor time."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        cost = []
        with processor_time(cost):
            ran = subprocess.run(
                ["pgbench", "--no-vacuum", "--client", str(clients), "--jobs", "2", "--time", str(seconds),
                 "--file", file.name, of(schema)], check=True, capture_output=True, text=True)
    count = int(re.search(r"actually processed: (\d+)", ran.stdout)[1])
    return float(re.search(r"tps = ([\d.]+)", ran.stdout)[1]), 1000 * cost[0] / count


def claims(schema, clients, rows, origins, seconds=10):
    """The same of claims, one download each, while downloads of some origins wait. The schema's tables are there."""
    with open(os.path.join(HERE, "../../host-native/src/ledger/postgres/fleet.rs")) as source:
        statement = re.search(r'const CLAIM_NEXT: &str = "(.*?)";', source.read(), re.S)[1]
    values = ["'pgbench-' || :client_id", "1", "1000000", "30000", "1000000", "('http://o' || :origin)", "32"]
    for number, value in enumerate(values, 1):
        statement = statement.replace(f"${number}", value)
    psql(schema, f"""
        TRUNCATE downloads, origin_leases;
        INSERT INTO downloads (record, status, dest_path, url, origin, created_at, updated_at, revision, nonce)
        SELECT '{{}}', 'queued', '/f/' || n, 'http://o' || n % {origins} || '/' || n, 'http://o' || n % {origins},
            now(), now(), n, n
        FROM generate_series(1, {rows}) n;
        ANALYZE downloads""")
    # A claim, and the end of the download that was claimed before.
    return pgbench(schema, f"""\\set origin random(0, {origins - 1})
        UPDATE downloads SET status = 'completed', owner = NULL WHERE owner = 'pgbench-' || :client_id;
        DELETE FROM origin_leases WHERE owner = 'pgbench-' || :client_id;
        {" ".join(statement.split())};
        """, clients, seconds)
