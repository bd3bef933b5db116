from xml.etree import ElementTree

import numpy as np

from micrographia.evaluate.plots import Curve, confusion_plot, curves_plot

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawing):
    return ["".join(e.itertext()) for e in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def test_confusion_shows_every_count_and_name():
    shown = texts(confusion_plot(np.array([[31, 2, 0], [5, 47, 0]]), ["pores", "fibres"]))
    assert {"31", "2", "5", "47", "pores", "fibres"} <= set(shown)
    assert "(no class)" not in shown


def test_answers_without_a_class_get_a_column():
    assert "(no class)" in texts(confusion_plot(np.array([[3, 1]]), ["pores"]))


def test_a_class_name_stays_text_whatever_it_holds():
    names = ["<script>alert(1)</script>", "$x^2$ & co", "50 %"]
    drawing = confusion_plot(np.hstack([np.eye(3, dtype=int), np.zeros((3, 1), dtype=int)]), names)
    assert set(names) <= set(texts(drawing))
    assert "<script" not in drawing


def test_one_panel_a_quantity_and_one_colour_a_name():
    curves = [
        Curve("training", "loss", (0, 10, 20), (2.0, 1.0, 0.5)),
        Curve("validation", "loss", (0, 20), (2.1, 0.9)),
        Curve("validation", "top-1", (0, 20), (0.1, 0.9)),
    ]
    drawing = curves_plot(curves)
    shown = texts(drawing)
    assert {"loss", "top-1", "training"} <= set(shown)
    assert shown.count("validation") == 2
    assert "#5c8f2f" not in drawing and "#7a6fc0" not in drawing


def test_a_plot_takes_its_ink_from_the_page_and_is_the_same_each_time():
    curves = [Curve("training", "loss", (0, 1), (1.0, 0.5))]
    assert "currentColor" in curves_plot(curves)
    assert curves_plot(curves) == curves_plot(curves)


def test_names_within_two_plots_of_one_page_do_not_clash():
    one = confusion_plot(np.array([[1, 0]]), ["pores"])
    other = curves_plot([Curve("training", "loss", (0, 1), (1.0, 0.5))])
    ids = [{e.get("id") for e in ElementTree.fromstring(d).iter() if e.get("id")} for d in (one, other)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
