import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from micrographia.evaluate.metrics.facts import check_facts
from micrographia.evaluate.plots import Curve
from micrographia.evaluate.report import Exchange, Item, MeasuredImage, Report, render, thumbnail, write
from micrographia.records import Score

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = "</script><script>alert('µ')</script> & <img src=x onerror=alert(1)> \u2028 {{ 7 * 7 }}"


class Page(HTMLParser):
    """The elements of a page, its visible text, and what its scripts hold."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.scripts, self.inside = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        (self.scripts if self.inside == "script" else self.text).append(data)

    @property
    def items(self):
        return json.loads(self.scripts[0])

    def links(self):
        return [v for _, attributes in self.tags for k, v in attributes.items() if k in ("src", "href")]


def score(system, value=0.9):
    return Score(
        task="category",
        metric="top-1",
        system=system,
        value=value,
        low=value - 0.05,
        high=value + 0.05,
        n=2,
        groups=2,
        unscored=1,
        interval="Clopper-Pearson",
    )


def item(number, truth="pores", ranking=(("pores", 0.8), ("tips", 0.15), ("films", 0.04), ("wires", 0.01))):
    exchange = Exchange(
        task="vqa",
        question="size",
        prompt="How large are the pores?",
        answer=HOSTILE,
        references=("They are 3.5 µm wide.",),
        facts=check_facts({"size": "3.5 nm", "shape": "round"}, {"size": "3.5 µm", "class": "pores"}),
    )
    return Item(
        id=f"{number:064x}",
        name=f"image {number}.tif",
        thumbnail=thumbnail(np.full((50, 80), 128, dtype=np.uint8)),
        group="specimen 1",
        truth=truth,
        ranking=ranking,
        exchanges=(exchange,),
    )


MEASURED = MeasuredImage(
    name="pores <i>1</i>.tif",
    truth="pores & co",
    picture=b"\x89PNG\r\n\x1a\n...",
    scale="scale: agreed: 5 nm by header",
    numbers=(("particle diameter", "1.2 µm", "1.1 µm to 1.3 µm", "1,234"),),
    refused=(("pitch, pattern orientation", "nothing repeats"),),
)


@pytest.fixture
def report():
    return Report(
        workspace="lab <b>1</b>",
        student="student & co",
        created="2025-01-02 03:04",
        scores=(score("student"), score("blind", 0.2)),
        classes=("pores", "tips", "films", "wires"),
        items=(item(0), item(1, ranking=(("tips", 0.6), ("pores", 0.4)))),
        curves=(Curve("training", "loss", (0, 1), (1.0, 0.5)),),
        counts={"test images": 2000},
        notes=("words v1",),
    )


def test_model_text_never_becomes_markup(report):
    page = Page(render(report))
    assert page.items[0]["exchanges"][0]["answer"] == HOSTILE
    assert [a.get("type") for tag, a in page.tags if tag == "script"] == ["application/json", None]
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "alert" not in "".join(page.text)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH to run the page's script")
def test_in_a_browser_model_text_is_only_text(report, tmp_path):
    write(report, tmp_path / "report.html")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    page = f"file://{tmp_path / 'report.html'}"
    shown = subprocess.run(
        [CHROMIUM, *options, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    gallery = Page(shown[shown.index('id="gallery"') : shown.index("<noscript>")])
    assert "".join(gallery.text).count(HOSTILE) == 2
    assert [tag for tag, _ in gallery.tags if tag in ("script", "style", "iframe")] == []
    assert all(a["src"].startswith("data:image/jpeg") for tag, a in gallery.tags if tag == "img")
    assert "1–2 of 2 (2 images in all)" in shown


def test_the_script_writes_text_only(report):
    script = Page(render(report)).scripts[1]
    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", script)


def test_names_from_the_lab_are_escaped(report):
    page = Page(render(report))
    assert "lab <b>1</b>" in page.text
    assert "student & co" in page.text


def test_nothing_is_loaded_from_elsewhere(report):
    html = render(replace(report, measured=(MEASURED,)))
    page = Page(html)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links())
    assert set(re.findall(r"https?://[^\s\"'<>]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not re.search(r"@import|fetch\(|XMLHttpRequest|url\((?!#)", html)
    policy = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0].startswith("default-src 'none'; img-src data:")


def test_the_gallery_has_what_it_shows_and_filters_by(report):
    first = Page(render(report)).items[0]
    assert (first["name"], first["truth"], first["group"]) == ("image 0.tif", "pores", "specimen 1")
    assert first["ranking"] == [["pores", 0.8], ["tips", 0.15], ["films", 0.04]]
    assert base64.b64decode(first["jpeg"]) == report.items[0].thumbnail
    (exchange,) = first["exchanges"]
    assert exchange["references"] == ["They are 3.5 µm wide."]
    assert {f["subject"]: f["verdict"] for f in exchange["facts"]} == {
        "size": "wrong",
        "class": "missing",
    }


def test_what_was_measured_stands_with_interval_and_n_or_the_reason(report):
    page = Page(render(replace(report, measured=(MEASURED, replace(MEASURED, truth=None, numbers=())))))
    words = " ".join(" ".join(page.text).split())
    assert words.count("What was measured") == 1
    assert "particle diameter 1.2 µm 1.1 µm to 1.3 µm 1,234" in words
    assert "cannot tell pitch, pattern orientation: nothing repeats" in words
    assert "pores <i>1</i>.tif pores & co · scale: agreed: 5 nm by header" in words
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources] == [
        MEASURED.picture
    ] * 2
    assert page.links() == [*sources]


def test_where_nothing_was_measured_there_is_no_such_section(report):
    assert "What was measured" not in render(report)


def test_scores_stand_with_interval_counts_and_method(report):
    words = " ".join(" ".join(Page(render(report)).text).split())
    assert "0.900 [0.850, 0.950]" in words
    assert "n=2, 2 groups, 1 unscored" in words
    assert "Made by: Clopper-Pearson." in words
    assert "2,000" in words and "words v1" in words


def test_classes_and_confusion_come_from_the_items(report):
    words = " ".join(" ".join(Page(render(report)).text).split())
    assert "pores 1.000 0.500 0.667 2 1" in words
    assert "tips 0.000 – 0.000 0 1" in words
    assert "films – – – 0 0" in words


def test_a_report_without_images_or_curves_is_still_a_report():
    page = Page(render(Report("lab", "student", "today", scores=(score("student"),))))
    assert page.scripts == []
    assert "Scores" in page.text and "Learning curves" not in page.text


def test_an_image_without_label_is_shown_but_not_judged(report):
    html = render(
        Report("lab", "s", "today", report.scores, report.classes, (item(0, truth=None, ranking=()),))
    )
    page = Page(html)
    assert page.items[0]["truth"] is None
    assert "Confusion" not in page.text


def test_writing_leaves_one_file(report, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("an older one")
    write(report, path)
    assert path.read_text(encoding="utf-8") == render(report)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("shape", [(600, 900), (600, 900, 3), (40, 30)])
def test_a_thumbnail_is_a_small_jpeg(shape):
    jpeg = thumbnail(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    assert jpeg.startswith(b"\xff\xd8") and jpeg.endswith(b"\xff\xd9")
    rows, columns = jpeg_size(jpeg)
    assert max(rows, columns) == min(224, max(shape[:2]))
    assert rows / columns == pytest.approx(shape[0] / shape[1], rel=0.02)


def jpeg_size(jpeg):
    """(rows, columns) from the frame header, JPEG T.81 section B.2.2."""
    frame = re.search(rb"\xff[\xc0\xc2]..\x08(..)(..)", jpeg, re.DOTALL)
    return tuple(int.from_bytes(frame[i], "big") for i in (1, 2))
