import re
from dataclasses import fields
from pathlib import Path
from string import Formatter

import pytest

import mitsugo.report
from mitsugo.report.catalogue import LANGUAGES, attribute, catalogue, text, texts_for_scripts
from mitsugo.report.page import SCRIPT_TEXTS
from mitsugo.values import Scores

HERE = Path(mitsugo.report.__file__).parent
TEMPLATE = (HERE / "templates" / "report.html.j2").read_text(encoding="utf-8")
NUMBERS = [
    field.name for field in fields(Scores) if field.name not in {"confusion", "per_class", "inspection", "k"}
]
INTERVALS = {f"interval{share}{groups}" for share in ("", ".percent") for groups in ("", ".groups")}


def used_keys():
    """Return the keys that the template names, and those that it makes of the scores and curves."""
    keys = set(re.findall(r'text\("([\w.]+)"[,)]', TEMPLATE))
    keys |= set(re.findall(r'attribute\("[\w-]+", "([\w.]+)"', TEMPLATE))
    keys |= {
        key for pair in re.findall(r'"([\w.]+)" if near.right else "([\w.]+)"', TEMPLATE) for key in pair
    }
    keys |= {f"score.{name}{ending}" for name in NUMBERS for ending in ("", ".means")}
    keys |= INTERVALS | set(re.findall(r'rated\("(\w+)"', TEMPLATE))
    return keys | {"curves.train", "curves.validation", *SCRIPT_TEXTS}


def placeholders(words):
    return {field for _, field, _, _ in Formatter().parse(words) if field}


def test_every_language_has_the_same_texts_with_the_same_gaps():
    english = catalogue("en")
    for language in LANGUAGES:
        other = catalogue(language)
        assert other.keys() == english.keys()
        assert all(words.strip() for words in other.values())
        assert {k: placeholders(w) for k, w in other.items()} == {
            k: placeholders(w) for k, w in english.items()
        }


def test_the_texts_are_those_that_the_page_uses():
    assert used_keys() == set(catalogue("en"))


def test_the_scripts_ask_for_the_texts_that_they_are_given():
    script = (HERE / "assets" / "map.js").read_text(encoding="utf-8")
    assert set(re.findall(r'\btext\("([\w.]+)"\)', script)) == set(SCRIPT_TEXTS)
    assert texts_for_scripts("map.true") == {"en": {"map.true": "true"}, "ja": {"map.true": "正解"}}


def test_japanese_is_written_in_japanese():
    same = {key for key, words in catalogue("ja").items() if words == catalogue("en")[key]}
    assert same == set()


def test_values_are_escaped():
    assert "<b>" not in text("confusion.pair", true="<b>", predicted='"', count=1, total=2)
    written = attribute("title", "title", source='" onload="x', recipe="<b>")
    assert '" onload' not in written
    assert written.count("&#34; onload=&#34;x") == 3


def test_a_text_that_is_not_there_is_no_silence():
    with pytest.raises(KeyError, match="no such text"):
        text("no such text")
