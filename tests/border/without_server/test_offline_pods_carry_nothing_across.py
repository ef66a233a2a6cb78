"""The suite of the same name, offline."""

from tests.border.test_pods_carry_nothing_across import *  # noqa: F403

del test_a_volume_is_of_one_kind  # noqa: F821 - the API server's own validation sees to it, no policy
