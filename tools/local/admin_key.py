"""Make the first admin's key on a stack, and show how to use it.

    make admin-key [NAME= TENANT= ROLES= DAYS=]     the local stack
    python -m tools.local.admin_key [STACK]         a stack on AWS, by the credentials at hand (boto3)

TENANT   the one tenant that the key is for; without it, every tenant
ROLES    comma-separated, default admin
DAYS     after which it expires; without it, never
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.local.place import STACK, STACK_FILE


def wanted(given: dict[str, str]) -> dict[str, Any]:
    """The function's event, from settings as make hands them on."""
    event: dict[str, Any] = {}
    if given.get("NAME"):
        event["name"] = given["NAME"]
    if given.get("TENANT"):
        event["tenant_id"] = given["TENANT"]
    if given.get("ROLES"):
        event["roles"] = [role.strip() for role in given["ROLES"].split(",")]
    if given.get("DAYS"):
        event["expires_in_days"] = given["DAYS"]
    return event


def make(function: str, event: dict[str, Any]) -> dict[str, Any]:
    """The new key. Raises SystemExit with a sentence if the function refuses."""
    answer = boto3.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(event).encode()
    )
    made: dict[str, Any] = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        # pydantic's first lines name the field and what is wrong with it.
        reason = str(made.get("errorMessage", made)).replace("\n", " ")
        raise SystemExit(f"The stack made no key: {reason[:400]}")
    return made


def shown(made: dict[str, Any], api: str) -> str:
    key = made["key"]
    whose = key["tenant_id"] or "every tenant"
    until = key["expires_at"] or "it is revoked"
    return (
        f"\n  key      {made['secret']}\n"
        f"  id       {made['key_id']}\n"
        f"  may      {', '.join(key['roles'])} for {whose}, until {until}\n\n"
        "It is shown this once. To try it:\n\n"
        f"  curl -H 'X-Api-Key: {made['secret']}' {api}/identity/me\n"
    )


def main(arguments: list[str]) -> int:
    is_for_a_tool = arguments[:1] == ["--secret"]
    name = STACK if is_for_a_tool or not arguments else arguments[0]
    try:
        stack = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        outputs = {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}
        if "BootstrapFunction" not in outputs:
            raise SystemExit(
                f"The stack '{name}' is older than keys are; deploy it again (make up)"
            )
        made = make(outputs["BootstrapFunction"], wanted(dict(os.environ)))
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"The stack '{name}' does not answer ({error}); is it up?") from error
    if is_for_a_tool:
        print(made["secret"])
        return 0
    is_local = bool(os.environ.get("AWS_ENDPOINT_URL"))
    api = json.loads(STACK_FILE.read_text())["api_url"] if is_local else outputs["ApiUrl"]
    print(shown(made, api.rstrip("/")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
