"""The suite of the same name, offline."""

from tests.border.test_propagation_is_refused import *  # noqa: F403
