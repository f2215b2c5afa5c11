"""Placeholder until the route lands."""
from typing import Any


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return {"statusCode": 200, "body": "{}", "headers": {"Content-Type": "application/json"}}
