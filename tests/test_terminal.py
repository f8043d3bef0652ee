"""What a person reads: lines in a log, a bar in a terminal, results as plain text."""

import dataclasses
import io
import os
import sys

import pytest

from mitsugo import terminal
from mitsugo.training import Progress
from mitsugo.values import Epoch, Likeness, Neighbor, Position, Verdict

EPOCH = Epoch(
    epoch=2,
    train_loss=0.12345,
    validation_loss=0.5,
    learning_rate=2e-5,
    seconds=1.26,
    core_seconds=2.0,
    images=96,
)
SCORE = {"value": 0.98, "low": 0.975, "high": 0.985, "n": 10_000, "interval": "Wilson", "groups": None}


class FakeTerminal(io.StringIO):
    """What says that it is a terminal."""

    def isatty(self):
        return True


def progress(batch, loss, epoch=1):
    return Progress(epoch=epoch, batch=batch, position=Position(), loss=loss)


def tell(talk):
    """Tell all that a training of two epochs of three batches tells."""
    talk.say("begun [1/2]")
    for epoch in (1, 2):
        for batch, loss in enumerate((0.5, None, 0.25)):
            talk.progress(progress(batch, loss, epoch), 2)
    talk.warn("mind [this]")
    talk.epoch(EPOCH, 2)


def test_a_log_gets_plain_lines(capsys):
    with terminal.talking(quiet=False) as talk:
        tell(talk)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "begun [1/2]",
        "epoch 1/2  batch    0  loss 0.5000",
        "epoch 1/2  batch    2  loss 0.2500",
        "epoch 2/2  batch    0  loss 0.5000",
        "epoch 2/2  batch    2  loss 0.2500",
        "mitsugo: warning: mind [this]",
        "epoch 2/2  training loss 0.1235  validation loss 0.5000  rate 2e-05  1.3 s",
    ]


def test_an_epoch_says_what_was_active_and_what_it_is_worth_where_that_is_known(capsys):
    watched = {"active": 25, "valid": 1000, "metrics": {"validation_accuracy": 0.98765}}
    with terminal.talking(quiet=False) as talk:
        talk.epoch(dataclasses.replace(EPOCH, **watched), 12)
    assert capsys.readouterr().err == (
        "epoch 2/12  training loss 0.1235  active 2.50%  validation loss 0.5000  "
        "validation 5-NN 98.77%  rate 2e-05  1.3 s\n"
    )


