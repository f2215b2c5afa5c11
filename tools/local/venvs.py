"""One virtual environment per group of packages, made from its lock and kept until that changes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tools.local.place import LOCAL, LOGS, ROOT
from tools.local.say import Stop, note

if TYPE_CHECKING:
    from pathlib import Path


def ensure(name: str) -> Path:
    """The `bin` folder of the environment `name` (dev, sam or cloud), installed if need be."""
    home, lock = _home(name), _lock(name)
    if is_installed(name):
        return home / "bin"
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"install-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    note(f"installing requirements/{name}.txt …")
    _make(home)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    with log.open("w") as out:
        done = subprocess.run(
            [*pip, "--no-input", "--requirement", str(lock)],
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise Stop(
            f"Installing requirements/{name}.txt failed: {_reason(log)}. Check that pip reaches a "
            f"package index (pip download six), then run the command again. Log: {log}"
        )
    (home / "installed").write_text(_wanted(name))
    note(f"installed requirements/{name}.txt")
    return home / "bin"


def is_installed(name: str) -> bool:
    """Whether it is there, made from this lock by this interpreter."""
    home = _home(name)
    stamp = home / "installed"
    is_ours = stamp.exists() and stamp.read_text() == _wanted(name)
    return is_ours and (home / "bin" / "python").exists()


def _home(name: str) -> Path:
    return LOCAL / "venvs" / name


def _lock(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def _wanted(name: str) -> str:
    return hashlib.sha256(_lock(name).read_bytes() + sys.version.encode()).hexdigest()


def _make(home: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(home)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        shutil.rmtree(home, ignore_errors=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Stop(
            f"This Python ({sys.executable}) cannot make virtual environments. Install its venv "
            f"module (Debian, Ubuntu: sudo apt-get install python3-venv, or python{version}-venv) "
            "or name another Python: make up PYTHON=/path/to/python3"
        )


def _reason(log: Path) -> str:
    errors = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
    return errors[-1].removeprefix("ERROR: ")[:200] if errors else "see the log"
