"""The whole service in this process: it answers what `mitsugo inspect` says, and what it keeps is kept."""

import asyncio
import io
import json
import time

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from mitsugo.data.images import encode_png, read_image
from mitsugo.errors import ResourceError
from mitsugo.service import sights
from mitsugo.service.answering import Busy
from mitsugo.service.app import Options, create_app
from mitsugo.tasks.calibrate import calibrate
from mitsugo.tasks.gallery import Lesson, add, list_
from mitsugo.tasks.inspect import inspect
from mitsugo.tasks.live import Live

ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True, scope="module")
def _on_one_thread(one_thread):
    """Take effect for every test of this file."""


@pytest.fixture
def stains(tmp_path, write_parts):
    return write_parts(tmp_path / "stains", "stain", 8, 5)


@pytest.fixture
def service(run, line):
    """Start the service of a calibrated run, with a gate or without."""
    calibrate(run, str(line[1]), {"false_alarm": 0.2, "cost_escape": 10.0, "cost_overkill": 1.0})
    opened = []

    def start(**changes):
        live = Live(run, gate=changes.pop("gate", None))
        client = TestClient(create_app(live, Options(decoders=1, **changes)), base_url=ADDRESS)
        client.__enter__()
        opened.append((live, client))
        return client

    yield start
    for live, client in opened:
        client.__exit__(None, None, None)
        live.close()


@pytest.fixture
def client(service):
    return service(sights=False)


def images_of(paths):
    return [("image", (path.name, path.read_bytes())) for path in paths]


def test_verdicts_are_those_of_inspect_alone_or_together(client, run, stains, line):
    paths = [*stains, *sorted((line[1] / "ok").iterdir())[:6], *sorted((line[1] / "ng").iterdir())[:6]]
    expected = inspect(run, paths)["verdicts"]
    answer = client.post("/v1/classify", files=images_of(paths))
    assert answer.status_code == 200
    document = answer.json()
    assert (document["revision"], document["stale"], len(document["model"])) == (0, False, 64)
    assert [one["image"] for one in document["results"]] == [path.name for path in paths]
    for path, result, other in zip(paths, document["results"], expected, strict=True):
        (alone,) = client.post("/v1/classify", files=images_of([path])).json()["results"]
        for found in (result["verdict"], alone["verdict"]):
            assert (found["label"], found["judgement"]) == (other["label"], other["judgement"])
            for near, known in zip(found["neighbors"], other["neighbors"], strict=True):
                assert near["name"] == known["name"]
                assert near["distance"] == pytest.approx(known["distance"], abs=1e-6)


def test_embeddings_and_neighbours(client, run, stains):
    live = Live(run)
    pixels = np.stack([read_image(path, 1) for path in stains[:2]])
    document = client.post("/v1/embed", files=images_of(stains[:2])).json()
    assert document["dimension"] == 8
    expected = live.snapshot.model.embed(pixels)
    assert np.array([one["embedding"] for one in document["results"]]) == pytest.approx(expected, abs=1e-6)
    answer = client.post("/v1/neighbors", files=images_of(stains[:1]), data={"k": "3"}).json()
    (verdict,) = live.classify(pixels[:1], ["a"], [()])[1]
    near = answer["results"][0]["neighbors"]
    assert [one["name"] for one in near] == [one.name for one in verdict.neighbors[:3]]
    assert [one["row"] for one in near] == [one.row for one in verdict.neighbors[:3]]
    assert client.post("/v1/neighbors", files=images_of(stains[:1]), data={"k": "0"}).status_code == 422
    live.close()


def test_a_defect_is_taught_kept_and_taken_back(client, run, stains):
    data = {"label": "stain", "note": "夜勤", "who": "花子"}
    dry = client.post("/v1/gallery", files=images_of(stains[:5]), data=data | {"dry_run": "true"})
    assert (dry.status_code, dry.json()["batch"], dry.json()["revision"]) == (200, None, 0)
    kept = client.post("/v1/gallery", files=images_of(stains[:5]), data=data)
    assert kept.status_code == 201
    document = kept.json()
    assert (document["batch"], document["images"], document["new"], document["ng"]) == (1, 5, True, True)
    assert (document["revision"], document["taught"], document["stale"]) == (1, 5, True)
    assert list_(run)["classes"] == {"stain": {"images": 5, "ng": True}}, "it is on the disk"
    told = client.get("/v1/gallery").json()
    assert told["classes"] == {"stain": {"images": 5, "ng": True}}
    assert told["images"][0]["image"] == "stain000.png"
    later = client.post("/v1/classify", files=images_of(stains[5:])).json()
    assert (later["revision"], later["stale"]) == (1, True)
    undone = client.post("/v1/gallery/undo", json={"batch": None}).json()
    assert (undone["undoes"], undone["changed"], undone["taught"], undone["revision"]) == (1, 5, 0, 2)
    entries = client.get("/v1/log").json()["entries"]
    assert {(one["kind"], one["who"], one["undone"]) for one in entries if one["kind"] == "add"} == {
        ("add", "花子", 2)
    }


