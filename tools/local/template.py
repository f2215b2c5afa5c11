"""The template, expanded by SAM's own translator: the resources that a deployed stack must have."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from tools.local.place import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions as `{"<name>": argument}`."""


def _function(loader: yaml.Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    if isinstance(node, yaml.MappingNode):
        return {suffix: loader.construct_mapping(node, deep=True)}
    raise TypeError(f"unexpected {node}")


_Loader.add_multi_constructor("!", _function)


@cache
def load() -> dict[str, Any]:
    """Read once a process: it takes half a second."""
    text = (ROOT / "template.yaml").read_text()
    loaded: dict[str, Any] = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    return loaded


def of_type(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(logical id, properties) of the resources of one type."""
    for name, resource in load()["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties") or {}


def triggers(kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(function, event name, properties) of the functions' events of one type."""
    for function, properties in of_type("AWS::Serverless::Function"):
        for name, event in (properties.get("Events") or {}).items():
            if event["Type"] == kind:
                yield function, name, event["Properties"]


def referred(value: Any) -> str:
    """The logical id that `!Ref X`, `!GetAtt X.Arn` or `!Sub ${X.Arn}` names."""
    text = str(next(iter(value.values()))) if isinstance(value, dict) else str(value)
    match = re.match(r"\$?\{?(\w+)", text)
    return match[1] if match else text
