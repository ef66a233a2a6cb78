"""The suite of the same name, offline."""

import pytest

from tests.border.test_pods_stay_inside import *  # noqa: F403


@pytest.fixture
def fallen() -> None:  # type: ignore[no-redef]
    pytest.skip("a pod falls out of a territory in a cluster alone")
