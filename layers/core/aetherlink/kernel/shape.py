"""What pydantic models here have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Immutable, and built when it is first used: a handler's import passes by many models that it
    never touches, and building one costs a millisecond (docs/performance.md, Cold starts)."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Given(Shape):
    """What a caller sends: a field that we do not know is an error, never ignored."""

    model_config = ConfigDict(extra="forbid")
