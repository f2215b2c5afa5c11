"""Every hour: closed hours into the archive; what passed its retention removed and reported."""

from __future__ import annotations

from aetherlink.wiring import keeper as build_archive
from aetherlink.wiring import retention_keeper as build

archive, keeper = build_archive(), build()


def lambda_handler(event: dict[str, object], context: object) -> dict[str, int]:
    archived = archive.run()
    kept = keeper.run()
    return {"archived": archived.hours, "waiting": archived.waiting, "pruned": kept.pruned}
