"""The suite of the same name, offline."""

from tests.border.test_storage_is_of_listed_classes import *  # noqa: F403
