"""What the tests of commands share."""

from read_once import shipped_models_are_read_once  # noqa: F401
