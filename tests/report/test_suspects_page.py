import base64
import csv
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

import numpy as np
import pytest

import mitsugo.report
from mitsugo.errors import DataError
from mitsugo.report.bilingual import _texts, cell_of
from mitsugo.report.catalogue import LANGUAGES
from mitsugo.report.suspects import SuspectsContent, suspects_page, suspects_table
from mitsugo.values import LabeledImages

TEMPLATE = Path(mitsugo.report.__file__).parent / "templates" / "suspects.html.j2"
HOSTILE = "</script><script>alert(1)</script>\"><img src=x onerror='alert(1)'>{{ 7 * 7 }}\n"


class Page(HTMLParser):
    """What a browser would make of the page: its elements with their attributes, and its words."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.scripts, self.text, self.inside = [], [], [], None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)
        elif self.inside != "style":
            self.text.append(data)

    def words(self):
        return " ".join(" ".join(self.text).split())


def images(channels=1, side=8, names=("良品", "scratch", "dent")):
    pixels = np.random.default_rng(0).integers(0, 256, (7, channels, side, side), dtype=np.uint8)
    return LabeledImages(
        pixels=pixels,
        labels=np.array([0, 0, 0, 1, 1, 2, 2]),
        class_names=names,
        names=tuple(f"photo-{number}" for number in range(7)),
    )


@pytest.fixture
def content():
    """Seven images: two of class 0 look like class 1, one like class 2, and the last was not judged."""
    return SuspectsContent(
        source="parts",
        recipe="standard",
        folds=3,
        part="choose",
        images=images(),
        order=np.array([2, 0, 1, 3, 4, 5]),
        score=np.array([0.75, 0.625, 0.875, 0.5, 0.25, 0.125, 0.0]),
        says=np.array([1, 2, 1, 0, 0, 1, 0]),
        nearest=np.array([[3, 4], [5, 6], [4, 1], [0, 1], [3, 0], [6, 0], [0, 1]]),
        distances=np.array([[0.5, 0.75]] * 7),
        details=(("run", "runs/a"),),
    )


def test_the_doubted_stand_first_with_their_score_and_classes(content):
    assert content.doubted.tolist() == [2, 0, 1]
    words = Page(suspects_page(content, 100)).words()
    assert "3 of 6 images" in words
    assert "6 枚のうち 3 枚" in words
    assert "50.0 % lie nearer" in words
    places = [words.index(f"score {score}") for score in ("0.875", "0.750", "0.625")]
    assert places == sorted(places)
    assert "label ラベル 良品 looks like 近いクラス scratch" in words
    assert "Shown are all 3." in words


def test_of_many_the_first_are_shown_and_it_is_said(content):
    page = Page(suspects_page(content, 2))
    assert "Shown are the first 2 of 3." in page.words()
    assert [tag for tag, a in page.elements if a.get("class") == "query"] == ["div", "div"]


def test_every_suspect_stands_beside_its_nearest(content):
    html = suspects_page(content, 1)
    first = html[html.index('class="query"') : html.index("</main>")]
    assert re.findall(r'<img [^>]*alt="([^"]*)"', first) == ["photo-2", "photo-4", "photo-1"]
    signs = re.findall(r'data-aria-label-en="([^"]*)"[^>]*>([○×])', first)
    assert signs == [("another label", "×"), ("same label", "○")]
    assert "d 0.50" in first


def test_what_is_confused_most_often_is_counted(content):
    words = Page(suspects_page(content, 9)).words()
    assert "labelled 良品, looks like scratch: 2 of 3" in words
    assert "labelled 良品, looks like dent: 1 of 3" in words


def test_what_was_not_examined_is_named(content):
    assert content.untried == {"dent": 1}
    assert "dent (1)" in Page(suspects_page(content, 9)).words()
    whole = replace(content, order=np.array([2, 0, 1, 3, 4, 5, 6]))
    assert "Not examined" not in suspects_page(whole, 9)


def test_of_many_classes_that_were_not_examined_the_first_are_named():
    pixels = np.zeros((23, 1, 2, 2), np.uint8)
    names = tuple(f"c{number}" for number in range(23))
    some = LabeledImages(pixels=pixels, labels=np.arange(23), class_names=names, names=names)
    content = SuspectsContent(
        source="", recipe="", folds=1, part="all", images=some, order=np.array([0]), score=np.zeros(23),
        says=np.arange(23), nearest=np.zeros((23, 1), np.int64), distances=np.zeros((23, 1)),
    )  # fmt: skip
    words = Page(suspects_page(content, 9)).words()
    assert "c20 (1)" in words
    assert "c21 (1)" not in words
    assert "…" in words


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("train", "Examined: the training images."),
        ("choose", "Examined: the training and validation images."),
        ("all", "Examined: all images, the test images among them."),
    ],
)
def test_the_page_says_which_images_were_examined(content, part, words):
    assert words in Page(suspects_page(replace(content, part=part), 9)).words()


def test_without_a_doubt_it_says_so(content):
    sure = replace(content, score=np.zeros(7))
    words = Page(suspects_page(sure, 9)).words()
    assert "0 of 6 images" in words
    assert "there is no label to look at" in words
    assert "What to do" not in words
    assert "Most often doubted" not in words


def test_nothing_is_loaded_from_elsewhere_and_one_script_may_run(content):
    html = suspects_page(content, 9)
    page = Page(html)
    sources = [a[k] for _, a in page.elements for k in ("src", "href", "srcset", "data") if a.get(k)]
    assert len(sources) == 3 * 3
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import|https?:", html)
    policy = next(a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a)
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert "unsafe-eval" not in policy


def test_hostile_names_are_words_and_nothing_else(content):
    hostile = replace(content, source=HOSTILE, recipe=HOSTILE, images=images(names=(HOSTILE, "b", "c")))
    plain, page = (Page(suspects_page(some, 9)) for some in (content, hostile))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert not {key for _, attributes in page.elements for key in attributes if key.startswith("on")}
    assert "{{ 7 * 7 }}" in page.words()


def test_small_images_are_shown_sharp_and_photos_are_not(content):
    assert 'class="picture sharp"' in suspects_page(content, 9)
    html = suspects_page(replace(content, images=images(channels=3, side=40)), 9)
    assert 'class="picture"' in html
    assert "sharp" not in re.findall(r'class="(picture[^"]*)"', html)
    assert "data:image/jpeg" in html


def test_the_table_reads_back_and_holds_no_formula(content):
    named = replace(
        content, images=replace(images(), class_names=("=1+1", "-3", "＋x"), names=("@a", *"bcdef", "一"))
    )
    raw = suspects_table(named)
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))
    assert [row["image"] for row in rows] == ["c", "'@a", "b", "d", "e", "f"]
    assert list(rows[0].values()) == [
        "1", "c", "'=1+1", "'-3", "0.875000", "yes", "e", "'-3", "b", "'=1+1",
    ]  # fmt: skip
    assert [row["suspect"] for row in rows] == ["yes", "yes", "yes", "no", "no", "no"]


@pytest.mark.parametrize(
    ("text", "cell"),
    [("+a", "'+a"), ("＝a", "'＝a"), ("a=b", "a=b"), ("\ta", "\\ta"), ("a\udc80", "a\\udc80"), ("", "")],
)
def test_a_cell_is_text(text, cell):
    assert cell_of(text) == cell


def test_every_language_has_the_texts_that_the_page_uses():
    template = TEMPLATE.read_text(encoding="utf-8")
    used = set(re.findall(r'text\("([\w.]+)"[,)]', template))
    used |= set(re.findall(r'attribute\("[\w-]+", "([\w.]+)"', template))
    used |= {key for pair in re.findall(r'"([\w.]+)" if [^)]*? else "([\w.]+)"', template) for key in pair}
    used |= {"part.train", "part.choose", "part.all", "untried.one"}
    english = _texts("suspects", "en")
    assert used == set(english)
    for language in LANGUAGES:
        other = _texts("suspects", language)
        gaps = {key: {f for _, f, _, _ in Formatter().parse(words) if f} for key, words in other.items()}
        assert gaps == {k: {f for _, f, _, _ in Formatter().parse(w) if f} for k, w in english.items()}
    assert not {key for key, words in _texts("suspects", "ja").items() if words == english[key]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": np.zeros(6)}, "the findings are not of 7 images"),
        ({"order": np.array([], np.int64)}, "the ranking names no image"),
        ({"order": np.array([2, 2])}, "the ranking names no image, or one twice"),
        ({"order": np.array([0, 2])}, "the ranking is not by falling scores"),
        ({"score": np.full(7, 1.5)}, "the ranking is not by falling scores from 0 to 1"),
        ({"says": np.zeros(7, np.int64)}, "an image is doubted, but looks like the class of its own label"),
    ],
)
def test_findings_that_do_not_fit_are_refused(content, change, message):
    with pytest.raises(DataError, match=message):
        replace(content, **change)
