"""The embedded cloud's process: started, found again, and stopped if it is ours."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.local import deploy
from tools.local.place import LOCAL, LOGS
from tools.local.say import Stop, step

PID_FILE = LOCAL / "cloud.json"
STATE = LOCAL / "state"
# Each warm worker unpacks the layers here (some 90 MB), and leaves them when it ends.
WORKERS = LOCAL / "workers"
# It writes its state on SIGTERM alone, and may take a while over it; SIGKILL would lose everything.
STOP_SECONDS = 60
START_SECONDS = 60


@dataclass(frozen=True)
class Running:
    """A process that we started. `born` tells it from a later one with the same pid."""

    pid: int
    born: str
    port: int
    auth: bool

    def is_alive(self) -> bool:
        return _born(self.pid) == self.born


def running() -> Running | None:
    """The cloud that we started, if it still runs."""
    try:
        found = Running(**json.loads(PID_FILE.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.is_alive() else None


def start(bin_folder: Path, *, port: int, auth: bool) -> Running:
    """The embedded cloud on 127.0.0.1:`port`; the one that runs already, if it is ours."""
    ours = running()
    if ours and (ours.port, ours.auth) == (port, auth):
        return ours
    # Before the one that runs is stopped: it stays if its successor has no place.
    if _is_taken(port) and not (ours and ours.port == port):
        raise Stop(
            f"Port {port} on 127.0.0.1 is taken by something that `make up` did not start. Stop "
            f"it, or choose another port: make up PORT={port + 1}"
        )
    # It stops cleanly, or died.
    stop()
    with step(f"starting the local cloud on 127.0.0.1:{port}"):
        return _launch(bin_folder, port, auth=auth)


def _launch(bin_folder: Path, port: int, *, auth: bool) -> Running:
    shutil.rmtree(WORKERS, ignore_errors=True)
    for folder in (STATE, WORKERS):
        folder.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        # Functions run on the first python on PATH; it must be the one their layers are built for.
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(STATE),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(STATE / "s3"),
        "AUTH": "true" if auth else "false",
        "TMPDIR": str(WORKERS),
    }
    environment.pop("ENDPOINT", None)
    _forget_stream_positions()
    log = LOGS / "cloud.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(bin_folder / "ministack")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Running(process.pid, _born(process.pid), port, auth)
    PID_FILE.write_text(json.dumps(started.__dict__))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if answers(f"http://127.0.0.1:{port}/_ministack/health"):
            return started
        time.sleep(0.1)
    PID_FILE.unlink(missing_ok=True)
    process.terminate()
    raise Stop(f"The local cloud did not start; its log says why: {log}")


def _forget_stream_positions() -> None:
    """ministack keeps how far each stream was read but not the stream's records, which then count
    from 0 again: without this, no record is delivered until as many have come as there were."""
    kept = STATE / "lambda.json"
    try:
        state = json.loads(kept.read_text())
        positions = state["payload"]["dynamodb_stream_positions"]
    except (OSError, ValueError, KeyError):
        return
    if positions.get("data"):
        positions["data"] = {}
        kept.write_text(json.dumps(state))


def stop() -> bool:
    """Stop the cloud that we started and let it write its state. False if none of ours runs."""
    ours = running()
    if ours is None:
        if PID_FILE.exists():
            # It was killed, and comes back as it was before its last start: with older code, perhaps.
            deploy.forget()
            PID_FILE.unlink()
        return False
    with step("stopping the local cloud; it writes its state"):
        os.kill(ours.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while ours.is_alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        if ours.is_alive():
            raise Stop(
                f"The local cloud (pid {ours.pid}) has not stopped within {STOP_SECONDS} s. Run "
                "`make down` again; `kill -9` would lose what it has not written yet"
            )
    PID_FILE.unlink(missing_ok=True)
    shutil.rmtree(WORKERS, ignore_errors=True)
    return True


def answers(url: str) -> dict[str, Any] | None:
    """The JSON at `url`; None if nothing answers there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            parsed = json.loads(answer.read() or b"{}")
            return parsed if isinstance(parsed, dict) else {}
    except (OSError, ValueError, urllib.error.URLError):
        return None


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # As the server binds: a port in TIME_WAIT is free, one with a listener is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _born(pid: int) -> str:
    """When a process started, as text; "" if there is none (a zombie counts as none)."""
    try:
        # Linux: "<pid> (<name>) <state> … <start time>", of which the name may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self").exists():
        return ""
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    state, _, born = shown.partition(" ")
    return "" if state.startswith("Z") else born.strip()
