"""The suite of the same name, offline."""

from tests.border.test_networks_open_what_is_listed import *  # noqa: F403
