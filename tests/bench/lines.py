"""Parts of the bench with slow, lossy and dead lines: what is measured there mostly waits, not computes.

The fault server delays each response by 80 ms and sends 2 MB/s on each connection. Contenders with one connection run
side by side, as they cost next to no processor time; those that a target compares run one after the other.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import machine
from measure import LIMIT_SECONDS, cost, faultd, place
from page import table

MB = 1_000_000
NAME = "film.mkv"
LATENCY_MS, RATE = 80, 2 * MB
PACKAGE = machine.ROOT / "host-wasm" / "pkg"
LOSSY_LIMIT_SECONDS = 90


def script(size, then=(), names=(NAME,), answers=()):
    file = {"versions": [{"seed": 1, "size": size, "etag": '"v1"'}], "then": list(then), "answers": list(answers)}
    return json.dumps({"files": {f"/{name}": file for name in names}, "latency_ms": LATENCY_MS,
                       "bytes_per_second": RATE})


def many(name, connections):
    """The command of a contender with this number of connections; `Run` fills in {regrip}, {url} and {out}."""
    n = connections
    return {
        "regrip": ["{regrip}", "get", "-q", "--state", "{out}/../state.db", "-d", "{out}", f"-x{n}", "{url}"],
        "curl": ["curl", "-s", "-o", "{out}/" + NAME, "{url}"],
        "wget": ["wget", "-q", "-O", "{out}/" + NAME, "{url}"],
        "aria2c": ["aria2c", "-q", "--file-allocation=none", "-d", "{out}", f"-x{n}", f"-s{n}", "-k1M", "{url}"],
        "axel": ["axel", "-q", f"-n{n}", "-o", "{out}/" + NAME, "{url}"],
        "wget2": ["wget2", "-q", "-O", "{out}/" + NAME, "{url}"],
        "rclone": ["rclone", "--config", "/dev/null", "copyurl", "{url}", "{out}/" + NAME],
        # Nothing but more attempts is asked of the rivals on a lossy line.
        "curl --retry-all-errors -C -": ["curl", "-s", "-f", "-C", "-", "--retry", "999", "--retry-all-errors",
                                         "-o", "{out}/" + NAME, "{url}"],
        "wget -c --tries=0": ["wget", "-q", "-c", "--tries=0", "-O", "{out}/" + NAME, "{url}"],
        "aria2c -m0": ["aria2c", "-q", "--file-allocation=none", "-m0", "-d", "{out}", f"-x{n}", f"-s{n}", "-k1M",
                       "{url}"],
    }[name]


class Run:
    """One program on a line of its own: how long, how many requests, how many bytes."""

    def __init__(self, binaries, command, play, size, limit=LIMIT_SECONDS):
        self.wall = self.requests = self.sent = 0
        self.failed = None
        with place(None) as folder, faultd(binaries / "regrip-faultd", play) as origin:
            out = folder / "out"
            out.mkdir()
            fill = {"regrip": binaries / "regrip", "url": f"{origin}/{NAME}", "origin": origin, "out": out}
            begun = time.monotonic()
            process = subprocess.Popen([word.format(**fill) for word in command], cwd=out, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                code = process.wait(limit)
                self.failed = f"gives up (exit {code})" if code else None
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self.failed = f"no end in {limit} s"
            self.wall = time.monotonic() - begun
            with urllib.request.urlopen(f"{origin}/_faultd/log") as answer:
                lines = [line for line in json.load(answer) if line["path"] == f"/{NAME}"]
            self.requests, self.sent = len(lines), sum(line["sent_bytes"] for line in lines)
            if self.failed is None and not self.is_right(out / NAME, origin, size):
                self.failed = "exit 0, wrong file"

    digests = {}

    @classmethod
    def is_right(cls, path, origin, size):
        if not path.exists() or path.stat().st_size != size:
            return False
        if size not in cls.digests:
            with place(None) as folder:
                # The same version without latency, rate and faults.
                honest = json.dumps({"files": {f"/{NAME}": {"versions": [{"seed": 1, "size": size}]}}})
                urllib.request.urlopen(f"{origin}/_faultd/script", data=honest.encode()).close()
                with urllib.request.urlopen(f"{origin}/{NAME}") as answer:
                    cls.digests[size] = hashlib.sha256(answer.read()).hexdigest()
        return hashlib.sha256(path.read_bytes()).hexdigest() == cls.digests[size]


def rounds(binaries, contenders, play, size, runs, at_once=1, limit=LIMIT_SECONDS):
    """Runs every contender once a round, another one first each time; one that fails does not run again."""
    done = {name: [] for name in contenders}
    names = list(contenders)
    with ThreadPoolExecutor(at_once) as pool:
        for number in range(runs):
            turn = number % len(names)
            order = [name for name in names[turn:] + names[:turn] if not any(run.failed for run in done[name])]
            going = {name: pool.submit(Run, binaries, contenders[name], play, size, limit) for name in order}
            for name, run in going.items():
                done[name].append(run.result())
    return done


def against(mine, its):
    """The median over the rounds of a contender's time to its rival's in the same round."""
    return statistics.median(a.wall / b.wall for a, b in zip(mine, its))


def lines_of(done, size, targets):
    """Rows for the table: name, seconds, requests for each MB, MB sent twice, verdict."""
    rows = []
    for name, runs in done.items():
        bold = f"**{name}**" if name.startswith("regrip") else name
        if runs[-1].failed:
            rows.append([bold, f"{runs[-1].wall:.1f}", "–", "–", runs[-1].failed])
            continue
        middle = lambda of: statistics.median(of(run) for run in runs)
        rows.append([bold, f"{middle(lambda run: run.wall):.2f}", f"{middle(lambda run: run.requests / size * MB):.2f}",
                     f"{middle(lambda run: max(0, run.sent - size) / MB):.1f}", targets.get(name, "")])
    return rows


HEADS = ["", "wall s", "requests per MB", "MB sent twice", "target, result"]


def installed(names):
    """Those of the contenders whose programs are there; says what is missing."""
    there = [name for name in names if name.startswith("regrip") or machine.program(name.split()[0])]
    for name in names:
        if name not in there:
            print(f"tests/bench/run: {name} is skipped: it is not installed")
    return there


def long_line(bench, binaries):
    """A file over a line that gives each connection its own rate."""
    size = (8 if bench.quick else 64) * MB
    play = script(size)
    done = {}
    ones = {f"{name} -x1" if name in ("regrip", "aria2c") else name: many(name, 1)
            for name in installed(["regrip", "curl", "wget", "aria2c", "wget2", "rclone"])}
    done.update(rounds(binaries, ones, play, size, bench.runs, at_once=len(ones)))
    targets = {}
    for n in (4, 16):
        several = {f"{name} {flag}{n}": many(name, n) for name, flag in
                   (("regrip", "-x"), ("aria2c", "-x"), ("axel", "-n")) if name in installed([name])}
        done.update(rounds(binaries, several, play, size, bench.runs))
        got = against(done[f"regrip -x{n}"], done[f"aria2c -x{n}"])
        met = got <= 1.05
        targets[f"regrip -x{n}"] = f"≤ 1.05 × aria2c -x{n}: {got:.2f}, {'met' if met else 'missed'}"
        if not met and not bench.quick:
            bench.lost.append(f"long line, `regrip -x{n}`: {got:.2f} × aria2c's wall, the target is 1.05")
    bench.plots["long"] = bars(f"{size // MB} MB, 80 ms, 2 MB/s for each connection", done)
    bench.written["long"] = (
        f"### A long line: {size // MB} MB, 80 ms, 2 MB/s for each connection\n\n{table(HEADS, lines_of(done, size, targets))}"
        "\n\naria2c splits from 1 MiB on (`-k1M`); its default of 20 MiB would give this file to two connections. wget2 with"
        " `--chunk-size` is no faster here than without, and `rclone copyurl` has one connection.\n\n"
        "![](bench/plots/long.svg)")


def lossy(bench, binaries):
    """The long line, on which every response is cut."""
    text = []
    for key, cut, size in (("5 MB", 5 * MB, 32 * MB), ("300 kB", 300_000, 8 * MB)):
        if bench.quick:
            size = 2 * MB
        contenders = {}
        for name, n in (("regrip", 1), ("regrip", 4), ("aria2c -m0", 4), ("wget -c --tries=0", 1),
                        ("curl --retry-all-errors -C -", 1)):
            if installed([name]):
                contenders[f"{name} -x{n}" if name in ("regrip", "aria2c -m0") else name] = many(name, n)
        done = rounds(binaries, contenders, script(size, [{"cut": {"after": cut}}]), size, bench.runs,
                      at_once=len(contenders), limit=20 if bench.quick else LOSSY_LIMIT_SECONDS)
        what = f"{size // MB} MB over that line, every response cut after {key}"
        bench.plots[f"lossy-{key.replace(' ', '')}"] = bars(what, done)
        text.append(f"{what}:\n\n{table(HEADS, lines_of(done, size, {}))}\n\n"
                    f"![](bench/plots/lossy-{key.replace(' ', '')}.svg)")
    bench.written["lossy"] = "### A lossy line\n\n" + "\n\n".join(text)


@contextlib.contextmanager
def silent():
    """An origin that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def dead_one(bench, binaries):
    """Twelve files of three origins, with and without four of a fourth one that never answers."""
    size = (1 if bench.quick else 4) * MB
    names = [f"f{n}" for n in range(4)]
    commands = {
        "regrip -j8": ["{regrip}", "get", "-q", "-j8", "--state", "{out}/../state.db", "-d", "{out}", "-i", "{list}"],
        "aria2c -j8": ["aria2c", "-q", "--file-allocation=none", "-j8", "-d", "{out}", "-i", "{list}"],
        "curl --parallel-max 8": ["curl", "-s", "--parallel", "--parallel-max", "8", "-K", "{config}"],
    }
    times = {(name, dead): [] for name in commands for dead in (False, True)}
    for _ in range(bench.runs):
        for (name, dead), walls in times.items():
            walls.append(until_twelve(binaries, commands[name], script(size, names=names), names, size, dead))
    rows = []
    for name in commands:
        alone, beside = times[name, False], times[name, True]
        got = statistics.median(a / b for a, b in zip(alone, beside))
        rows.append([f"**{name}**" if name.startswith("regrip") else name, f"{statistics.median(alone):.2f}",
                     f"{statistics.median(beside):.2f}", f"{got:.2f}"])
    bench.written["dead"] = (
        f"### One dead origin of four: 12 files of {size // MB} MB until the last is complete\n\n"
        + table(["", "without it, s", "with it, s", "ratio"], rows)
        + "\n\nThe dead one accepts connections and never answers; its four files are the first of the list, and hold four"
          " of the eight permits. `regrip serve` has a limit for each peer, so there they do not: `tests/bench/serve`.")


