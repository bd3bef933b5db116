"""What the whole house is measured by: a script for each figure, to be run with ``python -m``."""
