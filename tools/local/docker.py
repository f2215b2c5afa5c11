"""LocalStack in Docker, for `make up CLOUD=localstack`."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from tools.local.cloud import answers
from tools.local.say import Stop, step

# The last image that runs without an account; a newer one needs LOCALSTACK_AUTH_TOKEN.
IMAGE = "localstack/localstack:4.14.0"
NAME = "aetherlink-localstack"


def start(port: int) -> str:
    """The endpoint of LocalStack in a container; the one that runs already, if it is ours."""
    endpoint = f"http://127.0.0.1:{port}"
    if _docker("info").returncode:
        raise Stop(
            "CLOUD=localstack needs a running Docker engine, and none answers. Start Docker, or "
            "use the embedded cloud: make up"
        )
    if _docker("inspect", NAME).returncode == 0 and answers(f"{endpoint}/_localstack/health"):
        return endpoint
    _docker("rm", "--force", NAME)
    token = os.environ.get("LOCALSTACK_AUTH_TOKEN")
    image = os.environ.get("LOCALSTACK_IMAGE") or IMAGE
    with step(f"starting {image}"):
        done = _docker(
            "run", "--detach", "--name", NAME,
            "--publish", f"127.0.0.1:{port}:4566",
            # Functions reach receivers on this machine by this name.
            "--add-host", "host.docker.internal:host-gateway",
            "--env", "LAMBDA_DOCKER_FLAGS=--add-host host.docker.internal:host-gateway",
            *(["--env", "LOCALSTACK_AUTH_TOKEN"] if token else []),
            "--volume", "/var/run/docker.sock:/var/run/docker.sock",
            image,
        )  # fmt: skip
        if done.returncode:
            raise Stop(f"Docker could not start {image}: {done.stderr.strip()[-300:]}")
        deadline = time.monotonic() + 120
        while not answers(f"{endpoint}/_localstack/health"):
            if time.monotonic() > deadline:
                raise Stop(f"LocalStack did not answer within 120 s; see: docker logs {NAME}")
            time.sleep(0.5)
    return endpoint


def stop() -> bool:
    """Remove our container. False if there is none."""
    if shutil.which("docker") is None or _docker("inspect", NAME).returncode:
        return False
    return _docker("rm", "--force", NAME).returncode == 0


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, check=False, timeout=600
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(arguments, 127, "", "docker is not installed")
