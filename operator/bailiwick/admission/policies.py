"""Residency policies: every jurisdiction that they name means something, and who suffers from a change is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from bailiwick.admission.changes import effect_of
from bailiwick.admission.judgement import Judgement, refused
from bailiwick.api.residencypolicy import ResidencyPolicy

if TYPE_CHECKING:
    from bailiwick.admission.known import Known
    from bailiwick.admission.review import Review


async def check(review: Review, known: Known) -> Judgement:
    """Refuse names without meaning; warn of nodes, models and namespaces that a change leaves outside.

    What cannot be read may be corrected, and may go.
    """
    atlas = known.atlas()
    after = known.compiled(ResidencyPolicy.read(review.after), atlas) if review.after else None
    if after and after.problems:
        problem = after.problems[0]
        return refused(problem.reason, f"{after.by}: {problem.message}")
    try:
        before = known.compiled(ResidencyPolicy.read(review.before), atlas) if review.before else None
    except ValidationError:
        unread = f"policy {review.name} could not be read as it was, so nobody knows what it let in and kept out"
        return Judgement(warnings=(unread, *effect_of(None, after, known)))
    return Judgement(warnings=tuple(effect_of(before, after, known)))
