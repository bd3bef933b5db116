"""``micrographia measure``: scale and numbers from pixels."""

from micrographia.cli.console import HERE, Lab, Quiet, at_work, say, with_lab


def measure(lab: Lab = HERE, quiet: Quiet = False) -> None:
    """Measure every micrograph that is not measured yet: grey, texture, direction, spots and lines.

    A number that the image cannot give is refused with the reason. `teach` measures first what is missing,
    so this verb is for those who want only the numbers.

    Example: micrographia measure --lab my-lab

    Next: micrographia teach --lab my-lab
    """
    from micrographia.measure import run

    with at_work(lab, quiet) as (workspace, progress):
        count = run.measure(workspace, progress)
    if not quiet:
        say(with_lab(f"micrographs measured: {count}; next: micrographia teach", lab))
