"""The matrix as docs/security.md shows it, between two marks; the rest of that page is written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.isolation.matrix import ACCESS, REACH, THEFTS, rows, thefts
from tools.local.place import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "security.md"
BEGIN = "<!-- matrix: written by `make isolation` from tests/isolation/matrix.py -->"
END = "<!-- end of the matrix -->"

_HEAD = """# Security

## Isolation

Every line below is a test (`tests/isolation`): on the handlers, and on the deployed stack with real keys.

"""


def current() -> str:
    """What stands between the marks of the page; "" if they are not there."""
    text = PAGE.read_text() if PAGE.exists() else ""
    return text.partition(BEGIN)[2].partition(END)[0].strip("\n")


def write() -> bool:
    """Put the matrix into the page; False if it was there already."""
    if current() == shown():
        return False
    text = PAGE.read_text() if PAGE.exists() else _HEAD
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{shown()}\n{END}{after}")
    return True


def shown() -> str:
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield f"**Who may.** {_prose(_ACCESS)}"
    yield from _table(ACCESS)
    yield ""
    yield f"**What a tenant gets of another one.** {_prose(_REACH)}"
    yield from _table(REACH)
    yield ""
    yield f"**What was stolen, or made up.** {_prose(_THEFTS)}"
    yield ""
    yield "| route | with | answer |"
    yield "|---|---|---|"
    for theft, line in zip(thefts(), THEFTS.strip().splitlines(), strict=True):
        yield f"| `{theft.route}` | {theft.what} | {line.split()[-1].replace('/', ' or ')} |"


def _table(table: str) -> Iterator[str]:
    found = rows(table)
    columns = list(found[0].cells)
    yield ""
    yield f"| route | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for row in found:
        cells = ("" if cell == "-" else cell.replace("/", " or ") for cell in row.cells.values())
        yield f"| `{row.name}` | {' | '.join(cells)} |"


def _prose(text: str) -> str:
    return " ".join(text.split())


_ACCESS = """`yes`: it is carried out. `nobody` shows no credential, `viewer` to `admin` are keys of one
tenant, `service` is a registration token for its own service, `stray` an admin's credential that names no
tenant. 404: it may ask, and has nothing there."""
_REACH = """By a caller of one tenant, in each role that may use the route. `own`: exactly what it gets of
its own tenant, the foreign name being ignored. `query`, `body` and `header` name the other tenant, `stolen`
uses the other's ids in the path, `guessed` ids that nobody has; the last column is the mark of its own that
an answer must hold. No answer holds a word of the other's, and nothing of the other's changes."""
_THEFTS = """Each by an admin of one tenant, with what belongs to another, or with a cursor whose seal it
has worked out itself."""
