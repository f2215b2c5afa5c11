"""The CPU time that a cold start's imports take, against that of making a DynamoDB client.

Each import runs in a fresh interpreter, from bytecode that an earlier round has written. The
interpreter's own start is in neither figure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tools.bench.stack import ENVIRONMENT, module_of
from tools.local import template
from tools.local.place import LOCAL, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENT = "import boto3; boto3.client('dynamodb')"
_TIMED = """
import time
started = time.process_time()
{code}
print(time.process_time() - started)
"""


@dataclass(frozen=True)
class Imports:
    """CPU milliseconds. `ready` is the import and the first client, which a first request needs."""

    client_ms: float
    modules: dict[str, tuple[float, float]]
    # Modules that the template names and that are not there.
    missing: list[str]

    def ratios(self) -> dict[str, tuple[float, float]]:
        """Of each module: its import, and its import with a client, by the client alone."""
        return {
            name: (imported / self.client_ms, ready / self.client_ms)
            for name, (imported, ready) in self.modules.items()
        }


def measure(rounds: int, say: Callable[[str], None]) -> Imports:
    functions = [properties for _, properties in template.of_type("AWS::Serverless::Function")]
    named = sorted({module_of(properties) for properties in functions})
    modules = [n for n in named if (ROOT / (n.replace(".", "/") + ".py")).exists()]
    code = {"": CLIENT}
    for name in modules:
        code[name] = f"import {name}"
        code[f"{name}+"] = f"import {name}\nfrom aetherlink.platform.dynamo import client\nclient()"
    taken: dict[str, list[float]] = {name: [] for name in code}
    # By turns, so that a busy machine is so for all of them; the first round writes the bytecode.
    for number in range(rounds + 1):
        say(f"imports: round {number} of {rounds}")
        for name, text in code.items():
            seconds = _run(text)
            if number:
                taken[name].append(1000 * seconds)
    medians = {name: median(values) for name, values in taken.items()}
    return Imports(
        client_ms=medians[""],
        modules={name: (medians[name], medians[f"{name}+"]) for name in modules},
        missing=[name for name in named if name not in modules],
    )


def _run(code: str) -> float:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {
        **kept,
        **ENVIRONMENT,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}",
        "PYTHONPYCACHEPREFIX": str(LOCAL / "bench" / "bytecode"),
    }
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(code=code)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])
