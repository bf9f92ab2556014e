"""Say how an extra of miex is installed."""


def how_to_install(extra: str) -> str:
    """Return how to install an extra, for messages: ``install the extra app: pip install ...``.

    The name stands twice: `prefect deployment run --watch` takes ``[app]`` for markup and drops it.

    Args:
        extra: Extra of miex, as in ``pyproject.toml``.
    """
    return f"install the extra {extra}: pip install 'miex[{extra}]'"
