"""A way to the API, in a process or over HTTP; what goes in, and all of what comes out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Request:
    """`path` is concrete. `secret` is a key or a registration token; None, no credential."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str | None = None

    def by(self, secret: str | None) -> Request:
        return replace(self, secret=secret)

    def asking(self, **query: str) -> Request:
        return replace(self, query={**self.query, **query})

    def saying(self, **headers: str) -> Request:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})

    def having(self, **fields: Any) -> Request:
        return replace(self, body={**(self.body or {}), **fields})

    @property
    def sent_headers(self) -> dict[str, str]:
        credential = {"X-Api-Key": self.secret} if self.secret else {}
        return {**self.headers, **credential}

    def words(self) -> str:
        """Everything that the caller said, but for who it is: an answer may repeat it."""
        parts = [self.path, *self.query.values(), *self.headers.values(), json.dumps(self.body)]
        return "\n".join(parts)


@dataclass(frozen=True)
class Answer:
    """`headers` by their names in lower case; `text` is the whole body."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    def words(self) -> str:
        return "\n".join([*(f"{n}: {v}" for n, v in self.headers.items()), self.text])


class Door(Protocol):
    def send(self, request: Request) -> Answer: ...
