"""What each maker's header gives, on drawn files, and that none gives a scale it cannot answer for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.errors import UnsupportedFormat
from micrographia.micrographs.read import decode
from micrographia.micrographs.vendors import is_sidecar, read_header, read_sidecar, sidecar_names
from micrographia.records import Quantity, Scale
from tests.micrographs import instruments as made


def header_of(data):
    return read_header(data, decode(data).header)


def missed(reading, what):
    """The reason why ``what`` is missing."""
    return next((line for line in reading.missing if line.startswith(f"{what}:")), None)


def fei(changes=None, tag=34682, image=made.IMAGE):
    return header_of(made.tiff((tag, made.fei_text(changes)), image=image))


def zeiss(changes=None, image=made.IMAGE, **options):
    return header_of(made.tiff((34118, made.zeiss_bytes(changes, **options)), image=image))


class TestFei:
    @pytest.mark.parametrize("tag", [34682, 34680])
    def test_everything_that_is_there_is_read(self, tag):
        found = fei(tag=tag)
        (reading,) = found.readings
        assert (reading.source, reading.pixel_size_nm, reading.pixel_height_nm) == (
            "vendor tag",
            1000.0,
            None,
        )
        told = found.instrument
        assert (told.technique, told.model, told.detector) == ("SEM", "Quanta 450", "ETD")
        assert told.accelerating_voltage == Quantity(value=10, unit="kV")
        assert told.working_distance == Quantity(value=4.9, unit="mm")
        assert told.magnification == 2000  # 0.128 m of screen over 64 µm of field
        assert told.taken == "2016-06-13T17:06:40"
        assert told.stage.x == Quantity(value=1, unit="mm")
        assert told.stage.rotation.value == pytest.approx(90)
        assert (found.databar_rows, found.missing) == (4, ())
        assert found.tags["[Scan] PixelWidth"] == "1e-06"

    def test_a_camera_that_scans_nothing_has_its_field_width(self):
        found = fei(
            {
                "[Beam] Beam": "IRBeam",
                "[Beam] Scan": None,
                "[Scan] PixelWidth": None,
                "[Scan] PixelHeight": None,
                "[IRBeam] HFW": "0.2",
            }
        )
        assert found.readings[0].pixel_size_nm == pytest.approx(0.2e9 / 64)
        assert found.instrument.technique == "optical"

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"[Scan] PixelWidth": None, "[EBeam] HFW": None}, "there is no [Scan] PixelWidth"),
            ({"[Scan] PixelWidth": "notafloat"}, "'notafloat', no number"),
            ({"[Scan] PixelWidth": "0"}, "is 0"),
            ({"[Scan] PixelWidth": "nan"}, "no number"),
            ({"[Scan] PixelWidth": "12"}, "which no micrograph has"),
            ({"[Image] ResolutionX": "128"}, "resized or cropped"),
        ],
    )
    def test_without_a_scale_it_says_why(self, changes, reason):
        found = fei(changes)
        assert found.readings == ()
        assert reason in missed(found, "pixel size")

    def test_a_field_width_that_contradicts_the_pixel_is_a_second_reading(self):
        readings = fei({"[EBeam] HFW": "12.8e-05"}).readings
        assert [r.pixel_size_nm for r in readings] == [1000.0, pytest.approx(2000.0)]
        assert {r.source for r in readings} == {"vendor tag"}  # one header is one source
        assert Scale.of(readings).verdict == "conflict"

    def test_other_settings_are_missed_without_harm_to_the_scale(self):
        found = fei(
            {"[EBeam] HV": "", "[Image] MagCanvasRealWidth": None, "[PrivateFei] TimeOfCreation": "13/06"}
        )
        assert found.readings
        for what in ("accelerating voltage", "magnification", "date"):
            assert missed(found, what), what


class TestZeiss:
    def test_the_size_of_the_stored_pixel_is_taken_not_that_of_the_display(self):
        found = zeiss()
        assert [r.pixel_size_nm for r in found.readings] == [5.86]
        told = found.instrument
        assert told.accelerating_voltage == Quantity(value=5, unit="kV")  # the actual one, not the target
        assert told.working_distance == Quantity(value=2.8, unit="mm")
        assert (told.magnification, told.detector, told.model) == (50000, "SE2", "Sigma 300")
        assert told.taken == "2019-01-16T18:02:26"
        assert told.stage.rotation == Quantity(value=15.8, unit="°")

    @pytest.mark.parametrize("columns", [512, 1024, 2048])
    def test_without_its_name_the_unnamed_size_is_of_1024_columns(self, columns):
        """hyperspy #2056: taken as it stands it is off by 2, 0.5 or 0.33 for other widths."""
        found = zeiss(
            {"AP_IMAGE_PIXEL_SIZE": None, "DP_IMAGE_STORE": None},
            image=np.zeros((48, columns), np.uint8),
            display_pixel_m="2.0e-009",
        )
        assert found.readings[0].pixel_size_nm == pytest.approx(2.0 * 1024 / columns)

    @pytest.mark.parametrize(
        ("words", "nanometres"),
        [("= 586.0 pm", 0.586), ("= 1.172 µm", 1172), ("= 1.172 \u00b5m", 1172), ("= 1.5 mm", 1.5e6)],
    )
    def test_units(self, words, nanometres):
        unnamed = f"{nanometres * 1e-9 * 64 / 1024:e}"
        found = zeiss({"AP_IMAGE_PIXEL_SIZE": f"Image Pixel Size {words}"}, display_pixel_m=unnamed)
        assert [r.pixel_size_nm for r in found.readings] == [pytest.approx(nanometres)]

    def test_two_sizes_that_differ_are_both_read(self):
        sizes = [r.pixel_size_nm for r in zeiss(display_pixel_m="7.325e-010").readings]
        assert sizes == [5.86, pytest.approx(11.72)]

    @pytest.mark.parametrize(("words", "times"), [("Mag = 312 X", 312), ("Mag =   1.00 K X", 1000)])
    def test_magnification_in_words(self, words, times):
        assert zeiss({"AP_MAG": words}).instrument.magnification == times

    def test_an_image_of_another_size_than_was_stored_has_no_scale(self):
        found = zeiss({"DP_IMAGE_STORE": "Store resolution = 1024 * 768"})
        assert found.readings == ()
        assert "resized or cropped" in missed(found, "pixel size")


