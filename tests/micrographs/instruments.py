"""Instrument files as makers write them, drawn with any header; only what readers look at is in them."""

import io
import json
import struct

import h5py
import numpy as np
import tifffile

IMAGE = (np.arange(48 * 64).reshape(48, 64) % 251).astype(np.uint8)
"""(48, 64)."""


def tiff(*tags, image=IMAGE, **options):
    """``tags`` are (number, text or bytes)."""
    held = io.BytesIO()
    extra = [
        (number, "s", 0, value, True) if isinstance(value, str) else (number, 1, len(value), value, True)
        for number, value in tags
    ]
    tifffile.imwrite(held, image, extratags=extra, metadata=None, **options)
    return held.getvalue()


FEI = {
    "[Beam] Beam": "EBeam",
    "[Beam] Scan": "EScan",
    "[System] SystemType": "Quanta 450",
    "[EBeam] HV": "10000",
    "[EBeam] HFW": "6.4e-05",
    "[EBeam] WD": "0.0049",
    "[Scan] PixelWidth": "1e-06",
    "[Scan] PixelHeight": "1e-06",
    "[Stage] StageX": "0.001",
    "[Stage] StageY": "-0.002",
    "[Stage] StageZ": "0.02",
    "[Stage] StageR": "1.5707963",
    "[Stage] StageT": "0",
    "[Image] ResolutionX": "64",
    "[Image] ResolutionY": "44",
    "[Image] MagCanvasRealWidth": "0.128",
    "[Detectors] Name": "ETD",
    "[PrivateFei] TimeOfCreation": "13.06.2016 17:06:40",
    "[PrivateFei] DatabarHeight": "4",
}


def fei_text(changes=None):
    """INI text; a change to None takes a line away."""
    lines = {**FEI, **(changes or {})}
    sections = {}
    for name, value in lines.items():
        if value is not None:
            section, key = name[1:].split("] ")
            sections.setdefault(section, []).append(f"{key}={value}")
    return "\r\n".join(f"[{s}]\r\n" + "\r\n".join(keys) for s, keys in sections.items()) + "\r\n"


def as_fei(drawn, path, pixel_nm=None):
    """A phantom with its databar as an FEI file, whose header tells ``pixel_nm``."""
    metres = (pixel_nm or drawn.pixel_size_nm) * 1e-9
    columns = drawn.image.shape[1]
    text = fei_text(
        {
            "[Scan] PixelWidth": f"{metres:.6e}",
            "[Scan] PixelHeight": f"{metres:.6e}",
            "[EBeam] HFW": f"{metres * columns:.6e}",
            "[Image] ResolutionX": str(columns),
            "[Image] ResolutionY": str(drawn.databar.top),
        }
    )
    path.write_bytes(tiff((34682, text), image=drawn.image))
    return path


ZEISS = {
    "DP_DETECTOR_CHANNEL": "Signal A = SE2",
    "DP_IMAGE_STORE": "Store resolution = 64 * 48",
    "DP_SEM": "Sem = Sigma 300",
    "AP_WD": "WD =  2.8 mm",
    "AP_MAG": "Mag =  50.00 K X",
    "AP_ACTUALKV": "EHT =  5.00 kV",
    "AP_MANUALKV": "EHT Target =  9.00 kV",
    "AP_PIXEL_SIZE": "Pixel Size = 11.72 nm",
    "AP_IMAGE_PIXEL_SIZE": "Image Pixel Size = 5.860 nm",
    "AP_STAGE_AT_X": "Stage at X = 34.159 mm",
    "AP_STAGE_AT_Y": "Stage at Y = 12.753 mm",
    "AP_STAGE_AT_Z": "Stage at Z = 41.537 mm",
    "AP_STAGE_AT_R": "Stage at R =  15.8 °",
    "AP_STAGE_AT_T": "Stage at T =   0.0 °",
    "AP_DATE": "Date :16 Jan 2019",
    "AP_TIME": "Time :18:02:26",
}


