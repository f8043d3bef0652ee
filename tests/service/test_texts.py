"""Every text of the page stands in both catalogues, and nothing else does."""

import json
import re
from pathlib import Path

STATIC = Path(__file__).parents[2] / "src/mitsugo/service/static"
TEXTS = {name: json.loads((STATIC / f"texts/{name}.json").read_text("utf-8")) for name in ("en", "ja")}
AREAS = {key.split(".")[0] for key in TEXTS["en"]}
SCRIPTS = {path.name: path.read_text("utf-8") for path in sorted(STATIC.glob("*.js"))}
PAGES = {path.name: path.read_text("utf-8") for path in sorted(STATIC.glob("*.html"))}


def named_in_scripts() -> set[str]:
    """Return every quoted string that looks like a key: of an area of the catalogue, with a dot."""
    quoted = {found for text in SCRIPTS.values() for found in re.findall(r'"([a-z]+(?:\.[\w]+)+)"', text)}
    # what is remembered in the browser, and files that are imported, look alike
    return {key for key in quoted if key.split(".")[0] in AREAS and not key.endswith(".js")}


def named_in_pages() -> set[str]:
    pattern = r'data-(?:text|label|placeholder|title)="([^"]+)"'
    return {key for text in PAGES.values() for key in re.findall(pattern, text)}


def test_both_languages_have_the_same_keys_in_the_same_order():
    assert list(TEXTS["en"]) == list(TEXTS["ja"])


def test_every_key_that_is_used_exists():
    assert named_in_scripts() | named_in_pages() <= set(TEXTS["en"])
    assert len(named_in_scripts()) > 100  # the pattern finds them


def test_no_key_is_unused():
    assert set(TEXTS["en"]) <= named_in_scripts() | named_in_pages()


def test_no_key_is_put_together_from_parts():
    """So that the two tests above see every one of them."""
    for name, text in SCRIPTS.items():
        assert not re.search(r"(?:say|text|announce|button)\(\s*`", text), name


def test_both_languages_fill_in_the_same_values():
    for key, words in TEXTS["en"].items():
        values = [sorted(re.findall(r"\{(\w+)\}", text)) for text in (words, TEXTS["ja"][key])]
        assert values[0] == values[1], key


def test_japanese_is_japanese():
    kana = re.compile(r"[぀-ヿ一-鿿]")
    same = {key for key, words in TEXTS["ja"].items() if not kana.search(words)}
    assert same == {"verdict.ok", "verdict.ng", "log.at", "inspect.says"}


def test_no_text_stands_in_a_page_itself():
    """A body's words come from the catalogue; names of languages and of the product are no texts."""
    body = PAGES["index.html"].split("<body>")[1]
    body = re.sub(r"<noscript.*?</noscript>", "", body, flags=re.DOTALL)
    words = [word.strip() for word in re.findall(r">([^<>]*[^\W\d_][^<>]*)<", body)]
    assert words == ["mitsugo", "日本語", "English"]


def test_nothing_of_the_page_is_inline_or_from_elsewhere():
    for name, text in PAGES.items():
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text), name
    for name, text in (PAGES | SCRIPTS).items():
        urls = set(re.findall(r"https?://[^\s\"'`]+", text))
        assert urls <= {"http://www.w3.org/2000/svg"}, name  # the name of a namespace, which is never fetched


def test_no_script_makes_markup_of_text():
    dangerous = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser"
    for name, text in SCRIPTS.items():
        assert not re.search(dangerous, text), name


def test_every_id_that_a_script_asks_for_is_on_the_page():
    ids = {name: set(re.findall(r'\sid="([^"]+)"', text)) for name, text in PAGES.items()}
    for name, text in SCRIPTS.items():
        asked = set(re.findall(r'(?:part|getElementById)\("([^"]+)"\)', text))
        page = name.replace(".js", ".html") if name in {"map-frame.js", "docs.js"} else "index.html"
        assert asked <= ids[page], name
