"""The descriptor: which providers there are and what is asked of them, as config/ai-providers.yaml says.

A stage's own file lies over it: `ai-providers.<stage>.yaml` names what differs there. Maps are merged,
anything else is replaced, and null takes an entry away.
"""

from __future__ import annotations

import re
from enum import StrEnum
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, model_validator

from aetherlink.kernel.shape import Given

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

# Names become attributes and path segments.
NAME = r"[a-z][a-z0-9_-]{0,31}"
EVERY = "*"


class DescriptorError(ValueError):
    """The descriptor, or a parameter that refers to it, makes no sense. The message says where."""


class Kind(StrEnum):
    """Whose wire format a provider speaks."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    OLLAMA = "ollama"
    BEDROCK = "bedrock"
    RULES = "rules"


class Check(StrEnum):
    """What an answer has to prove before it is believed (docs/ai.md, What of an answer is believed)."""

    LEAD = "lead"
    CONTACTS = "contacts"
    LABEL = "label"
    ENTITIES = "entities"
    NONE = "none"


class Price(Given):
    """USD for a million tokens, as the vendor's price list has it."""

    input: float = Field(default=0, ge=0, le=10_000)
    output: float = Field(default=0, ge=0, le=10_000)


class Provider(Given):
    name: str = Field(pattern=f"^{NAME}$")
    type: Kind
    model: str = ""
    # Base URL; the adapter adds the operation's path. Empty: parameter ProviderUrls has to say.
    url: str = Field(default="", pattern=r"^(https?://.+)?$")
    # ssm:<name> or secretsmanager:<name>, below the stack's own name; empty, none is sent.
    key: str = Field(default="", pattern=r"^((ssm|secretsmanager):[A-Za-z0-9][A-Za-z0-9_./-]*)?$")
    capabilities: list[str] = Field(default_factory=lambda: [EVERY])
    timeout_seconds: float = Field(default=10, gt=0, le=25)
    weight: int = Field(default=1, ge=1, le=1_000)
    price: Price = Price()
    # Output tokens that one answer may have, where a capability asks for more.
    max_tokens: int = Field(default=4_096, ge=1, le=200_000)
    region: str = ""
    # Whether it takes temperature and top_p. Anthropic's API has them no more, and reasoning models
    # refuse them.
    sampling: bool | None = None

    @property
    def samples(self) -> bool:
        return self.type is not Kind.ANTHROPIC if self.sampling is None else self.sampling

    def can(self, capability: str) -> bool:
        return EVERY in self.capabilities or capability in self.capabilities


class BreakerPolicy(Given):
    """When a provider is left alone. Defaults: after five failures in a row, or when half of at least
    five calls within a minute failed."""

    window_seconds: int = Field(default=60, ge=2, le=3_600)
    min_calls: int = Field(default=5, ge=1, le=1_000)
    failure_rate: float = Field(default=0.5, gt=0, le=1)
    in_a_row: int = Field(default=5, ge=1, le=1_000)
    open_seconds: float = Field(default=30, gt=0, le=3_600)
    max_open_seconds: float = Field(default=300, gt=0, le=3_600)


class Capability(Given):
    """Something that can be asked for. `input` and `output` are JSON Schemas (2020-12)."""

    name: str = Field(pattern=f"^{NAME}$")
    description: str = ""
    input: dict[str, Any] = Field(default_factory=dict)
    output: dict[str, Any] | None = None
    system: str = ""
    check: Check = Check.NONE
    max_tokens: int = Field(default=1_024, ge=1, le=200_000)
    # Where a summary is made, that is an event.
    summarises: bool = False


