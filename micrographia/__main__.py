"""``python -m micrographia``: the command line, for launchers that start modules."""

from micrographia.cli import app

app()
