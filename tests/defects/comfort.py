"""Which defects the claims about behaviour notice by themselves: what docs/claims.md says of it is kept here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.defects.defect import Defect
    from tests.defects.judged import Judged

FILE = Path(__file__).with_name("behaviour.json")


@dataclass(frozen=True)
class Comfort:
    """Keeps a row a defect, in the order of the catalogue; rows of defects that are no more are dropped."""

    defects: Sequence[Defect]
    file: Path = FILE

    def record(self, defect: Defect, judged: Judged) -> None:
        """Keep what came of a defect in place of what is known of it."""
        row = {
            "defect": defect.name,
            "cluster": str(defect.shape),
            "found by": list(defect.fails),
            "noticed by": list(judged.failed),
            "could not tell": list(judged.broken),
        }
        rows = {one["defect"]: one for one in self.rows()} | {defect.name: row}
        kept = [rows[one.name] for one in self.defects if one.name in rows]
        self.file.write_text(json.dumps(kept, indent=1) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Return what is kept."""
        found: list[dict[str, Any]] = json.loads(self.file.read_text()) if self.file.exists() else []
        return found
