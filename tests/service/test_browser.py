"""The page from end to end in a real browser, against a fake of the service; run by `make test-browser`."""

import importlib.util
import io
import json
import math
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from mitsugo.report.palette import class_colors

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent
TEXTS = {
    name: json.loads((HERE.parents[1] / f"src/mitsugo/service/static/texts/{name}.json").read_text("utf-8"))
    for name in ("en", "ja")
}
WATCH = (
    "addEventListener('securitypolicyviolation', (e) => console.error('policy', e.violatedDirective, "
    "e.blockedURI))"
)
HOSTILE = '<img src=x onerror="top.taken=1"><script>top.taken=1</script>\u202egnp.exe'
SIZES = [(360, 800), (1024, 768), (1440, 900)]


def fake_module():
    spec = importlib.util.spec_from_file_location("fake_backend", HERE / "fake_backend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FAKE = fake_module()


def png(colour: str, size: int = 64) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (size, size), FAKE.COLOURS[colour]).save(written, "PNG")
    return written.getvalue()


def upload(name: str, content: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "image/png", "buffer": content}


@pytest.fixture
def visit(browser):
    """Return a function that opens the page on a fake; a complaint of the console fails the test."""
    opened, complaints = [], []

    def go(fake=None, *, locale="en-US", size=(1024, 768), init="", **options):
        fake = fake or FAKE.Fake(points=600)
        server = FAKE.serving(fake)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        width, height = size
        viewport = {"width": width, "height": height}
        context = browser.new_context(locale=locale, viewport=viewport, **options)
        context.add_init_script(WATCH)
        if init:
            context.add_init_script(init)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        opened.append((context, server, thread))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector("body[data-ready]")
        page.wait_for_function("() => document.getElementById('model').textContent !== ''")
        return SimpleNamespace(page=page, fake=fake, context=context)

    yield go
    for context, server, thread in opened:
        context.close()
        server.shutdown()
        server.server_close()
        thread.join()
    # answers of 4xx and 5xx are said by the browser itself; each such answer is asked for by a test
    assert [words for words in complaints if not words.startswith("Failed to load resource")] == []


def inspect(page, *files):
    page.locator("#intake input[multiple]").set_input_files(list(files))


def drawn_map(page):
    page.locator("#tab-map").click()
    page.wait_for_selector("#map-frame[data-drawn]")
    page.wait_for_timeout(200)
    return page.locator("#map-frame iframe").bounding_box()


def said(words: str, **values: object) -> str:
    return TEXTS["en"][words].format(**values)


# ---- inspect


DROP = """([place, event, name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
  const data = event === "paste" ? {clipboardData: transfer} : {dataTransfer: transfer};
  const made = event === "paste" ? new ClipboardEvent(event, {...data, bubbles: true, cancelable: true})
    : new DragEvent(event, {...data, bubbles: true, cancelable: true});
  document.querySelector(place).dispatchEvent(made);
}"""


@pytest.mark.parametrize(
    ("event", "place"), [("drop", "#intake .stage"), ("drop", "footer, body"), ("paste", "body")]
)
def test_an_image_that_is_dropped_or_pasted_gets_its_verdict(visit, event, place):
    page = visit().page
    page.evaluate(DROP, [place, event, "part.png", list(png("good"))])
    page.wait_for_selector("#answer .verdict.OK")
    assert page.inner_text(".headline").split() == ["○", "OK"]
    assert said("verdict.times", times=63) in page.inner_text("#answer")
    assert page.locator(".side").nth(0).locator("img").count() == 4
    page.wait_for_selector(".side .missing")  # the fifth has no picture: its name stands for it
    assert page.locator(".side .missing").first.inner_text() == "good/part-0004.png"
    assert "scratch" in page.locator(".side").nth(1).inner_text()
    assert page.inner_text("#counts").startswith(said("page.today", images=1))


def test_what_is_like_nothing_is_unknown_and_says_which_gate_and_why(visit):
    page = visit().page
    inspect(page, upload("inverted.png", png("stain")))
    page.wait_for_selector("#answer .verdict.unknown")
    words = page.inner_text("#answer .verdict")
    for key in (
        "verdict.unknown",
        "verdict.unlike",
        "verdict.rare",
        "verdict.gate.statistics",
        "warning.inverted",
    ):
        assert said(key) in words
    assert page.inner_text("#announce") == said("inspect.says", verdict="unknown", name="inverted.png")


