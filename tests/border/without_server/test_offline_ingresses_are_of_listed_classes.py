"""The suite of the same name, offline."""

from tests.border.test_ingresses_are_of_listed_classes import *  # noqa: F403