def test_images_are_removed_by_name_or_class(client, stains):
    client.post("/v1/gallery", files=images_of(stains[:3]), data={"label": "stain"})
    gone = client.request("DELETE", "/v1/gallery", json={"names": ["stain000.png"]}).json()
    assert (gone["batch"], gone["taught"]) == (2, 2)
    assert client.request("DELETE", "/v1/gallery", json={"label": "stain"}).json()["taught"] == 0
    again = client.request("DELETE", "/v1/gallery", json={"label": "stain"})
    assert again.status_code == 409
    assert "holds no image of class stain" in again.json()["detail"]
    assert client.request("DELETE", "/v1/gallery", json={"name": ["x"]}).status_code == 422


def test_a_retry_does_nothing_twice(client, stains):
    headers = {"Idempotency-Key": "k-1"}
    teach = [
        client.post("/v1/gallery", files=images_of(stains[:2]), data={"label": "stain"}, headers=headers)
        for _ in range(2)
    ]
    assert [one.json()["batch"] for one in teach] == [1, 1]
    said = {"label": "stain", "right": "false", "teach": "true"}
    told = [
        client.post(
            "/v1/feedback", files=images_of(stains[2:3]), data=said, headers={"Idempotency-Key": "k-2"}
        )
        for _ in range(2)
    ]
    assert [(one.json()["feedback"], one.json()["batch"]) for one in told] == [(1, 2), (1, 2)]
    undone = [
        client.post("/v1/gallery/undo", json={}, headers={"Idempotency-Key": "k-3"}).json() for _ in range(2)
    ]
    assert [(one["batch"], one["taught"]) for one in undone] == [(3, 2), (3, 2)]


def test_feedback_is_kept_and_counted(client, stains):
    said = {"label": "ng", "right": "true", "note": "seen"}
    answer = client.post("/v1/feedback", files=images_of(stains[:1]), data=said)
    assert (answer.status_code, answer.json()["feedback"], answer.json()["batch"]) == (201, 1, None)
    client.post("/v1/classify", files=images_of(stains[:3]))
    counts = client.get("/v1/counts").json()
    assert counts["feedback"] == {"right": 1, "wrong": 0}
    assert (counts["images"], sum(counts["judged"].values())) == (3, 3)
    (entry,) = client.get("/v1/log").json()["entries"]
    assert (entry["kind"], entry["right"], entry["label"], entry["note"]) == ("feedback", True, "ng", "seen")
    for bad in ({"label": "ng", "right": "perhaps"}, {"right": "true"}):
        assert client.post("/v1/feedback", files=images_of(stains[:1]), data=bad).status_code == 422
    assert client.post("/v1/feedback", files=images_of(stains[:2]), data=said).status_code == 422


def test_the_gate_refuses_and_says_what_would_break(service, tmp_path, write_parts):
    write_parts(tmp_path / "golden" / "ok", "ok", 6, 40)
    write_parts(tmp_path / "golden" / "ng", "ng", 6, 41)
    client = service(sights=False, gate=str(tmp_path / "golden"))
    wrong = write_parts(tmp_path / "wrong", "ok", 30, 42)
    data = {"label": "dent", "ng": "true"}
    refused = client.post("/v1/gallery", files=images_of(wrong), data=data)
    assert refused.status_code == 409
    assert refused.json()["gate"]["broken"]
    assert client.get("/v1/gallery").json()["images"] == []
    accepted = client.post("/v1/gallery", files=images_of(wrong), data=data | {"accept": "true"})
    assert accepted.status_code == 201
    assert accepted.json()["gate"]["broken"] == refused.json()["gate"]["broken"]


def test_what_another_process_teaches_is_in_the_next_answer(client, run, stains):
    add(run, stains[:5], Lesson(label="stain"))
    document = client.post("/v1/classify", files=images_of(stains[5:6])).json()
    assert (document["revision"], document["stale"]) == (1, True)


