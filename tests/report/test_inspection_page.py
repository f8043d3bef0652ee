"""The texts of the inspection sheet are there in every language, and used."""

import json
import re
from pathlib import Path
from string import Formatter

import numpy as np

import mitsugo.report
from mitsugo.model.classification import inversion_warnings
from mitsugo.report.bilingual import _texts
from mitsugo.report.catalogue import LANGUAGES
from mitsugo.report.inspection import InspectedImage, SheetContent, inspection_page
from mitsugo.values import Caution, Likeness, Neighbor, Verdict

TEMPLATE = Path(mitsugo.report.__file__).parent / "templates" / "inspection.html.j2"
LOT = {
    "images": 2,
    "labels": {"<b>ok</b>": 1, "unknown": 1},
    "judgements": {"unknown": 1},
    "unknown": 1,
    "in_gallery": 0,
    "calibration": None,
    "escapes": None,
    "look_alikes": [],
}


def test_every_language_has_the_texts_that_the_sheet_uses():
    template = TEMPLATE.read_text("utf-8")
    used = set(re.findall(r'text\("([\w.]+)"[,)]', template))
    used |= set(re.findall(r'attribute\("[\w-]+", "([\w.]+)"', template))
    used |= {key for pair in re.findall(r'"([\w.]+)" if [^)]*? else "([\w.]+)"', template) for key in pair}
    used |= {f"caution.{key}" for key in ("stale", "unpromised", "inverted", "resized", "few")}
    used |= {"count.unknown", "count.NG", "count.OK", "count.known", "gate.embedding", "gate.statistics"}
    english = _texts("inspection", "en")
    assert used == set(english)
    for language in LANGUAGES:
        other = _texts("inspection", language)
        gaps = {key: {f for _, f, _, _ in Formatter().parse(words) if f} for key, words in other.items()}
        assert gaps == {k: {f for _, f, _, _ in Formatter().parse(w) if f} for k, w in english.items()}


def test_names_are_text_and_pictures_that_are_missing_are_named():
    likeness = Likeness(
        label="<b>ok</b>",
        scaled=2.0,
        p_value=None,
        exemplars=(Neighbor(row=0, name="<script>", label="<b>ok</b>", distance=0.5),),
    )
    verdict = Verdict(
        image="<img src=x onerror=alert(1)>", label="unknown", agreement=1.0, neighbors=(), winner=likeness,
        unknown=True, judgement="unknown", gate="embedding", p_value=0.01, warnings=("<i>",),
        in_gallery="<u>",
    )  # fmt: skip
    plain = Verdict(image="b", label="<b>ok</b>", agreement=1.0, neighbors=())
    nothing = np.zeros((1, 4, 4), np.uint8)
    images = tuple(InspectedImage(verdict=one, pixels=nothing) for one in (verdict, plain))
    page = inspection_page(SheetContent(model="<m>", images=images, exemplars={}, lot=LOT))
    body = page.split("<body>")[1]
    for tag in ("<script>", "<b>ok", "<img src=x", "<i>", "<u>", "<m>"):
        assert tag not in body
    assert "&lt;script&gt;" in body
    assert "No thresholds are set" in body


def test_warnings_stand_there_in_every_language():
    """Those of our own; a caller's note is in whatever words it was given."""
    cautions = (
        *inversion_warnings(np.full((1, 1, 1, 1), 255, np.uint8), 0.13)[0],
        Caution("resized from 9x9 to 4x4", "resized", found="9x9", to="4x4"),
        "a note of the caller",
    )
    verdict = Verdict(image="b", label="ok", agreement=1.0, neighbors=(), warnings=cautions)
    image = InspectedImage(verdict=verdict, pixels=np.zeros((1, 4, 4), np.uint8))
    lot = LOT | {"images": 1}
    page = inspection_page(SheetContent(model="m", images=(image,), exemplars={}, lot=lot))
    assert "平均の明るさは 1.00 で、学習画像では 0.13 です" in page
    assert "its mean brightness is 1.00, that of the training images 0.13" in page
    assert "9x9 から 4x4 ピクセルに変更しました" in page
    assert '<span lang="en">a note of the caller</span>' in page
    assert ">1 image<" in page
    assert json.loads(json.dumps(verdict.plain()["warnings"])) == [str(one) for one in cautions]


def test_where_the_thresholds_are_stale_no_promise_is_told():
    calibration = {
        "stale": True,
        "independent": 300,
        "false_alarm": {"promised": 0.01, "confidence": 0.95},
        "classes": {"ok": {"promised": False}},
    }
    for stale in (True, False):
        lot = LOT | {"calibration": calibration | {"stale": stale}, "look_alikes": ["b"]}
        page = inspection_page(SheetContent(model="m", images=(), exemplars={}, lot=lot))
        assert ("no promise holds until mitsugo calibrate" in page) == stale
        assert ("are called unknown at most 1 % of the time" in page) == (not stale)
