"""The suite of the same name, offline."""

from tests.border.test_claims_are_for_devices_inside import *  # noqa: F403
