"""Residency policies: every jurisdiction that they name means something, and who suffers from a change is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.admission.changes import effect_of
from bailiwick.admission.judgement import Judgement, refused
from bailiwick.api.residencypolicy import ResidencyPolicy

if TYPE_CHECKING:
    from bailiwick.admission.known import Known
    from bailiwick.admission.review import Review


async def check(review: Review, known: Known) -> Judgement:
    """Refuse names without meaning; warn of nodes, models and namespaces that a change leaves outside."""
    atlas = known.atlas()
    before, after = (
        known.compiled(ResidencyPolicy.read(raw), atlas) if raw else None for raw in (review.before, review.after)
    )
    if after and after.problems:
        problem = after.problems[0]
        return refused(problem.reason, f"{after.by}: {problem.message}")
    return Judgement(warnings=tuple(effect_of(before, after, known)))