def until_twelve(binaries, command, play, names, size, with_dead):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(place(None))
        origins = [stack.enter_context(faultd(binaries / "regrip-faultd", play)) for _ in range(3)]
        dead = [stack.enter_context(silent())] if with_dead else []
        out = folder / "out"
        out.mkdir()
        urls = [(f"{origin}/{name}", f"{number}-{name}") for number, origin in enumerate([*dead, *origins])
                for name in names]
        (folder / "list").write_text("".join(f"{url}\n  out={name}\n" for url, name in urls))
        (folder / "config").write_text("".join(f'url = "{url}"\noutput = "{out / name}"\n' for url, name in urls))
        fill = {"regrip": binaries / "regrip", "out": out, "list": folder / "list", "config": folder / "config"}
        begun = time.monotonic()
        process = subprocess.Popen([word.format(**fill) for word in command], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        complete = lambda: sum(path.stat().st_size == size and not path.name.endswith(".part")
                               for path in Path(out).iterdir() if path.suffix != ".aria2")
        while time.monotonic() < begun + 120:
            with contextlib.suppress(FileNotFoundError):
                if complete() >= 12:
                    break
            time.sleep(0.01)
        took = time.monotonic() - begun
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return took


def window(bench, binaries):
    """Memory at 16 connections for each of 4 downloads, from four origins; then with the first response standing still."""
    size = (8 if bench.quick else 64) * MB
    rows = []
    for what, answers in (("4 files of 64 MB, 16 connections each", ()),
                          ("the same, and the first response of each stands still at 1 MB: the window fills",
                           [[{"stall": {"after": MB}}]])):
        peaks = []
        for _ in range(bench.runs):
            with contextlib.ExitStack() as stack:
                folder = stack.enter_context(place(None))
                origins = [stack.enter_context(faultd(binaries / "regrip-faultd", script(
                    size, names=[f"f{number}"], answers=answers))) for number in range(4)]
                command = [binaries / "regrip", "get", "-q", "-x16", "-j4", "--state", folder / "state.db", "-d",
                           folder / "out", *(f"{origin}/f{number}" for number, origin in enumerate(origins))]
                peaks.append(cost(command).peak_mib)
        peak = statistics.median(peaks)
        if peak > 96 and not bench.quick:
            bench.lost.append(f"{what}: {peak:.1f} MiB, the target is 96")
        rows.append([what, f"{peak:.1f}", f"≤ 96: {'met' if peak <= 96 else 'missed'}"])
    bench.written["window"] = "### Memory with several connections\n\n" + table(["regrip", "peak MiB", "target"], rows)


def javascript(bench, binaries):
    """The npm package on the long line with one connection and with four, if it has the option and is built."""
    title = "### The npm package on the long line\n\n"
    typed = PACKAGE / "node.js"
    reason = None
    if not machine.program("node"):
        reason = "Node is not installed"
    elif not typed.exists():
        reason = "host-wasm/pkg is not built (host-wasm/build)"
    elif not any("connections?" in path.read_text() for path in PACKAGE.glob("*.d.ts")):
        reason = "the package has no option `connections`"
    if reason:
        print(f"tests/bench/run: JavaScript is skipped: {reason}")
        bench.written["javascript"] = f"{title}Not measured: {reason}."
        return
    size = (8 if bench.quick else 64) * MB
    code = ("const [, url, path, connections] = process.argv; const {{ download }} = await import({module});"
            "await download(url, path, {{ connections: Number(connections) }});")
    code = code.replace("{module}", json.dumps(typed.as_uri()))
    contenders = {f"npm package, connections: {n}": ["node", "--input-type=module", "-e", code, "{url}",
                                                      "{out}/" + NAME, str(n)] for n in (1, 4)}
    done = rounds(binaries, contenders, script(size), size, bench.runs)
    bench.written["javascript"] = title + table(HEADS, lines_of(done, size, {}))


def bars(title, done):
    """What `plots.py` draws: for each contender the median and all rounds; `None` for one that failed."""
    return {"title": title, "unit": "seconds", "bars": [
        {"name": name, "values": None if runs[-1].failed else [round(run.wall, 3) for run in runs],
         "note": runs[-1].failed} for name, runs in done.items()]}


def bars_of(title, costs):
    """The same from the costs of `interleaved`."""
    return {"title": title, "unit": "seconds", "bars": [
        {"name": name, "values": [round(cost.wall, 3) for cost in mine], "note": None} for name, mine in costs.items()]}
