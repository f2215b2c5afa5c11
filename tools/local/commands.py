"""The commands behind the Makefile. Settings come as environment variables, as make hands them on:

CLOUD           embedded (default), or localstack where Docker is
ENDPOINT        an emulator that runs already, instead of starting one
PORT            of the local cloud; if not given, that of the one that runs, else 4566
AUTH            true: the embedded cloud evaluates IAM policies; if not given, as it runs, else false
AUTH_MODE       dev: headers that anybody can write say who calls; token: credentials alone, as on AWS;
                if not given, as it is deployed, else dev
ALERT_WEBHOOKS  comma-separated URLs for the parameter AlertWebhooks
PROVIDER_ORDER  for the parameter ProviderOrder; if not given, samconfig.toml's
PROVIDER_URLS   for the parameter ProviderUrls
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.local import cloud, deploy, docker
from tools.local.place import LOGS, ROOT, STACK_FILE, emulator_environment
from tools.local.say import Stop, complain, note, step
from tools.local.venvs import ensure, is_installed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Settings:
    cloud: str
    endpoint: str
    port: int
    auth: bool
    chosen: deploy.Chosen

    @classmethod
    def read(cls) -> Settings:
        given = os.environ
        ours = cloud.running()
        port = given.get("PORT", "") or str(ours.port if ours else 4566)
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise Stop(f"PORT must be a number from 1 to 65535, got '{port}'")
        kind = given.get("CLOUD", "") or "embedded"
        if kind not in ("embedded", "localstack"):
            raise Stop(f"CLOUD must be embedded or localstack, got '{kind}'")
        auth_mode = given.get("AUTH_MODE", "") or _deployed_auth_mode()
        if auth_mode not in ("dev", "token"):
            raise Stop(f"AUTH_MODE must be dev or token, got '{auth_mode}'")
        return cls(
            cloud=kind,
            endpoint=given.get("ENDPOINT", "").rstrip("/"),
            port=int(port),
            auth=given["AUTH"].lower() == "true" if given.get("AUTH") else bool(ours and ours.auth),
            chosen=deploy.Chosen(
                given.get("ALERT_WEBHOOKS", "") or deploy.DEMO_WEBHOOK,
                auth_mode=auth_mode,
                provider_order=given.get("PROVIDER_ORDER", ""),
                provider_urls=given.get("PROVIDER_URLS", ""),
            ),
        )


def _deployed_auth_mode() -> str:
    """As the stack that is there was deployed; dev if there is none."""
    try:
        return str(json.loads(STACK_FILE.read_text()).get("auth_mode") or "dev")
    except (OSError, ValueError):
        return "dev"


def up() -> None:
    """Start, build, deploy, check; quick when there is nothing to do."""
    started, settings = time.monotonic(), Settings.read()
    print("AetherLink on a local cloud", flush=True)
    if not is_installed("cloud"):
        # Its functions run on what is about to be replaced.
        cloud.stop()
    with ThreadPoolExecutor() as pool:
        # At the same time: each is mostly waiting for the package index.
        waiting = {name: pool.submit(ensure, name) for name in ("cloud", "sam")}
        bins = {name: done.result() for name, done in waiting.items()}
    target, pid = _target(settings, bins["cloud"])
    if deploy.is_current(target, settings.chosen) and _exists(bins["cloud"], target):
        note("the deployed stack is up to date")
    else:
        if target.copies_layers:
            with step("removing an earlier stack (LocalStack cannot update one)"):
                _inside(bins["cloud"], target, "tools.local.settle", "--remove")
        deploy.deploy(bins["sam"], target, settings.chosen)
    with step("setting what the emulator leaves out"):
        _inside(bins["cloud"], target, "tools.local.settle", "--write", str(pid or ""),
                target.cloud, settings.chosen.webhooks, settings.chosen.auth_mode,
                settings.chosen.provider_urls)  # fmt: skip
    with step("checking the deployed stack"):
        try:
            _inside(bins["cloud"], target, "tools.local.check")
        except Stop:
            # The next `make up` deploys again rather than find the same.
            deploy.forget()
            raise
    shown = json.loads(STACK_FILE.read_text())
    print(f"\n  API      {shown['api_url']}\n  alerts   {', '.join(shown['alert_webhooks'])}")
    print(f"  details  {STACK_FILE.relative_to(ROOT)}")
    print(f"\nUp after {time.monotonic() - started:.0f} s. Next: make demo", flush=True)


def down() -> None:
    """Stop what `make up` started, and nothing else."""
    was_ours = cloud.stop() or docker.stop()
    STACK_FILE.unlink(missing_ok=True)
    print("Stopped." if was_ours else "Nothing of ours was running.", flush=True)


def check() -> None:
    """Check the deployed stack against the template."""
    shown = stack()
    _inside(ensure("cloud"), _deployed(shown["endpoint_url"]), "tools.local.check")
    print("The deployed stack has everything that the template says.", flush=True)


def redrive() -> None:
    """Send what ended in a dead-letter queue again."""
    _inside(ensure("cloud"), _deployed(stack()["endpoint_url"]), "tools.local.redrive", show=True)


def admin_key() -> None:
    """Make an admin's key on the stack that runs; it is printed, and kept nowhere."""
    target = _deployed(stack()["endpoint_url"])
    _inside(ensure("cloud"), target, "tools.local.admin_key", show=True)


