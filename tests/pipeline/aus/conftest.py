"""Fixtures of generators with known errors."""

from planted_generators import *  # noqa: F403
