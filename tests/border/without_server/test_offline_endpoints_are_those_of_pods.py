"""The suite of the same name, offline."""

from tests.border.test_endpoints_are_those_of_pods import *  # noqa: F403
