"""All checks of `bailiwick doctor`, in the order in which they are told. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.cli.live.fitness.exempt import exempt
from bailiwick.cli.live.fitness.findings import Fitness
from bailiwick.cli.live.fitness.grants import grants
from bailiwick.cli.live.fitness.installed import installed
from bailiwick.cli.live.fitness.kubelets import kubelets
from bailiwick.cli.live.fitness.network import network
from bailiwick.cli.live.fitness.server import kinds, server

if TYPE_CHECKING:
    from collections.abc import Collection

    from bailiwick.cli.live.fitness.seen import Seen


def judge(seen: Seen, trusted: Collection[str] = ()) -> Fitness:
    """Everything there is to say. ``trusted`` are subjects, as the API server calls them, whose rights are meant."""
    return Fitness.of(
        (
            *server(seen), *kubelets(seen), *network(seen), *grants(seen, trusted), *exempt(seen), *kinds(seen),
            *installed(seen),
        )
    )  # fmt: skip
