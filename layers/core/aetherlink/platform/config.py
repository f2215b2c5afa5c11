"""The process environment, read once and typed. No other module reads it."""

from __future__ import annotations

import os
from functools import cache
from typing import Literal, TypeVar

from pydantic import BaseModel, Field, model_validator

from aetherlink.kernel.shape import Shape

Model = TypeVar("Model", bound=BaseModel)


class Config(Shape):
    """What every function is told. Each field is the environment variable of the same name."""

    stage: str
    auth_mode: Literal["token", "dev"]
    events_table: str
    projections_table: str
    control_table: str
    audit_table: str
    audit_retention_days: int = Field(ge=1, le=3650)
    requests_per_minute: int = Field(ge=0, description="Of a tenant without a limit; 0, no limit")
    cors_origins: str = Field(description="Comma-separated origins, empty for none")
    oidc_issuer: str = Field(description="Empty where no tokens are accepted")
    oidc_audience: str
    oidc_algorithms: str
    oidc_jwks_url: str = Field(description="Empty, found at the issuer")
    oidc_roles_claim: str
    oidc_tenant_claim: str
    oidc_role_map: str
    oidc_client_id: str = Field(description="The console's; empty where it signs in with a key")
    outbound_allow: str
    event_retention_days: int = Field(ge=1, le=3650)
    timeline_shards: int = Field(ge=1, le=16)
    archive_enabled: bool

    @model_validator(mode="after")
    def _dev_mode_is_local(self) -> Config:
        # The template refuses this too; here it also holds for an environment changed by hand.
        if self.auth_mode == "dev" and self.stage != "local":
            raise ValueError("AUTH_MODE=dev believes any caller; it is refused unless STAGE=local")
        return self

    @model_validator(mode="after")
    def _tokens_are_for_somebody(self) -> Config:
        # Else a token that the issuer made for any other application would count here.
        if self.oidc_issuer and not self.oidc_audience:
            raise ValueError("OIDC_ISSUER without OIDC_AUDIENCE; say for whom tokens must be made")
        return self


class RelayConfig(Shape):
    """What the relay is told besides."""

    relay_aside_queue: str


class AlertsConfig(Shape):
    """What is told besides to whoever judges rules and tells of alerts."""

    alerts_due_queue: str
    alerts_topic: str


class DispatchConfig(Shape):
    """What the dispatcher is told besides. `alert_webhooks` are secrets."""

    alert_webhooks: str = Field(repr=False)
    delivery_timeout_seconds: float = Field(gt=0)
    delivery_retry_seconds: str
    notifications_queue: str
    notifications_dead_letter_queue: str


class NotificationsConfig(Shape):
    """What is told besides to whoever manages endpoints. `alert_webhooks` are secrets."""

    alert_webhooks: str = Field(repr=False)
    notifications_queue: str


class LinksConfig(Shape):
    """What is told besides to whoever makes links that people follow."""

    api_url_parameter: str = ""


class RegistryConfig(Shape):
    """What is told besides to whoever takes registrations."""

    heal_targets: str = ""


class HealConfig(Shape):
    """What is told besides to whoever looks at services and heals them."""

    api_url_parameter: str = ""
    heal_targets: str = ""
    monitored_services: str = ""
    heal_queue: str = ""


class AiConfig(Shape):
    """What the orchestrator is told besides. Keys are read where they are kept, never from here."""

    provider_order: str = ""
    provider_urls: str = ""
    ai_secrets: str = Field(default="", description="What the keys' names begin with")
    ai_daily_budget: float = Field(default=0, ge=0, description="USD a tenant and day; 0, no limit")


class OrderConfig(Shape):
    """What of the orchestrator the command center's ping says."""

    provider_order: str = ""


class StreamConfig(Shape):
    """What the live stream is told besides."""

    max_streams: int = Field(ge=1, le=500)


class JobsConfig(Shape):
    """What is told besides to whoever starts jobs, and to their worker."""

    jobs_queue: str


class ArchiveConfig(Shape):
    """What is told besides to whoever reads or writes the archive."""

    archive_bucket: str = Field(description="Empty where the archive is off")


def _read(model: type[Model]) -> Model:
    names = {name: name.upper() for name in model.model_fields}
    return model.model_validate(
        {n: os.environ[env] for n, env in names.items() if env in os.environ}
    )


@cache
def config() -> Config:
    return _read(Config)


@cache
def relay_config() -> RelayConfig:
    return _read(RelayConfig)


@cache
def alerts_config() -> AlertsConfig:
    return _read(AlertsConfig)


@cache
def dispatch_config() -> DispatchConfig:
    return _read(DispatchConfig)


@cache
def notifications_config() -> NotificationsConfig:
    return _read(NotificationsConfig)


@cache
def links_config() -> LinksConfig:
    return _read(LinksConfig)


@cache
def registry_config() -> RegistryConfig:
    return _read(RegistryConfig)


@cache
def heal_config() -> HealConfig:
    return _read(HealConfig)


@cache
def ai_config() -> AiConfig:
    return _read(AiConfig)


@cache
def order_config() -> OrderConfig:
    return _read(OrderConfig)


@cache
def stream_config() -> StreamConfig:
    return _read(StreamConfig)


@cache
def jobs_config() -> JobsConfig:
    return _read(JobsConfig)


@cache
def archive_config() -> ArchiveConfig:
    return _read(ArchiveConfig)


def has_own_endpoint() -> bool:
    """Whether a local cloud stands in for AWS; botocore reads where from the same variable."""
    return bool(os.environ.get("AWS_ENDPOINT_URL"))
