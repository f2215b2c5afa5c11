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
    """Of each module: its import, and its import with making a client (which a first request needs),
    as multiples of a client alone."""

    client_ms: float
    ratios: dict[str, tuple[float, float]]
    # Modules that the template names and that are not there.
    missing: list[str]


def measure(rounds: int, say: Callable[[str], None]) -> Imports:
    functions = [properties for _, properties in template.of_type("AWS::Serverless::Function")]
    named = sorted({module_of(properties) for properties in functions})
    modules = [n for n in named if (ROOT / (n.replace(".", "/") + ".py")).exists()]
    clients: list[float] = []
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in modules}
    # The first round writes the bytecode.
    for number in range(rounds + 1):
        say(f"imports: round {number} of {rounds}")
        for name in modules:
            # Side by side, so that a busy machine is so for all three.
            client = _run(CLIENT)
            imported = _run(f"import {name}")
            ready = _run(f"import {name}\nfrom aetherlink.platform.dynamo import client\nclient()")
            if number:
                clients.append(client)
                taken[name].append((imported / client, ready / client))
    return Imports(
        client_ms=1000 * median(clients),
        ratios={
            name: (median(a for a, _ in pairs), median(b for _, b in pairs))
            for name, pairs in taken.items()
        },
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
