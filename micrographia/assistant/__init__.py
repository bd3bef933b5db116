"""A tuned student at work: it answers, names the class, and fills a table for a folder of images."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from micrographia.assistant.assistant import Assistant as Assistant


def __getattr__(name: str) -> Any:
    """``Assistant`` is loaded when it is first asked for: processes that only read files need no torch."""
    if name != "Assistant":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from micrographia.assistant.assistant import Assistant

    return Assistant