def zeiss_bytes(changes=None, display_pixel_m="3.662500e-010"):
    """The unnamed numbers, of which the fourth is the display's pixel, then pairs of lines in Latin-1."""
    unnamed = ["0", "0", "0", display_pixel_m, "4.999872e+004", "6"]
    lines = {**ZEISS, **(changes or {})}
    pairs = [line for name, words in lines.items() if words is not None for line in (name, words)]
    return "\r\n".join([*unnamed, *pairs, ""]).encode("latin-1")


TESCAN = """AccFrames=2
Date=2023-03-24
Device=TESCAN AMBER
ImageStripSize=4
Magnification=59999.85
PixelSizeX=0.000000004537772
PixelSizeY=0.000000004537772
Time=08:08:25

Detector=E-T
HV=1000.0
StageRotation=30.001
StageTilt=0.001
StageX=0.00000145
StageY=-0.013496649
StageZ=0.003000001
WD=0.003847444
"""


def tescan_bytes(text=TESCAN):
    """Among bytes of other things, as in the file."""
    return (
        struct.pack("<II", 6863, 1)
        + b"\0\0\0\x0cjP  \r\n\x87\n"
        + bytes(range(200, 256))
        + text.encode()
        + b"\0"
    )


HITACHI = """[SemImageFile]
InstructName=SU8000
Date=2021/06/23
Time=16:38:33
DataSize=64x48
PixelSize=496.0938
SignalName=SE(U)
AcceleratingVoltage=15000 Volt
Magnification=200
WorkingDistance=7706.35 um
StagePositionX=17500000
StagePositionY=17500000
StagePositionZ=0
StagePositionR=12.5
StagePositionT=0.000
"""
JEOL = """$CM_FORMAT JEOL/EO
$CM_INSTRUMENT JSM-7100F
$CM_ACCEL_VOLT 15.00
$CM_MAG 10000
$CM_SIGNAL SEI
$CM_DATE 2018/11/07
$CM_TIME 12:01:33
$CM_FULL_SIZE 64 48
$CM_STAGE_POS 10.5 -2.0 10.0 90.0 0.0 0
$$SM_MICRON_BAR 117
$$SM_MICRON_MARKER 1um
$$SM_WD 8.0
"""


def dm(version=3, dims=(64, 48), scales=((2.0, "nm"), (2.0, "nm")), data_type=6, values=None, tags=None):
    """A DigitalMicrograph file with a thumbnail and one image; ``tags`` are below ImageTags."""
    count = ">q" if version == 4 else ">i"
    kinds = {1: ("<i2", 2), 2: ("<f4", 6), 6: ("u1", 8), 10: ("<u2", 4), 23: ("u1", 3), 3: ("<c8", 6)}
    dtype, kind = kinds[data_type]
    n_values = int(np.prod(dims)) * (2 if data_type == 3 else 1)
    values = np.arange(n_values) % 200 if values is None else values
    raw = values.astype("<f4" if data_type == 3 else dtype).tobytes()

    def group(entries):
        body = struct.pack(">bb", 1, 0) + struct.pack(count, len(entries))
        return body + b"".join(entry(name, value) for name, value in entries)

    def entry(name, value):
        label = name.encode("latin-1")
        if isinstance(value, list):
            code, content = 20, group(value)
        else:
            code, content = 21, leaf(value)
        length = struct.pack(">q", len(content)) if version == 4 else b""
        return struct.pack(">bH", code, len(label)) + label + length + content

    def leaf(value):
        if isinstance(value, tuple):  # (type, bytes, count)
            info, content = [20, value[0], value[2]], value[1]
        elif isinstance(value, str):
            info, content = [20, 4, len(value)], value.encode("utf-16-le")
        elif isinstance(value, float):
            info, content = [7], struct.pack("<d", value)
        else:
            info, content = [5], struct.pack("<I", value)
        return (
            b"%%%%" + struct.pack(count, len(info)) + b"".join(struct.pack(count, i) for i in info) + content
        )

    def image(sizes, calibrations, number, content, code, n):
        dimension = [("", [("Scale", s), ("Origin", 0.0), ("Units", u)]) for s, u in calibrations]
        data = [
            ("Calibrations", [("Dimension", dimension)]),
            ("Data", (code, content, n)),
            ("DataType", number),
            ("Dimensions", [("", size) for size in sizes]),
        ]
        return [("ImageData", data), ("ImageTags", tags or [])]

    thumbnail = image((4, 4), [(1.0, ""), (1.0, "")], 23, bytes(64), 3, 16)
    picture = image(dims, scales, data_type, raw, kind, n_values)
    root = group(
        [("ImageList", [("", thumbnail), ("", picture)]), ("Thumbnails", [("", [("ImageIndex", 0)])])]
    )
    return struct.pack(">i", version) + struct.pack(count, len(root)) + struct.pack(">i", 1) + root


