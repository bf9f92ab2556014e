"""Collect the commands of `miex`; what is slow to import is imported inside the commands."""

from miex.flows import (  # noqa: F401 - each registers its commands
    assessment_commands,
    au_commands,
    dataset_commands,
    experiment_commands,
    recognition_commands,
    training_set,
)
from miex.flows.command_line import app as app
from miex.flows.command_line import examples
from miex.flows.generator_commands import train_generator

app.command(
    "train-generator",
    rich_help_panel="Generators",
    epilog=examples("miex train-generator training.parquet -o runs/gan --set batch=32"),
)(train_generator)
