"""`python -m tools.corpus [--faults]`: the table of docs/ai.md, and with --faults what was got wrong."""

from __future__ import annotations

import sys

from tools.corpus.scoring import faults, load, score, table


def main() -> None:
    corpus = load()
    if "--faults" in sys.argv[1:]:
        for fault in faults(corpus):
            print(fault)
    print(table(score(corpus), score([entry for entry in corpus if entry["kind"] == "hard"])))


main()