def test_tescan_among_other_bytes():
    found = header_of(made.tiff((50431, made.tescan_bytes())))
    assert found.readings[0].pixel_size_nm == pytest.approx(4.537772)
    assert found.databar_rows == 4
    told = found.instrument
    assert (told.model, told.detector) == ("TESCAN AMBER", "E-T")
    assert told.working_distance.value == pytest.approx(3.847444)
    assert told.stage.tilt == Quantity(value=0.001, unit="°")


class TestSidecars:
    @pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-8-sig", "cp932"])
    def test_hitachi_in_any_encoding(self, encoding):
        raw = made.HITACHI.replace("\n", "\r\n").encode(encoding)
        assert is_sidecar(raw)
        found = read_sidecar(raw, 48, 64)
        assert (found.readings[0].source, found.readings[0].pixel_size_nm) == ("sidecar", 496.0938)
        assert found.instrument.working_distance.value == pytest.approx(7.70635)
        assert found.instrument.stage.x == Quantity(value=17.5, unit="mm")

    def test_jeol(self):
        found = read_sidecar(made.JEOL.encode(), 48, 64)
        (reading,) = found.readings
        assert reading.pixel_size_nm == pytest.approx(1000 / 117)
        assert reading.relative_uncertainty == pytest.approx(0.5 / 117)
        told = found.instrument
        assert (told.model, told.detector, told.magnification) == ("JSM-7100F", "SEI", 10000)
        assert (told.accelerating_voltage.value, told.working_distance.value) == (15, 8)
        assert told.stage.rotation.value == 90

    def test_tescan(self):
        raw = f"[MAIN]\n{made.TESCAN}".replace("\n\n", "\n[SEM]\n").encode()
        assert is_sidecar(raw)
        assert read_sidecar(raw, 48, 64).readings[0].source == "sidecar"

    @pytest.mark.parametrize("text", [made.HITACHI, made.JEOL])
    def test_of_an_image_that_was_cropped_since(self, text):
        found = read_sidecar(text.encode(), 40, 60)
        assert found.readings == ()
        assert "resized or cropped" in missed(found, "pixel size")

    def test_a_text_of_nobody(self):
        assert not is_sidecar(b"Remember to image the edge of specimen 3")

    def test_names(self):
        names = sidecar_names("Probe 01.TIF")
        assert {"probe 01.txt", "probe 01.hdr", "probe 01-tif.hdr"} <= set(names)
        assert "series.emi" in sidecar_names("series_1.ser")


