"""What is measured, with what, and on which machine: the programs, their versions, the commit."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Program: the Debian package it is in.
PACKAGES = {
    "curl": "curl",
    "wget": "wget",
    "wget2": "wget2",
    "axel": "axel",
    "aria2c": "aria2",
    "rclone": "rclone",
    "nginx": "nginx-light",
    "time": "time",
    "openssl": "openssl",
}


def fail(text):
    sys.exit(f"{Path(sys.argv[0]).name}: {text}")


def program(name):
    """The path of a program. A shell's builtin `time` is not one, and nginx is not on everybody's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")


def install(names):
    """Installs what is missing of the rivals."""
    missing = sorted({PACKAGES[name] for name in names if program(name) is None})
    if missing:
        apt_install(missing)


def apt_install(missing):
    """Installs Debian packages, or names them if that is not possible here."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    if not shutil.which("apt-get") or (sudo and not shutil.which("sudo")):
        fail(f"install these first: {' '.join(missing)}")
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    subprocess.run([*apt, "update", "-q"], check=True)
    subprocess.run([*apt, "install", "-q", "-y", "--no-install-recommends", *missing], check=True)


def plotter():
    """A Python that has matplotlib: this one, or Debian's with python3-matplotlib, which is installed if need be."""
    has = lambda python: subprocess.run([python, "-c", "import matplotlib"], stderr=subprocess.DEVNULL).returncode == 0
    for python in (sys.executable, "/usr/bin/python3"):
        if Path(python).exists() and has(python):
            return python
    apt_install(["python3-matplotlib"])
    return "/usr/bin/python3"


def build():
    """Builds regrip and its fault server; returns the folder they are in."""
    build = ["cargo", "build", "--release", "--locked", "--package", "regrip", "--package", "regrip-faultd"]
    subprocess.run(build, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"


def first_line(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "?"


def versions(regrip, names):
    """One line: every program with its version."""
    ask = {"rclone": ["rclone", "version"], "nginx": [program("nginx"), "-v"], "openssl": ["openssl", "version"]}
    lines = [first_line([str(regrip), "--version"])]
    for name in names:
        line = first_line(ask.get(name, [name, "--version"]))
        words = line.removeprefix("nginx version: ").replace(" version ", " ").split()
        lines.append(" ".join(words[:3] if name.startswith("wget") else words[:2]).replace("nginx/", "nginx "))
    return ", ".join(lines)


def commit():
    """The commit, and whether the tree differs from it."""
    git = ["git", "-C", str(ROOT)]
    name = first_line([*git, "rev-parse", "--short=10", "HEAD"])
    pages = [":!README.md", ":!tests/BENCHMARKS.md", ":!tests/bench/plots"]
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", *pages]).returncode != 0
    return name + (" with changes" if changed else "")


def machine():
    """One line: processor, cores, memory, kernel."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"
