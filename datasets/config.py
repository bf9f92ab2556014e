"""What every configuration is built on: frozen models, and their errors in one line."""

from pydantic import BaseModel, ConfigDict, ValidationError


class FrozenConfig(BaseModel):
    """Base of every configuration: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def explain(error: ValidationError) -> str:
    """Return a pydantic error as one line: each field, what is wrong, and what was given."""
    lines = []
    for part in error.errors():
        text = part["msg"].removeprefix("Value error, ")
        if part["type"] in ("extra_forbidden", "invalid_key"):
            text = "there is no such field"
        elif not isinstance(part["input"], dict):  # a whole config would hide the message
            text += f" (given: {part['input']!r})"
        lines.append(f"{'.'.join(map(str, part['loc'])) or 'config'}: {text}")
    return "; ".join(lines)