def test_quiet_keeps_the_warnings_only(capsys):
    with terminal.talking(quiet=True) as talk:
        tell(talk)
    assert capsys.readouterr() == ("", "mitsugo: warning: mind [this]\n")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_gets_a_bar_unless_quiet(monkeypatch, quiet):
    monkeypatch.setattr(sys, "stderr", FakeTerminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with terminal.talking(quiet=quiet) as talk:
        tell(talk)
    said = sys.stderr.getvalue()
    assert ("\x1b[" in said) is not quiet
    assert ("begun [1/2]" in said) is not quiet
    assert ("training loss 0.1235" in said) is not quiet
    assert "mitsugo: warning: mind [this]" in said


def test_scores_say_their_interval_and_their_number():
    document = {
        "scores": {
            "knn_accuracy": SCORE,
            "precision_at_1": SCORE,
            "silhouette": {**SCORE, "value": 0.5, "low": 0.4999, "high": 0.51, "n": 5000},
            "between_within": {**SCORE, "value": 5.0, "low": 4.0, "high": 6.0},
        },
        "inspection": None,
        "epochs": 10,
        "seconds": 12.34,
        "seed": 7,
        "bundle": "a/model.mitsugo",
        "report": os.fsdecode(b"a\n\xff/report.html"),
    }
    assert terminal.trained(document).splitlines() == [
        "5-NN accuracy     98.00 %  (97.50 to 98.50, n = 10,000)",
        "1-NN accuracy     98.00 %  (97.50 to 98.50, n = 10,000)",
        "silhouette        0.500  (0.500 to 0.510, n = 5,000)",
        "between / within  5.000  (4.000 to 6.000, n = 10,000)",
        "trained   10 epochs in 12.3 s, seed 7",
        "model   a/model.mitsugo",
        r"report  'a\n\udcff/report.html'",
    ]


def test_an_evaluation_names_model_and_source():
    document = {
        "model": "runs/a",
        "source": "digits\n",
        "scores": {"knn_accuracy": SCORE},
        "inspection": None,
    }
    assert terminal.evaluated(document).splitlines() == [
        r"runs/a on 'digits\n'",
        "5-NN accuracy     98.00 %  (97.50 to 98.50, n = 10,000)",
    ]


def test_groups_escapes_and_overkill_are_told():
    rate = {"count": 0, "n": 20, "upper": 0.1391, "words": "0 of 20, at most 13.9 %"}
    document = {
        "model": "runs/a",
        "source": "parts",
        "scores": {"ami": {**SCORE, "value": 0.5, "low": 0.4, "high": 0.6, "groups": 28}},
        "inspection": {"ng": ["dent"], "escapes": rate, "overkill": rate, "groups_with_escapes": rate},
    }
    assert terminal.evaluated(document).splitlines() == [
        "runs/a on parts",
        "AMI               0.500  (0.400 to 0.600, n = 10,000 in 28 groups)",
        "escapes           0 of 20, at most 13.9 %  (one-sided 95 %, Clopper-Pearson)",
        "  in groups       0 of 20, at most 13.9 %  (one-sided 95 %, Clopper-Pearson)",
        "overkill          0 of 20, at most 13.9 %  (one-sided 95 %, Clopper-Pearson)",
    ]


def row(name, **scores):
    return {"name": name, "knn_accuracy": SCORE, "precision_at_1": SCORE, **scores, **SPENT}


SPENT = {"epochs": 10, "images_seen": 1_800_000, "core_seconds": 40.06}
PAIR = {"one": "b", "other": "a", "difference": 0.0123, "low": 0.001, "high": 0.02, "p_holm": 0.04}


def test_a_comparison_is_a_table_and_a_line_a_pair():
    comparison = {
        "recipes": [row("a"), row("a long name", silhouette=SCORE, between_within=SCORE)],
        "pairs": [{**PAIR, "verdict": "better"}, {**PAIR, "verdict": "cannot tell"}],
        "how": "How it was done.",
    }
    assert terminal.compared(comparison).splitlines() == [
        "recipe       5-NN, %                 1-NN, %  silhouette  between/within  epochs  images     core-s",
        "a            98.00 (97.50 to 98.50)  98.00    -           -               10      1,800,000  40.1",
        "a long name  98.00 (97.50 to 98.50)  98.00    0.980       0.98            10      1,800,000  40.1",
        "",
        "b - a: 1.23 (0.10 to 2.00) points, p = 0.0400: b is better",
        "b - a: 1.23 (0.10 to 2.00) points, p = 0.0400: cannot tell",
        "",
        "How it was done.",
    ]


def test_verdicts_are_blocks_with_their_evidence():
    near = [{"name": "x", "label": "OK", "distance": 0.5}, {"name": "y", "label": "NG", "distance": 12.25}]
    neighbors = tuple(Neighbor(row=row, **one) for row, one in enumerate(near))
    verdict = Verdict(image="i.png", label="OK", agreement=0.5, neighbors=neighbors)
    block = "i.png: OK  (50% of the neighbours)\n    0.5000  OK  x\n   12.2500  NG  y"
    lot = {
        "images": 2, "labels": {"OK": 2}, "judgements": {}, "calibration": None, "escapes": None,
        "look_alikes": [],
    }  # fmt: skip
    assert terminal.inspected({"verdicts": [verdict.plain()], "lot": lot}) == block
    noted = dataclasses.replace(verdict, warnings=("resized",)).plain()
    told = terminal.inspected({"verdicts": [noted] * 2, "lot": lot})
    assert told.startswith(f"{block}\n  note: resized\n\n{block}\n  note: resized\n\n2 images: 2 OK\n")
    assert told.endswith("no thresholds are set, so nothing is unknown: mitsugo calibrate sets them")


def test_an_unknown_image_is_told_with_what_it_is_likest():
    likeness = Likeness(label="OK", scaled=3.21, p_value=None, exemplars=())
    verdict = Verdict(
        image="i.png", label="unknown", agreement=1.0, neighbors=(), winner=likeness, unknown=True,
        judgement="unknown", p_value=0.004, gate="statistics", ng_score=0.25, in_gallery="a.png",
    )  # fmt: skip
    lot = {"images": 1}
    told = terminal.inspected({"verdicts": [verdict.plain()], "lot": lot})
    assert told.splitlines() == [
        "i.png: unknown  (p 0.004, NG score 0.25, unusual as a picture, likest OK)  (100% of the neighbours)",
        "  winner: OK, 3.21 x its usual distance: ",
        "  note: this very image is in the gallery (a.png); it did not vote",
    ]


def test_of_many_images_each_has_a_line_and_the_lot_is_told():
    verdict = Verdict(
        image="i.png",
        label="scratch",
        agreement=1.0,
        neighbors=(),
        judgement="NG",
        p_value=0.5,
        ng_score=0.75,
    ).plain()
    lot = {
        "images": 21, "labels": {"scratch": 21}, "judgements": {"NG": 21}, "calibration": {"stale": True},
        "escapes": {"upper": 0.05, "promised": True, "confidence": 0.95, "independent_ng": 60},
        "look_alikes": ["a.png", "b.png"],
    }  # fmt: skip
    lines = terminal.inspected({"verdicts": [verdict] * 21, "lot": lot}).splitlines()
    assert lines[:21] == ["i.png: NG  scratch  (p 0.5, NG score 0.75)"] * 21
    assert lines[21:] == [
        "",
        "21 images: 21 NG",
        "classes: 21 scratch",
        "no promise holds until mitsugo calibrate scores the thresholds again",
        "of NG parts at most 5 % pass as OK (95 % confidence, 60 independent NG images)",
        "of those that passed, look at these first: a.png, b.png",
    ]


def test_of_many_images_a_note_on_all_is_told_once_and_others_with_their_image():
    verdict = Verdict(image="i.png", label="scratch", agreement=1.0, neighbors=(), warnings=("old",)).plain()
    twin = {**verdict, "in_gallery": "twin.png", "warnings": ["old", "looks inverted"]}
    lot = {
        "images": 21, "labels": {"scratch": 21}, "judgements": {}, "calibration": None, "escapes": None,
        "look_alikes": [],
    }  # fmt: skip
    lines = terminal.inspected({"verdicts": [verdict] * 20 + [twin], "lot": lot}).splitlines()
    assert lines[19:23] == [
        "i.png: scratch",
        (
            "i.png: scratch  note: this very image is in the gallery (twin.png); it did not vote"
            "  note: looks inverted"
        ),
        "",
        "note on all of them: old",
    ]


def test_what_is_counted_once_is_singular():
    changed = {"batch": 1, "taught": 1, "gallery": "g", "stale": False}
    assert terminal.gallery_changed(changed) == "batch 1: 1 taught image stands in g"
    assert terminal.gallery_verified({"images": 1, "gallery": "g"}) == "1 image, none damaged: g"
    assert terminal.gallery_exported({"images": 1, "lost": 0, "out": "o"}) == "1 taught image: o"


def test_pairs_stand_in_columns():
    assert terminal.pairs({"a": 1, "long": [2]}) == "a     1\nlong  [2]"
    assert terminal.pairs({}) == ""