def test_without_thresholds_it_says_so_and_what_to_do(visit):
    page = visit(FAKE.Fake(points=10, calibrated=False)).page
    inspect(page, upload("part.png", png("good")))
    assert "mitsugo calibrate" in page.locator("#answer .care").inner_text()


def test_several_images_are_judged_in_turn_and_one_is_large(visit):
    page = visit().page
    inspect(page, upload("a.png", png("good")), upload("b.png", png("scratch")), upload("c.txt", b"no image"))
    page.wait_for_selector("#results .short.failed")
    assert page.locator("#results .short.OK, #results .short.NG").count() == 2
    assert page.inner_text("#sum").split() == ["3", "images", "○", "1", "×", "1", "？", "0"]
    page.locator(".result", has_text="b.png").click()
    assert page.inner_text(".headline").split() == ["×", "NG"]
    page.locator(".result", has_text="c.txt").click()
    problem = page.inner_text("#answer .problem")
    assert said("error.415") in problem
    assert said("error.415.do") in problem
    assert "request fake-" in problem


def test_a_busy_service_is_asked_again_when_it_says(visit):
    fake = FAKE.Fake(points=10)
    fake.failures = [("/v1/classify", 503)]
    page = visit(fake).page
    inspect(page, upload("part.png", png("good")))
    page.wait_for_selector("#answer .verdict.OK")
    assert [path for _, path, *_ in fake.seen].count("/v1/classify") == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 507, 500])
def test_every_problem_is_told_in_words_with_what_to_do(visit, status):
    fake = FAKE.Fake(points=10)
    fake.failures = [("/v1/classify", status)]
    page = visit(fake).page
    inspect(page, upload("part.png", png("good")))
    problem = page.inner_text("#answer .problem")
    key = f"error.{status}" if status != 500 else "error.other"
    assert said(key, status=500) in problem
    assert said(f"{key}.do") in problem
    page.get_by_role("button", name=said("error.again")).click()
    page.wait_for_selector("#answer .verdict.OK")


def test_a_network_that_is_gone_is_told_and_what_was_given_is_kept(visit):
    opened = visit()
    opened.context.set_offline(True)
    inspect(opened.page, upload("part.png", png("good")))
    assert said("error.gone") in opened.page.inner_text("#answer .problem")
    opened.context.set_offline(False)
    opened.page.get_by_role("button", name=said("error.again")).click()
    opened.page.wait_for_selector("#answer .verdict.OK")


def test_a_camera_shows_a_live_picture_and_its_shutter_gives_a_verdict(visit):
    page = visit().page
    page.locator("#intake .open-camera").click()
    page.wait_for_function("() => document.querySelector('#intake video').videoWidth > 0")
    assert page.evaluate("document.activeElement.classList.contains('shutter')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer .verdict")
    page.locator("#tab-log").click()
    assert page.evaluate("document.querySelector('#intake video').srcObject") is None  # it is let go


def test_without_a_secure_context_the_camera_button_asks_the_system_for_a_photo(visit):
    page = visit(init="Object.defineProperty(window, 'isSecureContext', {get: () => false})").page
    with page.expect_file_chooser() as chooser:
        page.locator("#intake .open-camera").click()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files(upload("photo.png", png("scratch")))
    page.wait_for_selector("#answer .verdict.NG")


# ---- feedback and teaching


def test_right_is_noted_and_teaches_nothing(visit):
    opened = visit()
    inspect(opened.page, upload("part.png", png("good")))
    opened.page.get_by_role("button", name=said("feedback.right")).click()
    opened.page.wait_for_selector(".feedback .done")
    assert opened.fake.said == {"right": 1, "wrong": 0}
    assert opened.fake.taught == []


