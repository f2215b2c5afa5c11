"""Structured logs: one logger per function, one JSON line per request, never a secret."""

from __future__ import annotations

from aws_lambda_powertools import Logger

# Powertools reads the level and service name from the environment that the template sets.
logger = Logger(service="aetherlink", log_uncaught_exceptions=False, utc=True)
