"""Fixtures of toy samples for recognizers."""

from toy_recognition import *  # noqa: F403
