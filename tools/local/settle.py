"""After a deploy: what stock ministack drops from the template, set through the public API.

Also leaves `.local/stack.json`. Runs where boto3 is, against the endpoint in the environment.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tools.local import template
from tools.local.place import LOCAL, REGION, ROOT, STACK, STACK_FILE, STAGE


def resources() -> dict[str, str]:
    """Physical ids by logical id."""
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources")
    return {
        found["LogicalResourceId"]: found.get("PhysicalResourceId", "")
        for page in pages.paginate(StackName=STACK)
        for found in page["StackResourceSummaries"]
    }


def outputs() -> dict[str, str]:
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}


def exists() -> bool:
    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    except ClientError:
        return False
    return bool(found) and found[0]["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")


def remove() -> None:
    cloudformation = boto3.client("cloudformation")
    try:
        cloudformation.describe_stacks(StackName=STACK)
    except ClientError:
        return
    cloudformation.delete_stack(StackName=STACK)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 2, "MaxAttempts": 60}
    )


def set_ttl(physical: dict[str, str]) -> None:
    dynamodb = boto3.client("dynamodb")
    for name, properties in template.of_type("AWS::DynamoDB::Table"):
        wanted = properties.get("TimeToLiveSpecification")
        if not wanted:
            continue
        table = physical[name]
        now = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        if now.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
            dynamodb.update_time_to_live(
                TableName=table,
                TimeToLiveSpecification={
                    "Enabled": True,
                    "AttributeName": wanted["AttributeName"],
                },
            )


_SETTLED = ("responseTemplates", "responseParameters")


def set_gateway_responses(api_id: str) -> None:
    """SAM puts these into the API's body, which the emulator does not read them from."""
    gateway = boto3.client("apigateway")
    given = next(iter(template.of_type("AWS::Serverless::Api")))[1].get("GatewayResponses", {})
    changed = False
    for kind, wanted in given.items():
        now = gateway.get_gateway_response(restApiId=api_id, responseType=kind)
        request: dict[str, Any] = {
            "restApiId": api_id,
            "responseType": kind,
            "responseTemplates": wanted.get("ResponseTemplates", {}),
            "responseParameters": {
                f"gatewayresponse.header.{name}": value
                for name, value in wanted.get("ResponseParameters", {}).get("Headers", {}).items()
            },
        }
        if all(now.get(part) == request[part] for part in _SETTLED):
            continue
        if "StatusCode" in wanted:
            request["statusCode"] = str(wanted["StatusCode"])
        gateway.put_gateway_response(**request)
        changed = True
    if changed:
        gateway.create_deployment(restApiId=api_id, stageName=STAGE)


def set_public_url() -> None:
    """Links in messages lead to this cloud's API; the template's value is AWS's."""
    found = outputs()
    ssm, name = boto3.client("ssm"), found["ApiUrlParameterName"]
    if ssm.get_parameter(Name=name)["Parameter"]["Value"] != _api_url(found):
        ssm.put_parameter(Name=name, Value=_api_url(found), Type="String", Overwrite=True)


def set_provider_keys() -> None:
    """Keys for the providers that `python -m tools.mock_ai` plays, which takes any. One that somebody put
    there stays."""
    with suppress(ClientError):
        name = f"/{STACK}/ai/claude"
        boto3.client("ssm").put_parameter(Name=name, Value="local-claude", Type="SecureString")
    with suppress(ClientError):
        secrets = boto3.client("secretsmanager")
        secrets.create_secret(Name=f"{STACK}/ai/openai", SecretString="local-openai")


def _api_url(found: dict[str, str]) -> str:
    return f"{os.environ['AWS_ENDPOINT_URL']}/restapis/{found['ApiId']}/{STAGE}/_user_request_"


def write(pid: str, cloud: str, webhooks: str, auth_mode: str, provider_urls: str) -> None:
    found = outputs()
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    api = _api_url(found)
    described = {
        "api_url": api,
        "console_url": f"{api}/console/",
        "endpoint_url": endpoint,
        "stack": STACK,
        "stage": STAGE,
        "region": REGION,
        "pid": int(pid) if pid else None,
        "cloud": cloud,
        "auth_mode": auth_mode,
        "version": _version(),
        "alert_webhooks": [url for url in webhooks.split(",") if url],
        "provider_urls": provider_urls,
        "outputs": found,
    }
    LOCAL.mkdir(exist_ok=True)
    draft = STACK_FILE.with_suffix(".tmp")
    draft.write_text(json.dumps(described, indent=2) + "\n")
    draft.replace(STACK_FILE)


def _version() -> str:
    text = (ROOT / "layers" / "core" / "aetherlink" / "__init__.py").read_text()
    return text.partition('__version__ = "')[2].partition('"')[0]


def main(arguments: list[str]) -> int:
    if arguments == ["--exists"]:
        return 0 if exists() else 1
    if arguments == ["--remove"]:
        remove()
        return 0
    physical = resources()
    set_ttl(physical)
    try:
        set_gateway_responses(physical["Api"])
    except ClientError as error:
        # Cosmetic on an emulator: the fallback route answers nearly everything before the gateway.
        print(f"gateway responses were not set: {error}")
    set_public_url()
    set_provider_keys()
    write(*arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
