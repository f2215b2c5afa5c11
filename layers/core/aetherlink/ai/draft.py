"""What callers send."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from aetherlink.kernel.shape import Given, Shape

MAX_TEXT = 50_000


class OrchestrateDraft(Given):
    """The body of POST /orchestrate. What `payload` holds depends on `intent`."""

    tenant_id: str = Field(min_length=1, max_length=64)
    intent: str = Field(min_length=1, max_length=64)
    payload: dict[str, Any]


class LeadText(Given):
    """The body of POST /summaries/extract-lead."""

    raw_text: str = Field(min_length=1, max_length=20_000)
    tenant_id: str | None = Field(default=None, max_length=64)


class ChatPart(Shape):
    type: Literal["text"] = Field(description="Only text is routed")
    text: str = Field(max_length=MAX_TEXT)


class ChatMessage(Shape):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ChatPart]

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class ChatDraft(Given):
    """The body of POST /v1/chat/completions, as OpenAI's clients send it. What we cannot do is refused
    rather than passed over; `user`, `metadata`, `seed`, `store` and `service_tier` change nothing."""

    model: str = Field(min_length=1, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=200)
    max_tokens: int | None = Field(default=None, ge=1, le=200_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=200_000)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: str | list[str] | None = None
    n: Literal[1] | None = Field(default=None, description="One choice is made")
    stream: Literal[False] | None = Field(default=None, description="Answers come whole")
    user: str | None = None
    metadata: dict[str, Any] | None = None
    seed: int | None = None
    store: bool | None = None
    service_tier: str | None = None

    @model_validator(mode="after")
    def _somebody_asks(self) -> ChatDraft:
        if not any(message.role == "user" for message in self.messages):
            raise ValueError("messages need one of role user")
        if sum(len(message.text) for message in self.messages) > MAX_TEXT:
            raise ValueError(f"messages may have {MAX_TEXT:,} characters in all")
        return self