def test_wrong_is_tried_before_it_is_kept_and_can_be_undone(visit):
    opened = visit()
    page, fake = opened.page, opened.fake
    inspect(page, upload("part.png", png("good")))
    page.get_by_role("button", name=said("feedback.wrong")).click()
    assert page.locator(".classes button").all_inner_texts() == ["×\nscratch"]  # not the class it was given
    page.locator(".classes button").click()
    page.wait_for_selector(".feedback .gate")
    assert said("gate.whole", images=200) in page.inner_text(".gate")
    assert fake.taught == []
    page.get_by_role("button", name=said("feedback.keep")).click()
    page.wait_for_selector("#last .undo")
    assert [one["label"] for one in fake.taught] == ["scratch"]
    page.wait_for_function("() => document.getElementById('model').textContent.endsWith('r2')")
    page.locator("#last .undo").click()
    page.wait_for_function(
        f"() => document.getElementById('last').textContent.includes({said('undo.done', batch=1)!r})"
    )
    assert fake.taught == []
    unsafe = [(path, bool(key), sent) for method, path, key, sent in fake.seen if method != "GET"]
    assert unsafe == [
        ("/v1/classify", False, "mitsugo"),
        ("/v1/gallery", False, "mitsugo"),  # the dry run
        ("/v1/feedback", True, "mitsugo"),
        ("/v1/gallery/undo", True, "mitsugo"),
    ]


def test_golden_parts_that_would_become_wrong_are_named_before_anything_is_kept(visit):
    opened = visit()
    page, fake = opened.page, opened.fake
    inspect(page, upload("part.png", png("stain")))
    page.get_by_role("button", name=said("feedback.new")).click()
    page.get_by_role("button", name=said("feedback.try")).click()
    assert page.inner_text(".fresh .trouble") == said("feedback.noname")
    page.locator(".fresh input[name=label]").fill("risky")
    page.get_by_role("button", name=said("feedback.try")).click()
    assert page.inner_text(".fresh .trouble") == said("feedback.nokind")
    page.locator(".fresh input[value=true]").check()
    page.get_by_role("button", name=said("feedback.try")).click()
    page.wait_for_selector(".gate.broken")
    assert said("gate.broken", broken=3, images=200) in page.inner_text(".gate")
    assert page.locator(".gate .names li").all_inner_texts() == [
        f"golden/good-{n:03}.png" for n in (17, 58, 131)
    ]
    assert fake.taught == []
    page.get_by_role("button", name=said("feedback.anyway")).click()
    page.wait_for_selector(".feedback .done")
    assert fake.classes["risky"] is True


def test_a_try_again_sends_the_same_key_so_that_nothing_is_taught_twice(visit):
    opened = visit()
    page, fake = opened.page, opened.fake
    inspect(page, upload("part.png", png("good")))
    page.get_by_role("button", name=said("feedback.wrong")).click()
    page.locator(".classes button").click()
    fake.failures = [("/v1/feedback", 503)]
    page.get_by_role("button", name=said("feedback.keep")).click()
    page.get_by_role("button", name=said("error.again")).click()
    page.wait_for_selector(".feedback .done")
    keys = [key for _, path, key, _ in fake.seen if path == "/v1/feedback"]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len(fake.taught) == 1


def test_teach_takes_photos_of_a_new_class_shows_them_and_takes_them_back(visit):
    opened = visit()
    page, fake = opened.page, opened.fake
    page.locator("#tab-teach").click()
    assert page.inner_text("#taught .empty") == said("teach.empty")
    photos = [upload(f"stain-{n}.png", png("stain", 32 + n)) for n in range(5)]
    page.locator("#teach-intake input[multiple]").set_input_files(photos)
    page.locator("#photos .drop").first.click()
    assert page.locator("#photos li").count() == 4
    page.locator("#teach-label").fill("good")
    assert page.locator("#teach-kind").is_hidden()  # of a known class it is known
    page.locator("#teach-label").fill("stain")
    page.locator("#teach-kind input[value=true]").check()
    page.locator("#teach-note").fill("new supplier")
    page.locator("#who").fill("Sato")
    page.locator("#teach-form button[type=submit]").click()
    page.wait_for_selector("#teach-found .gate")
    assert fake.taught == []
    page.get_by_role("button", name=said("teach.keep")).click()
    page.wait_for_selector("#taught li")
    assert page.locator("#taught li").count() == 4
    assert fake.classes["stain"] is True
    page.locator("#taught li").first.get_by_role("button").click()
    page.get_by_role("button", name=said("teach.sure")).click()
    page.wait_for_function("() => document.querySelectorAll('#taught li').length === 3")
    page.locator("#last .undo").click()
    page.wait_for_function("() => document.querySelectorAll('#taught li').length === 4")
    page.locator("#tab-log").click()
    page.wait_for_selector("#entries li")
    entries = page.locator("#entries li").all_inner_texts()
    assert [said("log.undo", batch=2) in entries[0], said("log.undone", batch=3) in entries[1]] == [
        True,
        True,
    ]
    assert all(
        words in entries[2] for words in (said("log.add", images=4, label="stain"), "new supplier", "Sato")
    )
    page.locator("#entries .undo").click()
    page.wait_for_function("() => document.querySelectorAll('#entries .undo').length === 0")
    assert fake.taught == []