def velox(pixel_m="2e-9", unit="m", offset=None, frames=1, detectors=("HAADF",), side=32):
    """An .emd of Velox with an image for each detector."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        for number, detector in enumerate(detectors):
            told = {
                "BinaryResult": {
                    "PixelSize": {"width": pixel_m, "height": pixel_m},
                    "PixelUnitX": unit,
                    "PixelUnitY": unit,
                    "Detector": detector,
                    "Offset": {"x": str(-float(pixel_m) * side / 2) if offset is None else offset, "y": "0"},
                },
                "Optics": {"AccelerationVoltage": "300000", "OperatingMode": "2"},
                "Instrument": {"Manufacturer": "FEI Company", "InstrumentModel": "Titan"},
                "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1596041325"}},
                "Stage": {"Position": {"x": "1e-3", "y": "0", "z": "0"}, "AlphaTilt": "0.1"},
                "CustomProperties": {"StemMagnification": {"type": "double", "value": "7100"}},
            }
            raw = np.frombuffer(json.dumps(told).encode().ljust(4000, b"\0"), np.uint8)
            group = file.create_group(f"Data/Image/{number:032x}")
            values = np.arange(side * side * frames, dtype=np.uint16).reshape(side, side, frames)
            group["Data"] = values
            group["Metadata"] = np.repeat(raw[:, None], frames, 1)
    return held.getvalue()


def berkeley(step=0.5, units="[n_m]", side=16):
    """An .emd after the EMD 0.2 specification."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        group = file.create_group("data/picture")
        group.attrs["emd_group_type"] = 1
        group["data"] = np.arange(side * side, dtype=np.float32).reshape(side, side)
        for number in (1, 2):
            group[f"dim{number}"] = step * np.arange(side)
            group[f"dim{number}"].attrs["units"] = np.bytes_(units)
    return held.getvalue()


def ser(step_m=2e-10, version=0x0210, kind=0x4122, elements=1, shape=(24, 32)):
    """A TIA series; rows are stored from the bottom."""
    image = np.arange(shape[0] * shape[1], dtype="<u2").reshape(shape)
    wide = version >= 0x0220
    header = struct.pack("<HHHiiii", 0x4949, 0x0197, version, kind, 0x4152, elements, elements)
    listed_at = len(header) + (8 if wide else 4) + 4
    header += struct.pack("<q" if wide else "<i", listed_at) + struct.pack("<i", 1)
    start = listed_at + (8 if wide else 4)
    header += struct.pack("<q" if wide else "<i", start)
    element = struct.pack("<ddiddihii", 0, step_m, 0, 0, step_m, 0, 2, shape[1], shape[0])
    return header + element + image[::-1].tobytes()


def mrc(cell=(64.0, 48.0), grid=(32, 24), planes=1, mode=1, stamp=b"DA\0\0", word=b"MAP "):
    """An MRC2014 file of ``grid`` columns and rows."""
    columns, rows = grid
    head = bytearray(1024)
    struct.pack_into("<10i", head, 0, columns, rows, planes, mode, 0, 0, 0, columns, rows, planes)
    struct.pack_into("<6f", head, 40, cell[0], cell[1], 1.0, 90, 90, 90)
    head[208:212], head[212:216] = word, stamp
    dtype = {0: "i1", 1: "<i2", 2: "<f4", 6: "<u2"}[mode]
    image = (np.arange(rows * columns).reshape(rows, columns) % 100).astype(dtype)
    return bytes(head) + b"".join([image[::-1].tobytes()] * planes)
