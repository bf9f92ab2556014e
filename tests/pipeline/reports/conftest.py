"""Fixtures of toy samples for recognizers, and of reports in a browser."""

from report_pages import *  # noqa: F403
from toy_recognition import *  # noqa: F403
