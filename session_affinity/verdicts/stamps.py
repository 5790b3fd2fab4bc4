"""How many stamps the entry of a client's recent list has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StampRange:
    """The stamps after a number of connections: one each, and perhaps one more for a first packet sent again."""

    least: int
    most: int

    @classmethod
    def of(cls, connections: int, sent_again: int, max_stamps: int) -> StampRange:
        """Return the range in an entry that keeps the last ``max_stamps``."""
        return cls(min(connections, max_stamps), min(connections + sent_again, max_stamps))

    def __contains__(self, stamps: int) -> bool:
        return self.least <= stamps <= self.most

    def __str__(self) -> str:
        return f"{self.least} stamps" if self.least == self.most else f"{self.least} to {self.most} stamps"
