"""Collect the commands of `miex`; what is slow to import is imported inside the commands."""

from miex.flows import (  # noqa: F401 - each registers its commands
    app_command,
    assessment_commands,
    au_commands,
    dataset_commands,
    experiment_commands,
    generator_commands,
    recognition_commands,
    reproduce_command,
    sharing_commands,
)
from miex.flows.command_line import app as app