def fresh_key(*, name: str, tenant: str, roles: str) -> str:
    """A key of the stack that runs, good for a day: for a tool that calls the API."""
    target = _deployed(stack()["endpoint_url"])
    wanted = {"NAME": name, "TENANT": tenant, "ROLES": roles, "DAYS": "1"}
    done = subprocess.run(
        [ensure("cloud") / "python", "-m", "tools.local.admin_key", "--secret"],
        cwd=ROOT,
        env={**emulator_environment(target.endpoint), **wanted},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Stop(_sentence("tools.local.admin_key", (done.stdout + done.stderr).strip()))
    return done.stdout.strip()


def stack() -> dict[str, str]:
    """What `make up` left in stack.json."""
    try:
        shown: dict[str, str] = json.loads(STACK_FILE.read_text())
    except (OSError, ValueError) as error:
        raise Stop("There is no deployed stack; run `make up` first") from error
    return shown


def dev() -> None:
    """Install the tools for tests and checks."""
    ensure("dev")


def lock() -> None:
    """Pin every group of pyproject.toml anew."""
    bin_folder = ensure("dev")
    with step("installing uv"):
        _quietly(bin_folder / "python", "-m", "pip", "install", "-q", "uv")
    for name, wanted in (
        ("runtime", ["pyproject.toml"]),
        ("dev", ["pyproject.toml", "--group", "dev"]),
        ("sam", ["--group", "sam"]),
        ("cloud", ["--group", "cloud"]),
    ):
        with step(f"requirements/{name}.txt"):
            _quietly(
                bin_folder / "uv", "pip", "compile", "-q", "--universal", "--python-version", "3.11",
                "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links",
                "--upgrade", *wanted, "-o", f"requirements/{name}.txt",
            )  # fmt: skip
    deps = ROOT / "layers" / "deps" / "requirements.txt"
    deps.write_bytes((ROOT / "requirements" / "runtime.txt").read_bytes())


def status() -> None:
    """What runs, and where."""
    shown, ours = stack(), cloud.running()
    endpoint = shown["endpoint_url"]
    kinds = ("ministack", "localstack")
    is_up = any(cloud.answers(f"{endpoint}/_{kind}/health") is not None for kind in kinds)
    print(f"  cloud    {shown['cloud']} at {endpoint}: {'answers' if is_up else 'does not answer'}")
    if ours:
        print(f"  process  {ours.pid}, {'evaluates' if ours.auth else 'does not evaluate'} IAM")
    print(f"  API      {shown['api_url']}")
    if not is_up:
        raise Stop("The stack is not there; run `make up`")


def logs() -> None:
    """Follow the embedded cloud's log, in which the functions' lines are too."""
    log = LOGS / "cloud.log"
    if not log.exists():
        raise Stop("There is no log yet; run `make up` first")
    subprocess.run(["tail", "-n", "50", "-f", str(log)], check=False)


def build() -> None:
    """sam build for AWS: TARGET_PYTHON (3.13) and TARGET_ARCHITECTURE (arm64) say for what."""
    deploy.build_for_aws(ensure("sam"))


def _quietly(*command: Path | str) -> None:
    """Run a command; what it printed is shown only if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Stop(f"{command[0]} failed:\n{done.stdout.strip()}")


def _target(settings: Settings, cloud_bin: Path) -> tuple[deploy.Target, int | None]:
    if settings.endpoint:
        return _deployed(settings.endpoint), None
    if settings.cloud == "localstack":
        endpoint = docker.start(settings.port)
        return deploy.Target(endpoint, "localstack", python="3.13", copies_layers=True), None
    ours = cloud.start(cloud_bin, port=settings.port, auth=settings.auth)
    return deploy.Target(f"http://127.0.0.1:{settings.port}", "embedded"), ours.pid


def _deployed(endpoint: str) -> deploy.Target:
    """The emulator that answers at an endpoint."""
    if cloud.answers(f"{endpoint}/_ministack/health") is not None:
        return deploy.Target(endpoint, "embedded")
    if cloud.answers(f"{endpoint}/_localstack/health") is not None:
        return deploy.Target(endpoint, "localstack", python="3.13", copies_layers=True)
    raise Stop(f"Nothing that we know answers at {endpoint}; is the emulator running?")


def _exists(cloud_bin: Path, target: deploy.Target) -> bool:
    done = subprocess.run(
        [cloud_bin / "python", "-m", "tools.local.settle", "--exists"],
        cwd=ROOT,
        env=emulator_environment(target.endpoint),
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _inside(
    bin_folder: Path, target: deploy.Target, module: str, *arguments: str, show: bool = False
) -> None:
    """Run one of our modules where boto3 is. What it prints on failure is the person's sentence."""
    done = subprocess.run(
        [bin_folder / "python", "-m", module, *arguments],
        cwd=ROOT,
        env=emulator_environment(target.endpoint),
        stdout=None if show else subprocess.PIPE,
        stderr=subprocess.STDOUT if not show else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Stop(_sentence(module, (done.stdout or "").strip()))


def _sentence(module: str, said: str) -> str:
    """What a module said on failure; of a traceback, its last line and where the rest is."""
    if "Traceback (most recent call last)" not in said:
        return said or f"{module} failed"
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{module.rpartition('.')[2]}.log"
    log.write_text(said)
    return f"{module} failed: {said.splitlines()[-1][:300]}. The whole of it: {log}"


COMMANDS: dict[str, Callable[[], None]] = {
    "up": up,
    "down": down,
    "verify": check,
    "redrive": redrive,
    "admin-key": admin_key,
    "dev": dev,
    "lock": lock,
    "status": status,
    "logs": logs,
    "build": build,
}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: python3 -m tools.local {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    # A proxy that the person's environment names cannot reach this machine's loopback.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))
    try:
        COMMANDS[arguments[0]]()
    except Stop as stop:
        complain(stop)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
