"""docs/security.md shows the matrix as it is tested."""

from tests.isolation import table


def test_the_matrix_in_the_docs_is_the_one_that_is_tested() -> None:
    assert table.current() == table.shown(), "run make isolation"


def test_the_shown_matrix_has_a_line_for_every_row() -> None:
    shown = table.shown()

    assert "| `GET /events/recent` | 401 | 403 | 403 | yes | yes | 403 | 403 |" in shown
    assert "| `GET /events/recent` | 200 | 403 |  | own |  |  | canary |" in shown
    assert "| `GET /jobs/{job_id}` | 200 | own |  | own | 404 | 404 |  |" in shown