class Descriptor(Given):
    version: Literal[1]
    # Over all providers that are asked for one call; API Gateway gives up after 29.
    deadline_seconds: float = Field(default=25, gt=0, le=27)
    breaker: BreakerPolicy = BreakerPolicy()
    providers: dict[str, Provider]
    capabilities: dict[str, Capability]

    @model_validator(mode="before")
    @classmethod
    def _name_entries(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        named = dict(given)
        for group in ("providers", "capabilities"):
            entries = given.get(group)
            if isinstance(entries, dict):
                named[group] = {
                    name: {"name": name, **entry} if isinstance(entry, dict) else entry
                    for name, entry in entries.items()
                }
        return named

    @model_validator(mode="after")
    def _fits_together(self) -> Descriptor:
        for provider in self.providers.values():
            unknown = set(provider.capabilities) - {EVERY, *self.capabilities}
            if unknown:
                raise ValueError(f"providers.{provider.name} has no such capability: {unknown}")
            if provider.type is not Kind.RULES and not provider.model:
                raise ValueError(f"providers.{provider.name} needs a model")
        return self

    def intent(self, name: str) -> Capability | None:
        """A capability by its name; `extract_lead` and `extract-lead` are one."""
        return self.capabilities.get(name) or next(
            (c for n, c in self.capabilities.items() if _plain(n) == _plain(name)), None
        )


def _plain(name: str) -> str:
    return name.replace("_", "-")


Ranks = tuple[tuple[Provider, ...], ...]


def parse_order(text: str, descriptor: Descriptor) -> Ranks:
    """ProviderOrder: `claude|openai,ollama` asks claude or openai first, drawn by weight, then ollama.

    Raises DescriptorError for a name that the descriptor does not have, and for one named twice.
    """
    ranks = []
    seen: set[str] = set()
    for rank in filter(None, (part.strip() for part in text.split(","))):
        names = [name.strip() for name in rank.split("|")]
        for name in names:
            if name not in descriptor.providers:
                known = ", ".join(descriptor.providers)
                raise DescriptorError(f"ProviderOrder names '{name}'; the descriptor has {known}")
            if name in seen:
                raise DescriptorError(f"ProviderOrder names '{name}' twice")
            seen.add(name)
        ranks.append(tuple(descriptor.providers[name] for name in names))
    return tuple(ranks)


def parse_urls(text: str) -> dict[str, str]:
    """ProviderUrls: `ollama=http://10.0.3.7:11434,openai=https://gateway.example/v1`."""
    found = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, separator, url = entry.partition("=")
        if not separator or not url.strip().startswith(("http://", "https://")):
            raise DescriptorError(f"ProviderUrls: '{entry[:80]}' is not name=http(s)://…")
        found[name.strip()] = url.strip().rstrip("/")
    return found


def load(stage: str, *, urls: str = "", folder: Traversable | None = None) -> Descriptor:
    """The descriptor of a stage. Raises DescriptorError, which says what is wrong and where."""
    folder = folder or files("aetherlink.ai") / "config"
    given = _read(folder / "ai-providers.yaml")
    own = folder / f"ai-providers.{stage}.yaml"
    if own.is_file():
        given = _laid_over(given, _read(own))
    for name, url in parse_urls(urls).items():
        if name not in given.get("providers", {}):
            raise DescriptorError(
                f"ProviderUrls names '{name}', which the descriptor does not have"
            )
        given["providers"][name] = {**given["providers"][name], "url": url}
    try:
        return Descriptor.model_validate(given)
    except ValidationError as error:
        findings = (
            f"{'.'.join(str(step) for step in found['loc'])}: {found['msg']}"
            for found in error.errors(include_url=False)
        )
        raise DescriptorError(f"the AI descriptor: {'; '.join(findings)}") from error


def _read(path: Traversable) -> dict[str, Any]:
    # Loaded with the first question that is asked.
    import yaml  # noqa: PLC0415

    try:
        # Ten times as quick as safe_load; the wheel has it.
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise DescriptorError(f"{path.name}: {error}") from error
    if not isinstance(found, dict):
        raise DescriptorError(f"{path.name}: a mapping is needed")
    return found


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _laid_over(merged[name], value)
        else:
            merged[name] = value
    return merged


def main() -> None:  # pragma: no cover - `python -m aetherlink.ai.descriptor`
    """Check the descriptor of every stage that has one; the build calls this."""
    folder = files("aetherlink.ai") / "config"
    for path in folder.iterdir():
        found = re.fullmatch(r"ai-providers(?:\.([a-z0-9-]+))?\.yaml", path.name)
        if found:
            load(found.group(1) or "-", folder=folder)


if __name__ == "__main__":
    main()
