"""Merging index strands: complete, in order, nothing twice, at whatever page size and limit."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from aetherlink.events.model import Entry, Filters
from aetherlink.events.timeline import MAX_EXAMINED, Merge, Reader
from aetherlink.kernel.tenancy import TenantId


def entry(number: int) -> Entry:
    kind = "wanted" if number % 7 == 0 else "other"
    return Entry(f"{number:06}", TenantId("acme"), str(number), "s", kind, "info")


def read(strand: list[int], below: str, limit: int) -> tuple[list[Entry], str | None]:
    """As an index answers: the newest `limit` below a position, and how far that reached."""
    found = [n for n in sorted(strand, reverse=True) if f"{n:06}" < below]
    page = found[:limit]
    more = len(found) > limit
    return [entry(n) for n in page], f"{page[-1]:06}" if more and page else None


def collect(strands: list[list[int]], filters: Filters, limit: int, page: int) -> list[int]:
    """All pages of `limit`, each from where the one before stopped."""
    found: list[int] = []
    top: str | None = "~"
    while top is not None:
        merge = Merge([partial(read, strand) for strand in strands], filters, top, page)
        taken = []
        for item in merge:
            taken.append(int(item.event_id))
            if len(taken) == limit:
                break
        found += taken
        top = merge.stopped_at
    return found


strands = st.lists(st.lists(st.integers(0, 3000), max_size=60), min_size=1, max_size=4)


@given(strands, st.integers(1, 20), st.integers(1, 30))
def test_pages_together_are_everything_newest_first_and_once(
    given_strands: list[list[int]], limit: int, page: int
) -> None:
    expected = sorted({n for strand in given_strands for n in strand}, reverse=True)

    assert collect(given_strands, Filters(), limit, page) == expected


@given(strands, st.integers(1, 20))
def test_a_filter_hides_the_rest_and_nothing_more(
    given_strands: list[list[int]], limit: int
) -> None:
    expected = sorted({n for s in given_strands for n in s if n % 7 == 0}, reverse=True)

    assert collect(given_strands, Filters(event_type="wanted"), limit, 10) == expected


def test_a_sparse_filter_examines_a_bounded_number_and_goes_on_later() -> None:
    strand = list(range(1, 5001, 2))
    merge = Merge([partial(read, strand)], Filters(event_type="none"), "~", 51)

    assert list(merge) == []
    assert merge.stopped_at == f"{strand[-MAX_EXAMINED]:06}"


def test_a_sparse_filter_still_finds_everything_over_the_pages() -> None:
    strand = list(range(1, 9000, 3))

    found = collect([strand, [4]], Filters(event_type="wanted"), 50, 51)

    assert found == [n for n in reversed(strand) if n % 7 == 0]


def test_a_call_gets_on_however_much_one_strand_gives_at_once() -> None:
    """A strand of pages may read a whole second, more than a call's budget: the others are read all
    the same, or the call would end where it began, and the next one too."""
    numbers = list(range(3 * MAX_EXAMINED))

    def whole(below: str, limit: int) -> tuple[list[Entry], str | None]:
        found = [entry(n) for n in numbers if entry(n).position < below]
        return sorted(found, key=lambda e: e.position, reverse=True), None

    readers: list[Reader] = [whole, partial(read, [1, 2, 3])]
    top, fits_none = "~", Filters(source="nobody")
    merge = Merge(readers, fits_none, top, 50)

    assert list(merge) == []
    assert merge.stopped_at is None or merge.stopped_at < top