class TestImageJAndOme:
    @pytest.mark.parametrize(
        ("unit", "size"),
        [("nm", 1), ("micron", 1e3), ("um", 1e3), ("\\u00B5m", 1e3), ("mm", 1e6), ("pm", 1e-3)],
    )
    def test_the_unit_of_imagej_is_kept(self, unit, size):
        text = f"ImageJ=1.54f\nunit={unit}\nmin=0.0\nmax=255.0\n"
        data = made.tiff(resolution=(4.0, 4.0), resolutionunit=1, description=text)
        assert header_of(data).readings[0].pixel_size_nm == pytest.approx(0.25 * size)

    @pytest.mark.parametrize(
        "text", ["ImageJ=1.54f\n", "ImageJ=1.54f\nunit=inch\n", "ImageJ=1.54f\nunit=1/nm\n"]
    )
    def test_without_a_length_imagej_has_no_scale(self, text):
        found = header_of(made.tiff(resolution=(4.0, 4.0), resolutionunit=1, description=text))
        assert found.readings == ()
        assert missed(found, "pixel size")

    def test_dots_per_inch_are_no_scale(self):
        found = header_of(made.tiff(resolution=(256.0, 256.0), resolutionunit=2))
        assert found.readings == ()
        assert "print size" in missed(found, "pixel size")

    def ome(self, attributes):
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
            '<AcquisitionDate>2020-01-02T03:04:05</AcquisitionDate><Pixels ID="Pixels:0" '
            f'DimensionOrder="XYZCT" Type="uint8" SizeX="64" SizeY="48" SizeZ="1" SizeC="1" SizeT="1" '
            f"{attributes}>"
            "<TiffData/></Pixels></Image></OME>"
        )

    @pytest.mark.parametrize(
        ("attributes", "size"),
        [
            ('PhysicalSizeX="0.5" PhysicalSizeY="0.5"', 500),
            ('PhysicalSizeX="2" PhysicalSizeXUnit="nm" PhysicalSizeY="2" PhysicalSizeYUnit="nm"', 2),
        ],
    )
    def test_ome(self, attributes, size):
        found = header_of(made.tiff(description=self.ome(attributes).encode()))
        assert found.readings[0].pixel_size_nm == pytest.approx(size)
        assert found.instrument.taken == "2020-01-02T03:04:05"

    def test_ome_of_another_width(self):
        text = self.ome('PhysicalSizeX="0.5"').replace('SizeX="64"', 'SizeX="640"')
        assert header_of(made.tiff(description=text.encode())).readings == ()


