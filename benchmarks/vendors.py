"""Header scales of every vendor's files, against what their makers' own tags say.

    python -m benchmarks.vendors [--json] [--data FOLDER]

``read`` is how many files have a scale within 0.5 % of the expected one, ``wrong`` how many have another, or
one where none is to be had, ``missing`` how many have none and say why, ``silent`` how many have none and say
nothing. Expected values were read from the headers with a hex viewer. Of files that are not listed it is only
asked that the readings of one file agree.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import command
from micrographia.errors import UnreadableFile
from micrographia.micrographs.picture import open_picture
from micrographia.records import Scale

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "vendor"
TOLERANCE = 0.005
EXPECTED_NM: dict[str, tuple[float, float] | None] = {
    "1-2500_014.tif": (33.0729, 33.0729),
    "1-2k_031.tif": (33.0729, 33.0729),
    "1_1.tif": (36.4258, 36.4258),
    "FEI-Helios-Ebeam-16bits.tif": (3372.4, 3372.4),
    "FEI-Helios-Ebeam-8bits.tif": (3372.4, 3372.4),
    "FEI-Helios-navcam.tif": (263973.96, 263973.96),
    "FEI-Helios-navcam-with-no-IRBeam.tif": None,
    "FEI-Helios-navcam-with-no-IRBeam-bad-floats.tif": None,
    "dmTest_3D_int16_64,65,66.dm3": (0.002, 3.0),
    "dmTest_3D_int16_64,65,66.dm4": (0.002, 3.0),
    "dmTest_float32_nonSquare_diffPixelSize.dm3": (1.0, 0.2),
    "dmTest_float32_nonSquare_diffPixelSize.dm4": (1.0, 0.2),
    "Tescan_1.TIF": (4.537772, 4.537772),
    "Tescan_2.TIF": (242.0639, 242.0639),
    "Camera Ceta Imaging Micro.emd": (3.138837, 3.138837),
    "Camera Ceta Diffraction Micro.emd": None,
    "STEM HAADF Diffraction Micro.emd": (87.370796, 87.370796),
    "STEM HAADF-DF4-DF2-BF Diffraction Micro.emd": (87.370796, 87.370796),
    "temp.mrc": (0.2, 0.2),
    "Zeiss_1.tif": (5.860, 5.860),
    "Zeiss_2.tif": (293.1, 293.1),
    "x200": (496.0938, 496.0938),
    "x600": (165.3646, 165.3646),
}
"""Nanometres across and down by name, or a part of it; None where the header has no length."""


def verdict(name: str, scale: Scale, missing: tuple[str, ...]) -> str:
    """read, wrong, missing or silent."""
    listed = [size for part, size in EXPECTED_NM.items() if part in name]
    from_header = [r for r in scale.readings if r.source in ("vendor tag", "sidecar")]
    if not from_header:
        told = any(line.startswith("pixel size") for line in missing)
        return "wrong" if listed and listed[-1] else "missing" if told else "silent"
    if not listed:
        return "wrong" if scale.verdict == "conflict" else "read"
    truth = listed[-1]
    if truth is None:
        return "wrong"
    sides = [ratio for r in from_header for ratio in (r.pixel_size_nm / truth[0], r.height_nm / truth[1])]
    return "read" if all(abs(ratio - 1) <= TOLERANCE for ratio in sides) else "wrong"


def measure(folder: Path) -> dict[str, int | str]:
    """The verdicts, and their counts."""
    counts = dict.fromkeys(("read", "wrong", "missing", "silent"), 0)
    files: dict[str, str] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".txt"):
        try:
            picture = open_picture(path)
        except UnreadableFile as refusal:
            holds_a_scale = any(size for part, size in EXPECTED_NM.items() if part in path.name)
            found, words = "wrong" if holds_a_scale else "missing", [str(refusal)]
        else:
            found = verdict(path.name, picture.scale, picture.missing)
            readings = picture.scale.readings
            words = [f"{r.source} {r.pixel_size_nm:.6g} nm ({r.detail})" for r in readings]
            words += [line for line in picture.missing if not readings]
        counts[found] += 1
        files[path.name] = f"{found}: {'; '.join(words)}"
    return {
        **counts,
        "files": sum(counts.values()),
        **{f"file {name}": words for name, words in files.items()},
    }


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--data", type=Path, default=FOLDER, help="a folder of instrument files")
    options = parser.parse_args()
    command.show(measure(options.data), options.json)


if __name__ == "__main__":
    main()
