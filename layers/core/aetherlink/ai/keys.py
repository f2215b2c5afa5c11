"""Providers' keys, from SSM or Secrets Manager, below the stack's own name.

    ssm:ai/claude              the parameter      /<stack>/ai/claude   (SecureString)
    secretsmanager:ai/claude   the secret         <stack>/ai/claude

Believed for 30 seconds in each process, and dropped at once when a provider refuses it. Never in the
environment, a log or an answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from aetherlink.ai.model import ProviderError, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_AGE_SECONDS = 30.0
_ABSENT = ("ParameterNotFound", "ResourceNotFoundException")
_QUICK = BotoConfig(
    connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2}
)


class Keys:
    def __init__(self, stack: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._stack = stack
        self._clock = clock
        self._known: dict[str, tuple[str, float]] = {}

    def get(self, place: str) -> str:
        """The key at `place`. Raises ProviderError where there is none, or it cannot be read."""
        known = self._known.get(place)
        if known and self._clock() < known[1]:
            return known[0]
        kind, _, name = place.partition(":")
        try:
            found = self._parameter(name) if kind == "ssm" else self._secret(name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _ABSENT:
                raise ProviderError(
                    f"there is no key: put one into {self.where(place)}", Trouble.UNCONFIGURED
                ) from error
            raise ProviderError("its key could not be read", Trouble.UNCONFIGURED) from error
        except BotoCoreError as error:
            raise ProviderError("its key could not be read", Trouble.UNCONFIGURED) from error
        self._known[place] = (found, self._clock() + MAX_AGE_SECONDS)
        return found

    def forget(self, place: str) -> None:
        self._known.pop(place, None)

    def where(self, place: str) -> str:
        """For people: where the key is to be put."""
        kind, _, name = place.partition(":")
        if kind == "ssm":
            return f"SSM parameter /{self._stack}/{name}"
        return f"secret {self._stack}/{name}"

    def _parameter(self, name: str) -> str:
        ssm = boto3.client("ssm", config=_QUICK)
        answer = ssm.get_parameter(Name=f"/{self._stack}/{name}", WithDecryption=True)
        return answer["Parameter"]["Value"].strip()

    def _secret(self, name: str) -> str:
        secrets = boto3.client("secretsmanager", config=_QUICK)
        return secrets.get_secret_value(SecretId=f"{self._stack}/{name}")["SecretString"].strip()
