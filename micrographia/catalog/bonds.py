"""What is bound together at one or more removes: the connected components of pairs."""

from __future__ import annotations

from collections.abc import Iterable


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Connected components of the pairs, each named by its smallest member."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for one, other in pairs:
        low, high = sorted((find(one), find(other)))
        root[high] = low
    return {name: find(name) for name in sorted(root)}
