"""Which defects claims about behaviour notice: kept in behaviour.json, from which docs/claims.md is made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.defects.defect import Defect
    from tests.defects.run_outcome import RunOutcome

FILE = Path(__file__).with_name("behaviour.json")


@dataclass(frozen=True)
class BehaviourTable:
    """A file with a row for each defect, in the order of the catalogue; rows of former defects are dropped."""

    defects: Sequence[Defect]
    file: Path = FILE

    def record(self, defect: Defect, run: RunOutcome) -> None:
        """Write the row of a defect, in place of its former one."""
        row = {
            "defect": defect.name,
            "cluster": str(defect.shape),
            "found by": list(defect.fails),
            "noticed by": list(run.failed),
            "could not tell": list(run.undetermined),
        }
        rows = {former["defect"]: former for former in self.rows()} | {defect.name: row}
        current = [rows[listed.name] for listed in self.defects if listed.name in rows]
        self.file.write_text(json.dumps(current, indent=1) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the file; none if there is no file."""
        rows: list[dict[str, Any]] = json.loads(self.file.read_text()) if self.file.exists() else []
        return rows