def test_what_is_no_image_is_refused_without_a_path(client, stains):
    content = stains[0].read_bytes()
    for name, body, status in (
        ("a.png", b"no image at all", 415),
        ("a.png", content[: len(content) // 2], 422),
        ("a.png", b"", 422),
    ):
        answer = client.post("/v1/classify", files=[("image", (name, body))])
        assert answer.status_code in {status, 415, 422}
        assert answer.headers["content-type"] == "application/problem+json"
        document = answer.json()
        assert set(document) == {"type", "title", "status", "detail", "request_id"}
        assert document["request_id"] == answer.headers["x-request-id"]
        assert "/" not in document["detail"].replace("image/", "")
    assert client.post("/v1/classify", files=images_of(stains)).status_code == 200


def test_an_image_of_another_size_is_framed_or_resized(client):
    large = np.random.default_rng(0).integers(0, 256, (1, 48, 60)).astype(np.uint8)
    answer = client.post("/v1/classify", files=[("image", ("big.png", encode_png(large)))])
    assert answer.status_code == 200


def test_a_blank_image_teaches_nothing(client):
    blank = io.BytesIO()
    Image.new("L", (24, 24), 9).save(blank, "PNG")
    answer = client.post(
        "/v1/gallery", files=[("image", ("b.png", blank.getvalue()))], data={"label": "stain"}
    )
    assert answer.status_code == 422
    assert "shows one value all over" in answer.json()["detail"]


def test_health_metrics_and_documents(client, stains):
    assert client.get("/health/live").json() == {"live": True}
    assert client.get("/health/ready").json()["ready"] is True
    client.post("/v1/classify", files=images_of(stains[:2]))
    text = client.get("/metrics").text
    assert 'mitsugo_requests_total{route="/v1/classify",status="200"} 1.0' in text
    assert "mitsugo_gallery_revision 0.0" in text
    assert "mitsugo_batch_images_count 1.0" in text
    document = client.get("/openapi.json").json()
    assert {"/v1/classify", "/v1/gallery", "/v1/feedback", "/health/live"} <= document["paths"].keys()
    about = client.get("/v1/model").json()
    assert {one["name"]: one["ng"] for one in about["class_names"]} == {"ng": True, "ok": False}
    assert about["calibration"]["false_alarm"]["promised"] == 0.2
    for page in ("/", "/docs", "/map-frame", "/static/docs.js", "/static/vendor/regl.min.js"):
        assert client.get(page).status_code == 200, page
    for gone in ("/static/vendor/x.js", "/static/../app.py", "/static/%2e%2e/app.py", "/nothing"):
        assert client.get(gone).status_code in {400, 404}, gone


def test_ready_goes_before_the_service_does(run):
    live = Live(run)
    app = create_app(live, Options(decoders=1, sights=False))
    with TestClient(app, base_url=ADDRESS) as client:
        assert client.get("/health/ready").status_code == 200
        app.stopping()
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
    live.close()


def test_who_comes_while_too_many_wait_is_told_to_come_again(client, stains, monkeypatch):
    parts = client.app.parts

    async def full(_):
        await asyncio.sleep(0)
        raise Busy

    monkeypatch.setattr(parts.answers, "verdicts", full)
    answer = client.post("/v1/classify", files=images_of(stains[:1]))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_map_that_cannot_be_computed_is_told(service, stains, monkeypatch):
    def failing(vectors, *, flatten):
        raise ResourceError("the map could not be computed")

    monkeypatch.setattr(sights, "mapped", failing)
    client = service()
    end = time.monotonic() + 60
    while "Retry-After" in client.get("/v1/map").headers and time.monotonic() < end:
        time.sleep(0.02)
    for answer in (client.get("/v1/map"), client.post("/v1/map", files=images_of(stains[:1]))):
        assert answer.status_code == 503
        assert "Retry-After" not in answer.headers
        assert "the map could not be computed; start the service again" in answer.json()["detail"]


def test_pictures_and_the_map(service, stains, line):
    client = service()
    end = time.monotonic() + 60
    while client.get("/v1/map").status_code == 503 and time.monotonic() < end:
        time.sleep(0.2)
    document = client.get("/v1/map").json()
    n = document["of"]
    assert document["shown"] == n == len(document["points"]) == len(document["names"])
    assert np.abs(np.array(document["points"])).max() == pytest.approx(1, abs=1e-3)
    assert set(document["class_names"]) == {"ok", "ng"}
    row = document["rows"][0]
    picture = client.get(f"/v1/pictures/{row}")
    assert picture.headers["content-type"] == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(picture.content)))
    original = np.asarray(Image.open(line[1] / document["names"][0]))
    assert np.array_equal(shown, original)
    assert client.get("/v1/pictures/100000").status_code == 404
    client.post("/v1/gallery", files=images_of(stains[:1]), data={"label": "stain"})
    after = client.get("/v1/map").json()
    assert (after["of"], after["class_names"][-1], after["ng"][-1]) == (n + 1, "stain", True)
    assert client.get(f"/v1/pictures/{n}?revision=1").status_code == 200
    assert client.get(f"/v1/pictures/{n}?revision=0").status_code == 404
    (placed,) = client.post("/v1/map", files=images_of(stains[:1])).json()["results"]
    assert placed["point"] == pytest.approx(after["points"][-1], abs=1e-3)


def test_answers_are_strict_json(client, stains):
    text = client.post("/v1/classify", files=images_of(stains)).text

    def refuse(name):
        raise AssertionError(name)

    json.loads(text, parse_constant=refuse)
