"""Interface of generators: from a face and Action Units to an image of that face.

A new generator is one new file (or folder with a `generator.py`) here that registers a factory:

    @register_generator("name", Facts("how it renders"))
    def create_name(config: GeneratorConfig) -> FaceGenerator[State]: ...

Another installed package names such a factory in its entry points `miex.generators`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from miex.au_sources.action_units import AUArray
from miex.datasets.base import Face
from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.datasets.registry import Registry, modules_in
from miex.generators._auto import better_generator

State = TypeVar("State")

Condition: TypeAlias = Literal["absolute", "change"]


class GeneratorConfig(FrozenConfig):
    """Choice and options of a generator.

    The name `auto` is replaced by the better embedded generator when the config is made (the rule
    is in `miex.generators._auto`), so that a recorded config names the generator that rendered.
    """

    name: Annotated[
        str, Flag("generator", short="-g", choices=lambda: [*generator_names(), "auto"])
    ] = Field("auto", description="what renders the faces; auto takes the better embedded one")
    checkpoint: Annotated[Path | None, Flag()] = Field(
        None, description="weights of the generator: a file, or hf-hub:USER/NAME"
    )
    device: Annotated[str, Flag()] = Field(
        "auto", description="device: auto, cpu, cuda, cuda:1, ..."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto is bf16 if the device supports it in hardware"
    )
    compile: bool = Field(False, description="use torch.compile for the network")
    batch_size: int = Field(32, ge=1, le=4096)

    @model_validator(mode="before")
    @classmethod
    def _resolve_auto(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("name", "auto") != "auto":
            return values
        if values.get("checkpoint") is not None:
            raise ValueError(
                "generator 'auto' brings its own weights; name the generator that the checkpoint "
                f"{values['checkpoint']} belongs to"
            )
        return {**values, "name": better_generator()}


class FaceGenerator(Protocol[State]):
    """Interface of a generator.

    A frame depends only on its face and its AU vector, to the bit on one machine, and not on the
    other frames of the same call. Reproducible datasets require this.

    Attributes:
        name: The registered name.
        sha256: Hash of the weights, or None for a generator without weights.
        max_intensity: Largest intensity (0-5) with realistic results.
        condition: Meaning of the AUs of `render`. `absolute`: the intensities that the face shall
            have. `change`: the difference of each AU from the photograph; 0 is the photograph
            itself. `told` converts.

    A generator that knows where the pixels of a frame come from can also have a method
    ``render_with_motion``, with the arguments of `render`, that returns the frames and their motion
    from the photograph, ``float32 (N,)`` pixels (see `WarpGenerator.render_with_motion`). Otherwise
    the motion is measured by optical flow.

    It can also have an integer `revision`, 1 by default. It rises when the frames change
    without a change of the weights, so that a dataset is not continued with other frames.
    """

    @property
    def name(self) -> str:
        """See the class."""
        ...

    @property
    def sha256(self) -> str | None:
        """See the class."""
        ...

    @property
    def max_intensity(self) -> float:
        """See the class."""
        ...

    @property
    def condition(self) -> Condition:
        """See the class."""
        ...

    def prepare(self, face: Face) -> State:
        """Compute everything that depends only on the face, once for all its frames.

        Raises:
            ValueError: The generator does not support the size of the crop.
        """
        ...

    def render(self, states: Sequence[State], aus: AUArray) -> NDArray[np.uint8]:
        """Render one frame for each pair of a prepared face and an AU vector.

        Args:
            states: N prepared faces of one size S; a face may occur several times.
            aus: ``(N, 17)``, finite: FACS intensities 0 to 5, or their change, -5 to 5, as
                `condition` says.

        Returns:
            ``uint8 (N, S, S, 3)`` RGB.
        """
        ...


def told(generator: FaceGenerator[Any], aus: AUArray) -> AUArray:
    """Return the AUs with which a generator renders the frames of one sample.

    A generator of changes gets the difference of each AU from the onset, so that the photograph is
    the onset, independent of the AUs of the source there. Otherwise the AUs of the onset would be
    added to the expression of the photograph, and the sample would begin in motion.

    Args:
        generator: The generator.
        aus: ``(T, 17)``, FACS intensities 0 to 5 of the frames; the first is the onset.

    Returns:
        ``(T, 17)``, the intensities, or their difference to the onset.
    """
    if generator.condition == "absolute":
        return aus
    return np.asarray(aus - aus[0], np.float32)


def render_with_motion(
    generator: FaceGenerator[State], states: Sequence[State], aus: AUArray
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Render frames, and return their motion if the generator knows it, see `FaceGenerator`."""
    method = getattr(generator, "render_with_motion", None)
    if method is None:
        return generator.render(states, aus), None
    frames, motion = method(states, aus)
    return frames, motion


def revision_of(generator: FaceGenerator[Any]) -> int:
    """Return the revision of a generator's frames, see `FaceGenerator`."""
    return int(getattr(generator, "revision", 1))


Factory = Callable[[GeneratorConfig], FaceGenerator[Any]]


def _modules() -> dict[str, str]:
    here = Path(__file__).parent
    nested = {
        path.parent.name: f"miex.generators.{path.parent.name}.generator"
        for path in here.glob("*/generator.py")
    }
    return modules_in("miex.generators", here) | nested


_GENERATORS = Registry[Factory]("generator", _modules, "miex.generators")

register_generator = _GENERATORS.register
"""Register a factory under the name of its file (or folder)."""

generator_names = _GENERATORS.names
"""Return the names of all generators, also of those without weights."""

generator_places = _GENERATORS.places
"""Return the module or package of each generator, see `Registry.places`."""

generator_facts = _GENERATORS.facts
"""Return what is known about a generator before it is created, see `Registry.facts`."""


def create_generator(config: GeneratorConfig) -> FaceGenerator[Any]:
    """Create the generator that the config names.

    Raises:
        ValueError: There is no such generator.
        FileNotFoundError: It needs a checkpoint that does not exist; the message names sources.
    """
    return _GENERATORS.find(config.name)(config)
