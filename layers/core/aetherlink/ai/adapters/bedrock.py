"""Amazon Bedrock's Converse, through boto3: AWS signs the call, and no key is kept.

The descriptor's `url`, the operator's own word, is its endpoint where it names one; no tenant's text
ever becomes one."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

from aetherlink.ai.model import Completion, ProviderError, Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_bedrock_runtime.client import BedrockRuntimeClient

    from aetherlink.ai.descriptor import Provider
    from aetherlink.ai.model import Prompt

# API Reference, Converse, "Errors".
_TROUBLES = {
    "AccessDeniedException": Trouble.UNAUTHORISED,
    "UnrecognizedClientException": Trouble.UNAUTHORISED,
    "ExpiredTokenException": Trouble.UNAUTHORISED,
    "ThrottlingException": Trouble.RATE_LIMITED,
    "ServiceQuotaExceededException": Trouble.QUOTA,
    "ModelTimeoutException": Trouble.TIMEOUT,
    "ModelErrorException": Trouble.SERVER_ERROR,
    "ModelNotReadyException": Trouble.SERVER_ERROR,
    "InternalServerException": Trouble.SERVER_ERROR,
    "ServiceUnavailableException": Trouble.SERVER_ERROR,
    "ResourceNotFoundException": Trouble.MISCONFIGURED,
    "ValidationException": Trouble.REJECTED,
}
_SERVER = 500


class Bedrock:
    def complete(self, provider: Provider, prompt: Prompt, *, seconds: float) -> Completion:
        client = _client(provider.region, provider.url, max(1, int(seconds)))
        try:
            answer: Any = client.converse(**request(provider, prompt))
        except (ConnectTimeoutError, ReadTimeoutError) as error:
            message = f"{provider.name} did not answer within {seconds:g} s"
            raise ProviderError(message, Trouble.TIMEOUT) from error
        except ClientError as error:
            raise _failure(provider.name, error.response) from error
        except BotoCoreError as error:
            message = f"{provider.name} could not be reached ({type(error).__name__})"
            raise ProviderError(message, Trouble.CONNECT) from error
        try:
            return parse(answer)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ProviderError(
                f"{provider.name} answered with something that is not its format",
                Trouble.BAD_ANSWER,
            ) from error


def request(provider: Provider, prompt: Prompt) -> dict[str, Any]:
    inference: dict[str, Any] = {"maxTokens": min(prompt.max_tokens, provider.max_tokens)}
    if provider.samples and prompt.temperature is not None:
        inference["temperature"] = prompt.temperature
    if provider.samples and prompt.top_p is not None:
        inference["topP"] = prompt.top_p
    if prompt.stop:
        inference["stopSequences"] = list(prompt.stop)
    sent: dict[str, Any] = {
        "modelId": provider.model,
        "messages": [{"role": str(t.by), "content": [{"text": t.text}]} for t in prompt.turns],
        "inferenceConfig": inference,
    }
    if prompt.system:
        sent["system"] = [{"text": prompt.system}]
    return sent


def parse(answer: Mapping[str, Any]) -> Completion:
    content = answer["output"]["message"]["content"]
    return Completion(
        text="".join(str(part["text"]) for part in content if "text" in part),
        input_tokens=int(answer["usage"]["inputTokens"]),
        output_tokens=int(answer["usage"]["outputTokens"]),
        is_cut=answer.get("stopReason") == "max_tokens",
    )


def _failure(name: str, response: Mapping[str, Any]) -> ProviderError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) or None
    found = _TROUBLES.get(code)
    if found is None:
        found = Trouble.SERVER_ERROR if (status or 0) >= _SERVER else Trouble.REJECTED
    return ProviderError(f"{name} answered {code or status}", found, status=status)


@cache
def _client(region: str, url: str, seconds: int) -> BedrockRuntimeClient:
    """One for each timeout: botocore fixes it when a client is made. Our own router tries again."""
    settings = BotoConfig(
        connect_timeout=seconds / 4,
        read_timeout=seconds * 3 / 4,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return boto3.client(
        "bedrock-runtime",
        region_name=region or None,
        endpoint_url=url or None,
        config=settings,
    )
