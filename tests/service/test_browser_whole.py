"""The page and the service as they are installed, in a real browser; run by `make test-browser`."""

import json
from pathlib import Path

import pytest

from mitsugo.tasks.calibrate import calibrate
from mitsugo.tasks.gallery import list_

pytestmark = pytest.mark.browser
STATIC = Path(__file__).parents[2] / "src" / "mitsugo" / "service" / "static"
TEXTS = {name: json.loads((STATIC / "texts" / f"{name}.json").read_text("utf-8")) for name in ("en", "ja")}


def said(key, **values):
    return TEXTS["en"][key].format(**values)


@pytest.fixture
def served(run, line, serving, write_parts, tmp_path):
    """Serve a calibrated run with golden parts."""
    calibrate(run, str(line[1]), {"false_alarm": 0.2, "cost_escape": 10.0, "cost_overkill": 1.0})
    for kind in ("ok", "ng"):
        write_parts(tmp_path / "golden" / kind, kind, 6, 8)
    return serving(run, "--gate", tmp_path / "golden")


@pytest.fixture
def page(served, browser):
    """Open the page; a complaint of the console fails the test."""
    complaints = []
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{served.port}/")
    page.wait_for_selector("body[data-ready]")
    yield page
    context.close()
    # answers of 4xx and 5xx are said by the browser itself, such as that of a map that is still computed
    assert [words for words in complaints if not words.startswith("Failed to load resource")] == []


def test_inspect_teach_undo_the_map_and_the_other_language(page, run, write_parts, tmp_path):
    """An OK part; stains, which are new: taught by name, found again, and taken back; where they lie."""
    (part,) = write_parts(tmp_path / "new", "ok", 1, 21)
    stains = write_parts(tmp_path / "stains", "stain", 6, 22)
    page.locator("#intake input[multiple]").set_input_files(part)
    page.wait_for_selector("#answer .verdict.OK")
    assert page.locator(".side").nth(0).locator("img").count() > 0

    page.locator("#tab-teach").click()
    page.locator("#teach-intake input[multiple]").set_input_files(stains[:5])
    page.locator("#teach-label").fill("stain")
    page.locator("#teach-kind input[value=true]").check()
    page.locator("#who").fill("Sato")
    page.locator("#teach-form button[type=submit]").click()
    page.wait_for_selector("#teach-found .gate")
    assert list_(run)["classes"] == {}, "nothing is taught before it was seen what that changes"
    page.locator("#teach-found button", has_text=said("teach.keep")).click()
    page.wait_for_selector("#taught li")
    assert list_(run)["classes"] == {"stain": {"images": 5, "ng": True}}

    page.locator("#tab-inspect").click()
    page.locator("#intake input[multiple]").set_input_files(stains[5])
    page.wait_for_selector("#answer .verdict.NG")
    assert "stain" in page.locator("#answer .side").nth(0).inner_text()

    page.locator("#tab-map").click()
    page.wait_for_selector("#map-frame[data-drawn]", timeout=60_000)
    assert stains[5].name in page.inner_text("#map-marked")
    box = page.locator("#map-frame iframe").bounding_box()
    page.locator("#map-lasso").click()
    left, top, right, low = (
        box["x"] + 8,
        box["y"] + 8,
        box["x"] + box["width"] - 8,
        box["y"] + box["height"] - 8,
    )
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, low), (left, low), (left, top + 8)):
        page.mouse.move(x, y, steps=12)
    page.mouse.up()
    page.wait_for_selector("#map-chosen .thumbs")
    assert page.locator("#map-chosen .thumbs img").count() > 20

    page.locator("#last .undo").click()
    page.wait_for_function(
        f"() => document.getElementById('last').textContent.includes({said('undo.done', batch=1)!r})"
    )
    assert list_(run)["classes"] == {}
    page.locator("#tab-log").click()
    page.wait_for_selector("#panel-log li >> nth=0")
    assert "Sato" in page.inner_text("main")
    page.get_by_role("button", name="日本語").click()
    assert TEXTS["ja"]["tab.log"] in page.inner_text("#tab-log")
