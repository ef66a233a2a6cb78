"""The suite of the same name, offline."""

from tests.border.test_services_stay_inside import *  # noqa: F403
