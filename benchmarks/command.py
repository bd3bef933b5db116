"""What every benchmark's command line has: its text as help, ``--json``, and figures printed one way."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping


def parser(description: str | None) -> argparse.ArgumentParser:
    """With ``--json``; the script adds its own options."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", action="store_true", help="print one flat JSON object")
    return made


def show(figures: Mapping[str, float | int | str], as_json: bool) -> None:
    """On stdout."""
    if as_json:
        print(json.dumps(figures))
        return
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        print(f"{name:{width}}  {value}")
