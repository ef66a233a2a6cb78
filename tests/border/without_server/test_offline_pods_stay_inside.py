"""The suite of the same name, offline."""

import pytest

from tests.border.test_pods_stay_inside import *  # noqa: F403


@pytest.fixture(name="fallen")
def nobody_has_fallen() -> None:
    pytest.skip("a pod falls out of a territory in a cluster alone")
