"""The suite of the same name, offline."""

from tests.border.test_models_come_from_inside import *  # noqa: F403
