"""How the catalogue grew, one file a step."""