# ---- languages


def test_the_browsers_language_is_spoken_until_another_is_chosen(visit):
    page = visit(locale="ja-JP").page
    assert page.get_attribute("html", "lang") == "ja"
    assert page.inner_text("#tab-inspect") == TEXTS["ja"]["tab.inspect"]
    inspect(page, upload("part.png", png("stain")))
    page.wait_for_selector("#answer .verdict.unknown")
    assert "学習した部品のどれとも似ていません" in page.inner_text("#answer")
    page.get_by_role("button", name="English").click()
    assert said("verdict.unlike") in page.inner_text("#answer")
    assert page.title() == said("page.title")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.get_attribute("html", "lang") == "en"


def test_no_word_of_the_other_language_is_left_on_any_tab(visit):
    page = visit(locale="ja-JP").page
    inspect(page, upload("part.png", png("good")), upload("part-2.png", png("stain")))
    page.wait_for_selector("#results .short.unknown")
    page.get_by_role("button", name="English").click()
    page.locator(".result").first.click()
    for tab in ("inspect", "map", "teach", "log"):
        page.locator(f"#tab-{tab}").click()
        page.wait_for_timeout(300)
        words = page.inner_text("main") + page.inner_text("[role=tablist]")
        assert not any("\u3040" <= letter <= "\u9fff" for letter in words), tab


# ---- the map


def circle(page, box, across: float, down: float, radius: float, *, shift: bool = False):
    x, y = box["x"] + box["width"] * across, box["y"] + box["height"] * down
    if shift:
        page.keyboard.down("Shift")
    page.mouse.move(x + radius, y)
    page.mouse.down()
    for turn in range(1, 26):
        page.mouse.move(x + radius * math.cos(turn / 4), y + radius * math.sin(turn / 4))
    page.mouse.up()
    if shift:
        page.keyboard.up("Shift")


@pytest.mark.parametrize("shift", [False, True])
def test_a_lasso_chooses_points_and_their_images_are_shown(visit, shift):
    page = visit().page
    box = drawn_map(page)
    assert page.inner_text("#map-shown") == said("map.shown", shown="600", of="70,000")
    if not shift:
        page.locator("#map-lasso").click()
    circle(page, box, 0.72, 0.5, 70, shift=shift)
    page.wait_for_selector("#map-chosen .thumbs")
    count = int(page.inner_text("#map-chosen strong").split(": ")[1])
    assert 20 < count < 300
    assert "good" in page.inner_text("#map-chosen .tally")
    assert page.locator("#map-chosen .thumbs li").count() == min(count, 60)
    assert page.get_attribute("#map-lasso", "aria-pressed") == "false"
    page.get_by_role("button", name=said("map.clear")).click()
    assert page.locator("#map-chosen .thumbs").count() == 0


def test_a_finger_can_draw_the_lasso(visit):
    opened = visit(has_touch=True)
    box = drawn_map(opened.page)
    opened.page.locator("#map-lasso").click()
    session = opened.context.new_cdp_session(opened.page)
    x, y = box["x"] + box["width"] * 0.72, box["y"] + box["height"] * 0.5
    points = [(x + 70 * math.cos(turn / 4), y + 70 * math.sin(turn / 4)) for turn in range(26)]
    for number, (across, down) in enumerate(points):
        kind = "touchMove" if number else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": across, "y": down}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    opened.page.wait_for_selector("#map-chosen .thumbs")


