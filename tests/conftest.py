"""Settings of the whole suite: one thread a process, and readable failures inside the shipped contracts."""

import pytest

pytest.register_assert_rewrite("unmoved.testing")
