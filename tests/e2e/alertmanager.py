"""A real Alertmanager, as Debian's package has it; .ci/run installs it where it may."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "prometheus-alertmanager"
# No wait that is not asked for: a group is told at once, and told again a second later.
_CONFIG = """
route: {receiver: aetherlink, group_wait: 0s, group_interval: 1s, repeat_interval: 2s, group_by: ['...']}
receivers:
- name: aetherlink
  webhook_configs:
  - url: URL
    send_resolved: true
    http_config: {authorization: {credentials: KEY}}
"""


def binary() -> str | None:
    """Where it is; None if it is not installed (its templates have to be under /usr/share)."""
    return shutil.which(NAME) or shutil.which("alertmanager")


class Alertmanager:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def send(self, *alerts: dict[str, Any]) -> None:
        """As Prometheus does."""
        request = urllib.request.Request(
            f"{self._url}/api/v2/alerts",
            json.dumps(alerts).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def running(program: str, folder: Path, *, url: str, key: str) -> Iterator[Alertmanager]:
    """One that tells `url` of its alerts, with an API key as its Bearer credential."""
    config = folder / "alertmanager.yml"
    config.write_text(_CONFIG.replace("URL", url).replace("KEY", key))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        program, f"--config.file={config}", f"--storage.path={folder}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    with (folder / "alertmanager.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        manager = Alertmanager(port)
        deadline = time.monotonic() + 20
        while not manager.is_ready():
            said = (folder / "alertmanager.log").read_text()[-500:]
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        yield manager
    finally:
        process.terminate()
        process.wait(20)