def test_the_image_under_the_pointer_the_legend_and_the_image_inspected_last(visit):
    fake = FAKE.Fake(points=20_000)
    fake.map_waits = 1
    page = visit(fake).page
    inspect(page, upload("part.png", png("good")))
    page.wait_for_selector("#answer .verdict.OK")
    page.locator("#tab-map").click()
    assert page.inner_text("#map-state .busy") == said("map.computing", seconds=1)
    box = drawn_map(page)
    assert page.inner_text("#map-marked") == said("map.marked", name="part.png")
    assert page.frame_locator("#map-frame iframe").locator("#mark").is_visible()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] * 0.7 + 1, box["y"] + box["height"] / 2)
    page.wait_for_selector("#map-point[data-index]")
    assert "good/" in page.inner_text("#map-point")
    page.locator("#map-legend button", has_text="scratch").click()
    assert page.inner_text("#map-visible") == said("map.visible", count="10,000", shown="20,000")
    page.wait_for_timeout(300)
    page.locator("#map-lasso").click()
    circle(page, box, 0.5, 0.5, 150)
    page.wait_for_selector("#map-chosen .tally")
    assert page.locator("#map-chosen .tally li").count() == 1  # what is filtered out is not chosen
    page.locator("#map-all").click()
    assert page.inner_text("#map-visible") == ""


def test_a_map_without_images_says_what_to_do(visit):
    page = visit(FAKE.Fake(points=0)).page
    page.locator("#tab-map").click()
    assert page.inner_text("#map-state .empty") == said("map.empty")


def test_the_frame_of_the_map_has_no_rights_and_is_heard_alone(visit):
    page = visit().page
    drawn_map(page)
    assert page.get_attribute("#map-frame iframe", "sandbox") == "allow-scripts"
    frame = page.frame_locator("#map-frame iframe").locator("body")
    assert frame.evaluate("() => origin") == "null"
    page.evaluate("postMessage({kind: 'chosen', indices: new Uint32Array([1, 2])}, '*')")
    page.wait_for_timeout(100)
    assert page.locator("#map-chosen .thumbs").count() == 0  # a message of another window


# ---- names are names, whatever they are


def test_a_hostile_name_is_shown_as_it_is_and_never_runs(visit):
    opened = visit()
    page, fake = opened.page, opened.fake
    fake.classes[HOSTILE] = True
    inspect(page, upload(HOSTILE.replace("/", "∕"), png("good")), upload("b.png", png("stain")))
    page.wait_for_selector("#results .short.unknown")
    page.locator(".result").last.click()
    page.reload()
    page.wait_for_selector("body[data-ready]")
    inspect(page, upload("part.png", png("good")))
    page.get_by_role("button", name=said("feedback.wrong")).click()
    page.locator(".classes button", has_text="onerror").click()
    page.wait_for_selector(".gate")
    page.get_by_role("button", name=said("feedback.keep")).click()
    page.wait_for_selector(".feedback .done")
    shown = HOSTILE.replace("\u202e", "\\u202e")
    for tab, place in (("teach", "#taught"), ("log", "#entries"), ("map", "#map-legend")):
        page.locator(f"#tab-{tab}").click()
        page.wait_for_function(f"() => document.querySelector('{place}').textContent.includes('onerror')")
        assert shown in page.inner_text(place), tab
    page.wait_for_selector("#map-frame[data-drawn]")
    assert page.frame_locator("#map-frame iframe").locator("img, script:not([src])").count() == 0
    assert page.evaluate("window.taken") is None
    assert page.locator("img[src=x]").count() == 0


# ---- hands, eyes and screens


def test_everything_can_be_reached_and_seen_by_the_keyboard(visit):
    opened = visit()
    page = opened.page
    inspect(page, upload("a.png", png("good")), upload("b.png", png("scratch")))
    page.wait_for_selector("#results .short.NG")
    page.locator("#tab-inspect").focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.id") == "tab-log"
    page.keyboard.press("Home")
    expected = page.evaluate(
        "[...document.querySelectorAll('button, summary, input, a')]"
        ".filter((e) => e.checkVisibility() && e.tabIndex >= 0 && !e.disabled).length"
    )
    for _ in range(expected + 2):  # the way round leads over the browser's own bar
        page.keyboard.press("Tab")
        outline = page.evaluate(
            "() => { const e = document.activeElement; if (e === document.body) return null;"
            "e.dataset.reached = ''; const s = getComputedStyle(e);"
            "return [s.outlineStyle, parseFloat(s.outlineWidth), e.outerHTML] }"
        )
        assert outline is None or (outline[0] == "solid" and outline[1] >= 3), outline
    assert page.locator("[data-reached]").count() == expected
    right = page.get_by_role("button", name=said("feedback.right"))
    right.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".feedback .done")
    assert opened.fake.said["right"] == 1


