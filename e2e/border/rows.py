"""The ways around a border that a naive operator draws, each as somebody would try it, with its compliant variant.

The numbers are those of the catalogue in docs/border.md. ``attempts`` must be refused by the named policy with the
named reason; ``controls`` are the same deeds done properly, and must pass: nothing is refused for the wrong reason.
"""

from e2e.border.attempts import Row
from e2e.border.rows_of_paths import paths
from e2e.border.rows_of_placement import facts, placement
from e2e.border.rows_of_rights import rights


def rows() -> tuple[Row, ...]:
    """All rows that one request can decide, by number."""
    return tuple(sorted((*placement(), *facts(), *paths(), *rights()), key=lambda row: row.number))
