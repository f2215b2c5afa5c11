"""`make up`, `make down` and their like. Needs nothing but Python; installs the rest."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older one is told
    sys.exit(
        "AetherLink needs Python 3.11 or newer, and this is {}.{}. Name one: "
        "make up PYTHON=/path/to/python3".format(*sys.version_info[:2])
    )

from tools.local.commands import main

sys.exit(main(sys.argv[1:]))
