"""Choose the form of input of a recognizer if clips are published as flow images."""

from collections.abc import Mapping, Sequence
from typing import Any

from miex.datasets.clips.base import gives_flow, open_clips
from miex.pipeline.recognition.recognizers.base import recognizer_class, recognizer_names


def with_input_form(
    recognizer: str, config: Mapping[str, Any], databases: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the parameters of a recognizer with a definite form of input, to be recorded.

    Args:
        recognizer: Its name.
        config: Parameters that differ from its own.
        databases: Databases of real clips, ``NAME:PATH``.

    Returns:
        The parameters; for a recognizer of whole-face flow ``auto`` becomes ``published`` if a
        database has flow images, else ``face``. With ``published`` the training for that form is
        used, unless ``training`` is given.

    Raises:
        ValueError: A database has flow images, and the recognizer needs another input.
        FileNotFoundError: There is no such database.
    """
    found = recognizer_class(recognizer)
    as_flow = [text for text in databases if gives_flow(open_clips(text))]
    if not found.takes_flow_images:
        if as_flow:
            raise ValueError(
                f"{as_flow[0]} holds optical flow of whole faces and no frames, and {recognizer}"
                f" needs another input; recognizers that accept it:"
                f" {', '.join(takers_of_flow())}. Or open the databases themselves (megc2019)"
            )
        return dict(config)
    form = config.get("form", "auto")
    if form == "face" and as_flow:
        raise ValueError(
            f"{as_flow[0]} holds finished flow images, of which form=face cannot be made; leave"
            " config.form out, or set it to published"
        )
    if form == "auto":
        form = "published" if as_flow else "face"
    return with_form_training(recognizer, {**config, "form": form})


def with_form_training(recognizer: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the default training of their form.

    Args:
        recognizer: Name of the recognizer.
        config: Its parameters. With the form ``published`` the training for that form is added,
            unless ``training`` is given.
    """
    settled = dict(config)
    if config.get("form") == "published" and "training" not in config:
        for stage in ("training", "pre_training"):
            own = getattr(recognizer_class(recognizer).Config, f"published_{stage}", None)
            if own is not None:
                settled.setdefault(stage, own.model_dump())
    return settled


def takers_of_flow() -> list[str]:
    """Return the names of the recognizers that accept clips published as flow images."""
    return [name for name in recognizer_names() if recognizer_class(name).takes_flow_images]
