import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import mitsugo.report
from mitsugo.errors import ResourceError
from mitsugo.report.page import render, write_report
from mitsugo.values import ClassScore, Gap, Inspection, LearningPoint, Rate, Score

ASSETS = Path(mitsugo.report.__file__).parent / "assets"
HOSTILE = ("<script>alert(1)</script>", "\"><img src=x onerror='alert(1)'>", "</script><!--{{ 7 * 7 }}\n")


def sha256(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class Page(HTMLParser):
    """What a browser would make of the page: its elements, their attributes, and the text of its scripts."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.scripts, self.text, self.inside = [], [], [], None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.text.append(data)

    def data(self):
        """Return what the map's script reads."""
        kinds = [attributes.get("type") for tag, attributes in self.elements if tag == "script"]
        return json.loads(self.scripts[kinds.index("application/json")])

    def words(self):
        return " ".join(" ".join(self.text).split())


def renamed(content, names, images=None):
    images = images or tuple(names[i % 3] for i in range(24))
    mistake = replace(content.mistakes[0], name=names[0])
    points = replace(content.map, names=images, method=names[1])
    return replace(
        content, class_names=names, map=points, mistakes=(mistake,), source=names[0], recipe=names[1],
        details=tuple(pairwise(names)),
    )  # fmt: skip


def test_the_answer_stands_with_its_interval_and_its_n(content):
    words = Page(render(content)).words()
    assert "5-NN accuracy 5-NN 正解率 91.7 %" in words
    assert "95 % interval 74.2 to 97.7 %, n = 24" in words
    assert "95 % 区間 74.2〜97.7 %、n = 24" in words
    assert "trained in 38 s" in words
    assert "1,234 images" in words
    assert "24 of 100 images shown. Trustworthiness 0.979 (n = 24)" in words


def test_escapes_and_overkill_stand_with_their_bounds(content):
    escapes, overkill = Rate(count=0, n=20, upper=0.1391), Rate(count=3, n=154, upper=0.0496)
    found = Inspection(
        ng=("scratch", "dent"),
        escapes=escapes,
        overkill=overkill,
        groups_with_escapes=Rate(count=0, n=4, upper=0.5271),
        groups_with_overkill=None,
        bound="Clopper-Pearson",
    )
    assert "Escapes" not in Page(render(content)).words()
    words = Page(render(replace(content, scores=replace(content.scores, inspection=found)))).words()
    assert "Escapes: NG called OK 見逃し（NG を OK と判定） 0 of 20 20 枚中 0 枚 at most 13.9 %" in words
    assert "groups with any: 0 of 4, at most 52.7 %" in words
    assert "3 of 154 154 枚中 3 枚 at most 4.96 %" in words
    assert "NG classes: scratch, dent" in words
    assert words.count("groups with any") == 1


def test_each_class_stands_with_its_intervals_and_groups_are_counted(content):
    one = Score(value=0.5, low=0.25, high=0.75, n=8, interval="t", groups=4)
    per_class = tuple(ClassScore(name=name, recall=one, precision=None) for name in content.class_names)
    scores = replace(content.scores, per_class=per_class, knn_accuracy=one, balanced_accuracy=one)
    words = Page(render(replace(content, scores=scores))).words()
    assert "95 % interval 25.0 to 75.0 %, n = 8 in 4 groups" in words
    assert "良品 8 50.0 % (25.0 to 75.0)" in words
    assert "balanced accuracy" in words


def test_more_images_and_what_was_learnt_by_heart(content):
    half = LearningPoint(images=50, accuracy=0.9, low=0.88, high=0.92, draws=5, n=24)
    whole = LearningPoint(images=100, accuracy=0.925, low=0.925, high=0.925, draws=1, n=24)
    gap = Gap(training=0.99, validation=0.95)
    words = Page(render(replace(content, learning=(half, whole), gap=gap, unseen=True))).words()
    assert "50 90.0 % (88.0 to 92.0)" in words
    assert "The last doubling brought +2.5 points" in words
    assert "99.0 %; validation images: 95.0 %. A gap of 4.0 points" in words
    assert "each test image is searched among the other test images" in words
    assert "Would more images help?" not in Page(render(replace(content, learning=(whole,)))).words()


def test_nothing_is_loaded_from_elsewhere(content):
    html = render(content)
    page = Page(html)
    sources = [a[k] for tag, a in page.elements for k in ("src", "href", "srcset", "data") if a.get(k)]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not [tag for tag, _ in page.elements if tag in {"link", "iframe", "object", "base"}]
    assert not re.search(r"url\(|@import|\bimport\s*\(|^\s*import\b", html, re.MULTILINE)
    ours = [(ASSETS / name).read_text(encoding="utf-8") for name in ("map.js", "language.js", "report.css")]
    assert not any("http" in text for text in ours)


def test_the_policy_allows_the_scripts_of_the_page_and_no_other(content):
    page = Page(render(content))
    policy = next(a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a)
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    runnable = [
        script
        for script, (_, attributes) in zip(
            page.scripts, [element for element in page.elements if element[0] == "script"], strict=True
        )
        if attributes.get("type") != "application/json"
    ]
    assert {sha256(script) for script in runnable} == allowed
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]


def test_hostile_names_are_words_and_nothing_else(content):
    plain = Page(render(content))
    page = Page(render(renamed(content, HOSTILE)))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    handlers = {key for _, attributes in page.elements for key in attributes if key.startswith("on")}
    assert handlers == set()
    assert page.data()["classes"] == [HOSTILE[0], HOSTILE[1], HOSTILE[2].replace("\n", "\\n")]
    assert "<script>alert(1)</script>" in page.words()
    assert "{{ 7 * 7 }}" in page.words()


