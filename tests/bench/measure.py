"""Runs commands and says what they cost; serves files from memory over loopback while it does."""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from machine import fail, program

# The rate of what is under /paced/ on the server.
PACED_MIB = 700

# Nothing that is measured may take longer.
LIMIT_SECONDS = 300


@dataclass
class Cost:
    wall: float
    cpu: float
    peak_mib: float


def cost(command, env=None):
    """What a command cost. It must succeed.

    GNU time stands in between for the peak memory: a child's begins with that of the process that forked it, and
    Python is larger than most of what is measured here.
    """
    with tempfile.NamedTemporaryFile("r") as note:
        timed = [program("time"), "-o", note.name, "-f", "%M", *map(str, command)]
        begun = time.perf_counter()
        process = subprocess.Popen(
            timed, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True)
        alarm = signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
        signal.alarm(LIMIT_SECONDS)
        try:
            said = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, alarm)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            fail(f"{' '.join(map(str, command))[:300]}\nended with {process.returncode}: {said.decode()[-2000:]}")
        return Cost(wall, usage.ru_utime + usage.ru_stime, int(note.read().split()[-1]) / 1024)


def interleaved(contenders, runs, before, after):
    """Runs every contender once a round, another one first each time. Name: its costs, in rounds."""
    costs = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(runs):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            before()
            costs[name].append(cost(contenders[name]))
            after(name)
    return costs


def median(costs, of):
    return statistics.median(getattr(cost, of) for cost in costs)


def ratio(costs, rival, of):
    """The median over the rounds of a contender's cost to its rival's in the same round."""
    return statistics.median(getattr(mine, of) / getattr(its, of) for mine, its in zip(costs, rival))


@contextmanager
def place(parent):
    """A folder that goes away."""
    folder = Path(tempfile.mkdtemp(prefix="regrip-bench-", dir=parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ended(process):
    """Ends a process that was started here."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def nginx(folder, root):
    """Serves `root` on loopback, with and without TLS. Yields both origins and the certificate."""
    plain, tls = free_port(), free_port()
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext",
         "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(f"{kind}_temp_path {folder}/nginx-{kind};"
                          for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = folder / "nginx.conf"
    config.write_text(f"""
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000; {temporary}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    root {root};
    location /paced/ {{ alias {root}/; limit_rate {PACED_MIB}m; }}
  }}
}}
""")
    process = subprocess.Popen([program("nginx"), "-p", folder, "-c", config], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", plain)) == 0:
                    break
            if process.poll() is not None:
                fail("nginx did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{plain}", f"https://localhost:{tls}", certificate
    finally:
        ended(process)


@contextmanager
def faultd(binary, script):
    """The fault server with a script (JSON text). Yields its origin."""
    process = subprocess.Popen([binary, "--script", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        process.stdin.write(script)
        process.stdin.close()
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            fail("the fault server did not start")
        yield line.removeprefix("listening on ").strip()
    finally:
        ended(process)
