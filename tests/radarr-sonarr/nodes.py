"""regrip nodes in a folder, a bad line between them, and what a test asks them."""

import atexit
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

regrip, folder = Path(sys.argv[1]), Path(sys.argv[2])
KEY = "the-key-of-this-node"
PATIENCE = 60
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def until(what, say, result):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = result()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: {say()}")


class Node:
    """`regrip` with its log; `address` is where it listens."""

    def __init__(self, name, *arguments):
        self.log = folder / f"{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([regrip, *arguments], cwd=folder, stdout=log, stderr=log)
        atexit.register(self.stop)
        listens = lambda: [word for word in self.log.read_text().split() if word.startswith("http://127.0.0.1:")]
        self.address = until(f"{name} listens", self.log.read_text, listens)[0].rstrip("/")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()


class BadLine(threading.Thread):
    """Forwards connections, and cuts the first `cuts` that carry more than `bytes`. A reading is forwarded after `rest` seconds."""

    def __init__(self, to, cuts, bytes, rest=0):
        super().__init__(daemon=True)
        self.to, self.cuts, self.bytes, self.rest, self.cut = to, cuts, bytes, rest, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(self.to)
            threading.Thread(target=self.copy, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self.copy, args=(far, near, self.bytes), daemon=True).start()

    def copy(self, source, sink, most):
        done = 0
        try:
            while data := source.recv(16 << 10):
                done += len(data)
                if most is not None and done > most and self.cut < self.cuts:
                    self.cut += 1
                    sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    break
                time.sleep(self.rest)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


def ask(base, path, body=None, method=None, key=KEY):
    headers = {"X-Api-Key": key, **({"Content-Type": "application/json"} if body is not None else {})}
    body = None if body is None else json.dumps(body).encode()
    with opener.open(urllib.request.Request(base + path, body, headers, method=method), timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def row_of(node, name):
    rows = ask(node.address, "/api/downloads")["downloads"]
    return next((row for row in rows if row["filename"] == name), None)


def row_is(node, name, status, line=None):
    fits = lambda: (found := row_of(node, name)) and found["status"] == status and (line is None or line in (found["import_state"] or ""))
    until(f"{name} is {status} ({line})", lambda: (row_of(node, name), node.log.read_text()), fits)
