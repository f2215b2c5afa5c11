"""What the template refuses before anything is deployed."""

from __future__ import annotations

from typing import Any

import pytest

from tools.local import template

RULES: dict[str, Any] = template.load()["Rules"]


@pytest.mark.parametrize(
    ("rule", "condition", "wanted"),
    [
        ("DevModeIsLocal", ("AuthMode", "dev"), ("Stage", "local")),
        ("TokensNeedAnAudience", ("OidcIssuer", ""), ("OidcAudience", "")),
    ],
)
def test_a_rule_stands_between_a_parameter_and_a_deploy(
    rule: str, condition: tuple[str, str], wanted: tuple[str, str]
) -> None:
    given = RULES[rule]

    assert all(word in str(given["RuleCondition"]) for word in condition)
    assert all(word in str(given["Assertions"][0]["Assert"]) for word in wanted)
    assert given["Assertions"][0]["AssertDescription"].endswith(".")


def test_no_algorithm_with_a_shared_secret_can_be_configured() -> None:
    pattern = template.load()["Parameters"]["OidcAlgorithms"]["AllowedPattern"]

    assert "HS" not in pattern
    assert "none" not in pattern
