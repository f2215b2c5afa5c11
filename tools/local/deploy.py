"""sam build and sam deploy of the one template, skipped when nothing that they read has changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.local.place import (
    LOCAL,
    LOGS,
    PYTHON_VERSION,
    REGION,
    ROOT,
    STACK,
    STAGE,
    architecture,
    emulator_environment,
)
from tools.local.say import Stop, step

if TYPE_CHECKING:
    from pathlib import Path

DEPLOYED = LOCAL / "deployed.json"
# The first line of ALERT_WEBHOOKS that people see: what `make demo` listens on.
DEMO_WEBHOOK = "http://127.0.0.1:8099/alerts"


@dataclass(frozen=True)
class Chosen:
    """What a person may choose of the template's parameters."""

    webhooks: str
    auth_mode: str
    provider_order: str = ""
    provider_urls: str = ""


@dataclass(frozen=True)
class Target:
    """Where to deploy, and what its functions run on. `copies_layers`: it mounts none itself."""

    endpoint: str
    cloud: str
    python: str = PYTHON_VERSION
    copies_layers: bool = False

    @property
    def build_folder(self) -> Path:
        """One per interpreter: sam's cache does not see what the layers were built for."""
        return LOCAL / "build" / f"{self.cloud}-{self.python}"

    def parameters(self, chosen: Chosen) -> dict[str, str]:
        return {
            "Runtime": f"python{self.python}",
            "Architecture": architecture(),
            "AlertWebhooks": chosen.webhooks,
            "AuthMode": chosen.auth_mode,
            "ProviderUrls": chosen.provider_urls or '""',
            # Else samconfig.toml's.
            **({"ProviderOrder": chosen.provider_order} if chosen.provider_order else {}),
        }


def fingerprint(target: Target, chosen: Chosen) -> str:
    """A name for everything that the deployed stack depends on."""
    seen = hashlib.sha256(json.dumps([target.__dict__, chosen.__dict__]).encode())
    for path in _sources():
        seen.update(str(path.relative_to(ROOT)).encode())
        seen.update(path.read_bytes())
    return seen.hexdigest()


def is_current(target: Target, chosen: Chosen) -> bool:
    try:
        return bool(json.loads(DEPLOYED.read_text()) == fingerprint(target, chosen))
    except (OSError, ValueError):
        return False


def forget() -> None:
    DEPLOYED.unlink(missing_ok=True)


def deploy(sam_bin: Path, target: Target, chosen: Chosen) -> None:
    """Build and deploy. Raises Stop with the tool's own reason if either fails."""
    forget()
    environment = {
        **emulator_environment(target.endpoint),
        "PATH": f"{sam_bin}{os.pathsep}{os.environ.get('PATH', '')}",
        "TARGET_PYTHON": target.python,
        "TARGET_ARCHITECTURE": architecture(),
        "TARGET_NATIVE": "1" if target.python == PYTHON_VERSION else "",
    }
    sam = str(sam_bin / "sam")
    with step("building (sam build)"):
        _check_descriptor(sam_bin)
        folder = target.build_folder
        command = [sam, "build", "--config-env", STAGE, "--cached"]
        command += ["--build-dir", str(folder / "build"), "--cache-dir", str(folder / "cache")]
        _run(command, "build", environment)
        if target.copies_layers:
            _copy_layers(folder / "build")
    with step("deploying (sam deploy)"):
        command = [sam, "deploy", "--config-env", STAGE, "--stack-name", STACK]
        command += ["--template-file", str(folder / "build" / "template.yaml")]
        # Else it would be looked for beside that template.
        command += ["--config-file", str(ROOT / "samconfig.toml")]
        command += [
            "--region",
            REGION,
            "--parameter-overrides",
            *_with_settings(target.parameters(chosen)),
        ]
        _run(command, "deploy", environment)
    DEPLOYED.write_text(json.dumps(fingerprint(target, chosen)))


def build_for_aws(sam_bin: Path) -> None:
    """`sam build` into sam's own folder, ready for `sam deploy`; target as layers/deps says."""
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
    environment["PATH"] = f"{sam_bin}{os.pathsep}{os.environ.get('PATH', '')}"
    with step("building (sam build)"):
        _check_descriptor(sam_bin)
        # Not cached: sam's cache does not see what the layers are built for.
        _run([str(sam_bin / "sam"), "build", "--no-cached"], "build", environment)


def _check_descriptor(sam_bin: Path) -> None:
    """A descriptor of AI providers that makes no sense is not built. (sam's own interpreter has what
    reads it.)"""
    check = [str(sam_bin / "python"), "-m", "aetherlink.ai.descriptor"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "layers" / "core")}
    done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Stop(done.stderr.strip().splitlines()[-1].partition("Error: ")[2] or done.stderr)


def _with_settings(parameters: dict[str, str]) -> list[str]:
    """samconfig.toml's own parameters and ours, which win: the command line replaces the file's,
    whole."""
    import tomllib  # noqa: PLC0415 - Python 3.11; the check for that comes before this module

    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    settings: list[str] = config[STAGE]["deploy"]["parameters"]["parameter_overrides"]
    given = dict(setting.split("=", 1) for setting in settings)
    return [f"{name}={value}" for name, value in {**given, **parameters}.items()]


def _copy_layers(build: Path) -> None:
    """LocalStack's free edition mounts no layers: their content goes into each function."""
    layers = [build / name / "python" for name in ("DepsLayer", "CoreLayer")]
    for function in build.iterdir():
        if (function / "functions").is_dir():
            for layer in layers:
                shutil.copytree(layer, function, dirs_exist_ok=True)


def _run(command: list[str], name: str, environment: dict[str, str]) -> None:
    log = LOGS / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False
        )
    text = log.read_text(errors="replace")
    if done.returncode and "No changes to deploy" not in text:
        raise Stop(f"sam {name} failed: {_reason(text)}. The whole of it: {log}")


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # What a tool calls an error comes before what make and sam say about its having failed.
    by_tool = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    telling = [line for line in lines if "Error" in line or "FAILED" in line or "error" in line]
    return (by_tool or telling or lines or ["it printed nothing"])[-1][:300]


def _sources() -> list[Path]:
    folders = (ROOT / "functions", ROOT / "layers")
    found = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return sorted([*found, ROOT / "template.yaml", ROOT / "samconfig.toml"])
