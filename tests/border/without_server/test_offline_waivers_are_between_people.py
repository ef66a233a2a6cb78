"""The suite of the same name, offline."""

from tests.border.test_waivers_are_between_people import *  # noqa: F403