class TestGatan:
    INFO = (
        ("Voltage", 200000.0),
        ("Indicated Magnification", 50000.0),
        ("Operation Mode", "SCANNING"),
        ("Name", "Tecnai"),
    )

    @pytest.mark.parametrize("version", [3, 4])
    @pytest.mark.parametrize(
        ("unit", "size"), [("nm", 1), ("µm", 1e3), ("\u03bcm", 1e3), ("um", 1e3), ("A", 0.1), ("Å", 0.1)]
    )
    def test_calibration(self, version, unit, size):
        found = header_of(made.dm(version, scales=((2.0, unit), (2.0, unit))))
        assert found.readings[0].pixel_size_nm == pytest.approx(2 * size)

    def test_pixels_that_are_not_square(self):
        (reading,) = header_of(made.dm(scales=((1.0, "nm"), (2.0, "Å")))).readings
        assert (reading.pixel_size_nm, reading.pixel_height_nm) == (1.0, pytest.approx(0.2))

    @pytest.mark.parametrize("unit", ["", "1/nm", "eV", "s"])
    def test_no_length_no_scale(self, unit):
        found = header_of(made.dm(scales=((1.0, unit), (1.0, unit))))
        assert found.readings == ()
        assert missed(found, "pixel size")

    def test_the_microscope(self):
        told = header_of(made.dm(tags=[("Microscope Info", list(self.INFO))])).instrument
        assert (told.technique, told.magnification, told.model) == ("STEM", 50000, "Tecnai")
        assert told.accelerating_voltage == Quantity(value=200, unit="kV")


class TestEmdSerMrc:
    def test_velox(self):
        found = header_of(made.velox())
        assert found.readings[0].pixel_size_nm == pytest.approx(2)
        told = found.instrument
        assert (told.technique, told.detector, told.magnification) == ("STEM", "HAADF", 7100)
        assert told.taken == "2020-07-29T16:48:45+00:00"

    def test_velox_in_reciprocal_space(self):
        assert header_of(made.velox("1.1e8", "1/m")).readings == ()

    def test_velox_whose_field_contradicts_its_pixel(self):
        assert len(header_of(made.velox(offset="-6.4e-8")).readings) == 2

    @pytest.mark.parametrize(("units", "size"), [("[n_m]", 0.5), ("[u_m]", 500), ("[µ_m]", 500)])
    def test_berkeley(self, units, size):
        assert header_of(made.berkeley(units=units.encode())).readings[0].pixel_size_nm == pytest.approx(size)

    @pytest.mark.parametrize("version", [0x0210, 0x0220])
    def test_tia(self, version):
        assert header_of(made.ser(version=version)).readings[0].pixel_size_nm == pytest.approx(0.2)

    def test_tia_diffraction(self):
        found = header_of(made.ser(step_m=5e7))
        assert found.readings == ()
        assert "no length" in missed(found, "pixel size")

    def test_mrc(self):
        assert header_of(made.mrc(cell=(64.0, 48.0))).readings[0].pixel_size_nm == pytest.approx(0.2)

    @pytest.mark.parametrize("cell", [(32.0, 24.0), (0.0, 0.0)])
    def test_mrc_of_programs_that_do_not_know(self, cell):
        found = header_of(made.mrc(cell=cell))
        assert found.readings == ()
        assert missed(found, "pixel size")


@pytest.mark.parametrize(
    "data", [made.dm(dims=(64, 1)), made.dm(dims=(7,), scales=((1.0, "eV"),)), made.ser(kind=0x4120)]
)
def test_a_spectrum_is_no_image(data):
    with pytest.raises(UnsupportedFormat, match="spectr"):
        decode(data)


@given(st.floats(1e-3, 1e6), st.integers(2, 4))
def test_an_fei_pixel_comes_back_as_it_was_written(nanometres, digits):
    written = f"{nanometres * 1e-9:.{digits + 3}e}"
    found = fei({"[Scan] PixelWidth": written, "[Scan] PixelHeight": written, "[EBeam] HFW": None})
    assert found.readings[0].pixel_size_nm == pytest.approx(float(written) * 1e9)
