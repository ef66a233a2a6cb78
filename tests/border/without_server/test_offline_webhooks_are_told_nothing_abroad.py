"""The suite of the same name, offline."""

from tests.border.test_webhooks_are_told_nothing_abroad import *  # noqa: F403
