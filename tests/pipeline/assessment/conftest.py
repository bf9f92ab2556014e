"""Fixtures of generators whose mistakes are planted."""

from planted_generators import *  # noqa: F403
