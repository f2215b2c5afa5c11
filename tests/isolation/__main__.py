"""`make isolation`: write the matrix into docs/security.md."""

from tests.isolation import table

print("docs/security.md is written" if table.write() else "docs/security.md has it already")