def test_the_map_can_be_walked_by_the_keyboard(visit):
    page = visit().page
    drawn_map(page)
    page.frame_locator("#map-frame iframe").locator("#frame").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#map-point[data-index]")
    first = page.get_attribute("#map-point", "data-index")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => document.querySelector('#map-point').dataset.index !== '{first}'")
    page.keyboard.press("Enter")
    page.wait_for_selector("#map-chosen .thumbs")
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('#map-chosen .thumbs')")


@pytest.mark.parametrize("locale", ["ja-JP", "en-US"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_screen_and_every_button_fits_a_glove(visit, size, locale):
    page = visit(size=size, locale=locale).page
    inspect(
        page,
        upload("a-very-long-name-without-any-space-" * 4 + ".png", png("good")),
        upload("b.png", png("stain")),
    )
    page.wait_for_selector("#results .short.unknown")
    for tab in ("inspect", "map", "teach", "log"):
        page.locator(f"#tab-{tab}").click()
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], tab
        low = page.evaluate(
            "[...document.querySelectorAll('main button, .tabs button, .languages button')]"
            ".filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 47.5)"
            ".map((e) => e.outerHTML)"
        )
        assert low == [], tab
        sizes = page.evaluate(
            "[...new Set([...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && "
            "[...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))"
            ".map((e) => getComputedStyle(e).fontSize))]"
        )
        assert len(sizes) <= 3, (tab, sizes)


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_a_class_has_the_colour_that_it_has_in_the_report(visit, ground):
    page = visit().page
    colours = f"import('/static/colors.js').then((m) => m.classColors(30, {str(ground == 'dark').lower()}))"
    assert page.evaluate(colours) == list(class_colors(30, ground))


# ---- the map's time a frame


def main_thread_times(trace: bytes) -> tuple[float, float, int]:
    """Return the milliseconds of all tasks and of scripts alone, and the frames, of the thread of the map.

    Processor time and not time on the clock: without a graphics card the points are painted by other threads
    of the same processor, for which a frame then waits.
    """
    frames: Counter[tuple[int, int]] = Counter()
    spent: dict[str, Counter[tuple[int, int]]] = {"RunTask": Counter(), "FunctionCall": Counter()}
    for event in json.loads(trace)["traceEvents"]:
        thread = (event["pid"], event["tid"])
        frames[thread] += event["name"] == "FireAnimationFrame"
        if event["name"] in spent:
            spent[event["name"]][thread] += event.get("tdur", event.get("dur", 0)) / 1000
    drawing = frames.most_common(1)[0][0]
    return spent["RunTask"][drawing], spent["FunctionCall"][drawing], frames[drawing]


@pytest.mark.slow
def test_panning_60000_points_takes_4_ms_a_frame_of_the_main_thread_or_less(visit, browser):
    page = visit(FAKE.Fake(points=60_000)).page
    box = drawn_map(page)
    page.wait_for_timeout(1000)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    moves = 120
    kinds = ["devtools.timeline", "disabled-by-default-devtools.timeline"]
    browser.start_tracing(page=page, categories=kinds)
    for step in range(moves):
        page.mouse.move(x + 60 * math.sin(step / 8), y + 40 * math.sin(step / 5))
    tasks, scripts, frames = main_thread_times(browser.stop_tracing())
    page.mouse.up()
    print(  # noqa: T201
        f"60,000 points: {tasks / frames:.2f} ms of the main thread a frame (n = {frames}), "
        f"of scripts {scripts / moves:.2f} ms a move (n = {moves})"
    )
    assert frames >= moves
    assert tasks / frames <= 4
    assert scripts / moves <= 4