def test_names_that_are_no_text_can_be_written(content, tmp_path):
    bytes_in_a_name = "part\udc80\u202e"
    write_report(renamed(content, (bytes_in_a_name, "b", "c")), tmp_path)
    assert r"part\udc80\u202e" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_matrix_has_counts_and_recall_a_class(content):
    html = render(content)
    matrix = html[html.index('<table style="--classes: 3"') : html.index("</table>")]
    cells = re.findall(r'<td class="([\w-]+)">\s*([^<]*)', matrix)
    assert [(kind, text.strip()) for kind, text in cells[:4]] == [
        ("right-5", "7"),
        ("wrong-0", "0"),
        ("wrong-4", "1"),
        ("recall", "87.5 %"),
    ]


def test_the_map_knows_which_points_lie_and_where_thumbnails_are(content):
    data = Page(render(content)).data()
    assert [index for index, lies in enumerate(data["lies"]) if lies] == [3]
    assert data["sprite"] == {"columns": 5, "width": 8, "height": 8}
    assert data["label"] == [0] * 8 + [1] * 8 + [2] * 8
    assert [label for _, label in data["centres"]] == [0, 1, 2]
    flat = content.map.flat
    across = np.ptp(flat, axis=0)
    drawn = np.array([data["x"], data["y"]]).T
    assert np.abs(drawn).max() == pytest.approx(0.94, abs=1e-3)
    assert np.ptp(drawn, axis=0) / across == pytest.approx([1.88 / across.max()] * 2, rel=1e-3)


def test_points_in_one_place_have_a_place(content):
    points = replace(content.map, flat=np.full((24, 2), 3.0, np.float32))
    assert set(Page(render(replace(content, map=points))).data()["x"]) == {0.0}


def test_a_direct_map_speaks_of_no_projection(content):
    page = Page(render(replace(content, map=replace(content.map, direct=True))))
    assert "Trustworthiness" not in page.words()
    assert page.data()["trust"] is None
    assert set(page.data()["lies"]) == {0}
    assert "map-dim" not in {attributes.get("id") for _, attributes in page.elements}


def test_a_mistake_stands_beside_its_nearest(content):
    words = Page(render(content)).words()
    assert "true 正解 良品 taken for 判定 dent" in words.replace("  ", " ")
    assert "80 % of the votes" in words
    assert words.count("×") >= 4
    assert "d 0.25" in words


def test_every_empty_part_says_something(bare):
    words = Page(render(bare)).words()
    for sentence in (
        "Nothing was confused.",
        "Nothing was trained, so there is no curve.",
        "There is no image to show.",
        "There is no mistake to show.",
        "Nothing more was recorded.",
        "nothing was trained",
        "no image",
    ):
        assert sentence in words
    assert "学習していないので曲線はありません" in words


def test_a_map_without_a_lie_or_an_error_says_so(content):
    points = replace(content.map, trust=np.ones(24), predicted=content.map.labels)
    words = Page(render(replace(content, map=points))).words()
    assert "no trust is below 0.9" in words
    assert "All images shown here were predicted rightly." in words


@pytest.mark.parametrize(
    ("epochs", "seconds", "words"),
    [
        (1, 0.042, "1 epoch 1 エポック"),
        (3, 754.9, "trained in 12 min 34 s"),
        (3, 0.042, "trained in 0.042 s"),
    ],
)
def test_times_are_told_in_their_unit(content, epochs, seconds, words):
    assert words in Page(render(replace(content, epochs=epochs, seconds=seconds))).words()


def test_many_classes_name_the_worst_pairs_first(content):
    counts = np.diag(np.full(13, 9))
    counts[4, 7] = 3
    thirteen = replace(
        content,
        class_names=tuple(f"class {i}" for i in range(13)),
        scores=replace(content.scores, confusion=counts),
    )
    assert "class 4 taken for class 7: 3 of 12" in Page(render(thirteen)).words()


def test_hundreds_of_classes_show_the_most_confused(content):
    counts = np.diag(np.full(300, 9))
    counts[299, 7] = 3
    many = replace(
        content,
        class_names=tuple(f"class {i}" for i in range(300)),
        scores=replace(content.scores, confusion=counts),
    )
    html = render(many)
    assert "Shown are the 60 most confused of 300 classes." in Page(html).words()
    assert len(re.findall(r'<td class="(?:right|wrong)-\d"', html)) == 60 * 60
    assert "class 299 taken for class 7: 3 of 12" in Page(html).words()


def test_scores_that_there_are_not_are_left_out(content):
    words = Page(render(replace(content, scores=replace(content.scores, silhouette=None)))).words()
    assert "silhouette" not in words
    assert "between / within classes" in words


def test_a_report_is_written_beside_its_figures(content, tmp_path):
    paths = write_report(content, tmp_path)
    names = ["loss_curves.png", "embedding.png", "confusion.png", "mistakes.png", "report.html"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    first = [path.read_bytes() for path in paths]
    write_report(content, tmp_path)
    assert [path.read_bytes() for path in paths] == first


def test_a_folder_that_is_not_there_is_named(content, tmp_path):
    with pytest.raises(ResourceError, match=r"nowhere.loss_curves\.png: cannot be written"):
        write_report(content, tmp_path / "nowhere")


def test_the_libraries_are_the_ones_that_the_licences_name():
    licences = (ASSETS / "LICENSES.md").read_text(encoding="utf-8")
    for name in ("regl.min.js", "regl-scatterplot.min.js", "pub-sub-es.js"):
        line = next(line for line in licences.splitlines() if line.startswith(f"| {name}"))
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() in line
