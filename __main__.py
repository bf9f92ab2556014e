"""Run the command line: ``python -m miex`` is the command ``miex``."""

from miex.flows.cli import app

if __name__ == "__main__":
    app(prog_name="miex")
