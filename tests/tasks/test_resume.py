"""A training that was stopped, at any step and by anything, ends where one that was not would have."""

import json
import shutil
import signal

import pytest
import torch

from mitsugo.errors import DataError, Interrupted, ModelError, UsageError
from mitsugo.runs import RunFolder
from mitsugo.tasks.talk import SILENT
from mitsugo.tasks.train import train

STEPS = [*[(1, batch) for batch in range(4)], (1, None), *[(2, batch) for batch in range(4)], (2, None)]
STEPS += [*[(3, batch) for batch in range(4)], (3, None)]
"""Where a run of three epochs of four batches can be stopped: after each batch, and after each epoch."""


class Killed(BaseException):
    """What nothing catches."""


class StopAt:
    """Hears of a training and lets a signal arrive at one step of it."""

    def __init__(self, epoch, batch, number=signal.SIGTERM):
        self.at, self.number, self.said, self.warned = (epoch, batch), number, [], []

    def say(self, sentence):
        self.said.append(sentence)

    def warn(self, sentence):
        self.warned.append(sentence)

    def progress(self, progress, epochs):
        if self.at == (progress.epoch, progress.batch):
            signal.raise_signal(self.number)

    def reading(self, done, total):
        pass

    def epoch(self, epoch, epochs):
        if self.at == (epoch.epoch, None):
            signal.raise_signal(self.number)


def lines_of(run):
    return (run / "history.jsonl").read_bytes().splitlines()


def stopped(options, epoch, batch, number=signal.SIGTERM):
    with pytest.raises(Interrupted) as interruption:
        train(options, StopAt(epoch, batch, number))
    return interruption.value


@pytest.mark.usefixtures("plain_pictures")
@pytest.mark.parametrize("recipe", ["article", "article-siamese"])
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_run_stopped_at_any_step_ends_with_the_bits_of_one_that_was_not(
    tmp_path, tiny_options, straight, without_times, recipe, step
):
    epoch, batch = step
    error = stopped(tiny_options(tmp_path / "run", recipe=recipe), epoch, batch)
    finished, batches = (epoch, 0) if batch is None else (epoch - 1, batch + 1)
    assert error.exit_code == 143
    assert f"stopped by SIGTERM after epoch {finished} of 3 and {batches} batches; saved in" in str(error)
    assert "--resume" in str(error)
    before = lines_of(tmp_path / "run") if finished else []
    assert len(before) == finished

    talk = StopAt(None, None)
    again = train(tiny_options(tmp_path / "run", recipe=recipe, resume=True), talk)
    assert again.summary["weights_sha256"] == straight[recipe].summary["weights_sha256"]
    assert without_times(again.summary["history"]) == without_times(straight[recipe].summary["history"])
    assert again.summary["scores"] == straight[recipe].summary["scores"]
    assert f"going on after epoch {finished}, batch {batches} of the next" in talk.said
    lines = lines_of(tmp_path / "run")
    assert lines[:finished] == before, "the lines of finished epochs stay as they are"
    assert json.loads(lines[finished]) == {"resumed_after_epoch": finished, "batches": batches}
    assert [json.loads(line)["epoch"] for line in lines[finished + 1 :]] == [1, 2, 3][finished:]


@pytest.fixture(scope="module")
def straight(tmp_path_factory, tiny_options, tiny_run):
    """Runs that nothing stopped."""
    siamese = tiny_options(tmp_path_factory.mktemp("straight") / "siamese", recipe="article-siamese")
    return {"article": tiny_run, "article-siamese": train(siamese)}


@pytest.mark.usefixtures("plain_pictures")
def test_a_run_stopped_twice_by_ctrl_c(tmp_path, tiny_options, straight):
    options = tiny_options(tmp_path / "run")
    assert stopped(options, 1, 2, signal.SIGINT).exit_code == 130
    resumed = tiny_options(tmp_path / "run", resume=True)
    assert "stopped by SIGINT after epoch 2 of 3 and 1 batches" in str(stopped(resumed, 3, 0, signal.SIGINT))
    again = train(resumed)
    assert again.summary["weights_sha256"] == straight["article"].summary["weights_sha256"]
    kinds = [next(iter(json.loads(line))) for line in lines_of(again.run)]
    resumption = "resumed_after_epoch"
    assert kinds == [resumption, "epoch", "epoch", resumption, "epoch"]


@pytest.mark.usefixtures("plain_pictures")
@pytest.mark.parametrize("step", ["save", "append"])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("before", [True, False])
def test_a_kill_before_and_after_each_write_of_an_epoch(
    tmp_path, tiny_options, straight, monkeypatch, step, number, before
):
    real, calls = getattr(RunFolder, step), []

    def killing(folder, content):
        calls.append(1)
        if before and len(calls) == number:
            raise Killed
        real(folder, content)
        if len(calls) == number:
            raise Killed

    monkeypatch.setattr(RunFolder, step, killing)
    with pytest.raises(Killed):
        train(tiny_options(tmp_path / "run"))
    monkeypatch.setattr(RunFolder, step, real)
    saved = number - (step == "save" and before)
    again = train(tiny_options(tmp_path / "run", resume=True))
    assert again.summary["weights_sha256"] == straight["article"].summary["weights_sha256"]
    entries = [json.loads(line) for line in lines_of(again.run)]
    assert [entry["epoch"] for entry in entries if "epoch" in entry] == [1, 2, 3]
    resumptions = [entry["resumed_after_epoch"] for entry in entries if "epoch" not in entry]
    assert resumptions == ([saved] if saved else [])


@pytest.mark.usefixtures("plain_pictures")
def test_a_line_torn_at_any_byte_is_written_anew_from_the_checkpoint(tmp_path, tiny_options, straight):
    stopped(tiny_options(tmp_path / "run"), 2, None)
    first, second = lines_of(tmp_path / "run")
    for length in range(0, len(second), 23):
        run = tmp_path / str(length)
        shutil.copytree(tmp_path / "run", run)
        (run / "history.jsonl").write_bytes(first + b"\n" + second[:length])
        again = train(tiny_options(run, resume=True))
        assert again.summary["weights_sha256"] == straight["article"].summary["weights_sha256"]
        assert lines_of(run)[:2] == [first, second]
        assert len(lines_of(run)) == 4


@pytest.mark.usefixtures("plain_pictures")
def test_more_epochs_make_of_a_finished_run_what_a_longer_one_would_have_been(
    tmp_path, tiny_options, without_times
):
    """Nine epochs, because the rate falls at the eighth."""
    longer = train(tiny_options(tmp_path / "longer", epochs=9))
    short = train(tiny_options(tmp_path / "short", epochs=4))
    lines = lines_of(short.run)
    extended = train(tiny_options(tmp_path / "short", epochs=9, resume=True))
    assert extended.summary["weights_sha256"] == longer.summary["weights_sha256"]
    assert without_times(extended.summary["history"]) == without_times(longer.summary["history"])
    assert extended.summary["scores"] == longer.summary["scores"]
    assert lines_of(short.run)[:4] == lines
    assert json.loads(lines_of(short.run)[4]) == {"resumed_after_epoch": 4, "batches": 0}
    rates = [epoch["learning_rate"] for epoch in extended.summary["history"]]
    assert rates == pytest.approx([2e-4] * 7 + [2e-5] * 2)


@pytest.mark.usefixtures("plain_pictures")
def test_a_run_that_was_extended_and_stopped_remembers_its_new_total(tmp_path, tiny_options, straight):
    train(tiny_options(tmp_path / "run", epochs=1))
    stopped(tiny_options(tmp_path / "run", epochs=3, resume=True), 2, 1)
    again = train(tiny_options(tmp_path / "run", epochs=None, resume=True))
    assert again.summary["epochs"] == 3
    assert again.summary["weights_sha256"] == straight["article"].summary["weights_sha256"]


@pytest.mark.usefixtures("plain_pictures")
def test_resuming_starts_a_run_where_there_is_none(tmp_path, tiny_options, straight):
    run = train(tiny_options(tmp_path / "run", resume=True))
    assert run.summary["weights_sha256"] == straight["article"].summary["weights_sha256"]
    assert len(lines_of(run.run)) == 3


def test_a_finished_run_is_not_trained_again_and_says_so(tmp_path, tiny_options, tiny_run):
    shutil.copytree(tiny_run.run, tmp_path / "run")
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").iterdir() if file.name != ".lock"}
    talk = StopAt(None, None)
    again = train(tiny_options(tmp_path / "run", resume=True), talk)
    assert again.summary == tiny_run.summary
    assert talk.said == [f"{tmp_path / 'run'} is finished: 3 epochs; a larger --epochs would go on"]
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps


@pytest.mark.usefixtures("plain_pictures")
def test_a_run_that_lost_its_report_draws_it_again_without_training(tmp_path, tiny_options, tiny_run):
    shutil.copytree(tiny_run.run, tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    again = train(tiny_options(tmp_path / "run", resume=True))
    assert again.summary == tiny_run.summary
    assert again.report.exists()


def test_what_was_left_out_is_taken_from_the_run(tmp_path, tiny_options, tiny_run, monkeypatch):
    shutil.copytree(tiny_run.run, tmp_path / "run")
    left_out = {"epochs": None, "batch_size": None, "dimension": None, "resume": True}
    assert train(tiny_options(tmp_path / "run", **left_out)).summary == tiny_run.summary


@pytest.mark.usefixtures("plain_pictures")
def test_a_start_epoch_that_the_usual_total_does_not_reach_is_no_hindrance(tmp_path, tiny_options):
    train(tiny_options(tmp_path / "run", epochs=13, start_epoch=12))
    again = train(tiny_options(tmp_path / "run", epochs=None, start_epoch=12, resume=True))
    assert [epoch["epoch"] for epoch in again.summary["history"]] == [13]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "article-siamese"}, "--recipe article-siamese: .* began with article; leave it out"),
        ({"seed": 1}, "--seed 1: .* began with 0"),
        ({"margin": 2.0}, r"--margin 2\.0: .* began with 1\.0"),
        ({"batch_size": 16}, "--batch-size 16: .* began with 8"),
        ({"learning_rate": 1e-3}, r"--learning-rate 0\.001: .* began with 0\.0002"),
        ({"dimension": 2}, "--dimension 2: .* began with 3"),
        ({"start_epoch": 1}, "--start-epoch 1: .* began with 0"),
        ({"device": "cuda"}, "--device cuda: .* began with cpu"),
        ({"epochs": 2}, "--epochs 2: .* is planned for 3; a total can only grow"),
        ({"source": "digits"}, "SOURCE digits: .* was trained on other images .*tiny"),
        ({"overwrite": True}, "--resume goes on and --overwrite begins anew"),
    ],
)
def test_options_that_are_not_the_runs_are_refused_by_name(tiny_options, tiny_run, change, message):
    before = {file: file.stat().st_mtime_ns for file in tiny_run.run.iterdir() if file.name != ".lock"}
    with pytest.raises(UsageError, match=message):
        train(tiny_options(tiny_run.run, resume=True, **change))
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_run_is_never_overwritten_unless_told(tiny_options, tiny_run):
    with pytest.raises(UsageError, match="holds another run; go on with it by --resume, replace it"):
        train(tiny_options(tiny_run.run))


@pytest.mark.usefixtures("plain_pictures")
def test_another_thread_count_is_set_back(tmp_path, tiny_options, straight):
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        stopped(tiny_options(tmp_path / "run"), 1, 1)
        torch.set_num_threads(2)
        again = train(tiny_options(tmp_path / "run", resume=True))
        assert torch.get_num_threads() == 1
        assert json.loads((again.run / "run.json").read_bytes())["threads"] == 1
    finally:
        torch.set_num_threads(usual)


@pytest.mark.usefixtures("plain_pictures")
def test_other_versions_are_warned_of(tmp_path, tiny_options):
    stopped(tiny_options(tmp_path / "run"), 1, 1)
    path = tmp_path / "run" / "run.json"
    described = json.loads(path.read_bytes())
    described["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(described))
    talk = StopAt(None, None)
    train(tiny_options(tmp_path / "run", resume=True), talk)
    (warning,) = talk.warned
    assert "other versions than this run began with" in warning


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("run.json", lambda content: content[:-20], "run.json: is damaged; train again with --overwrite"),
        ("run.json", lambda content: b"[]", "run.json: is damaged"),
        ("run.json", lambda content: b"{}", "run.json: was doctored, or written by another version"),
        ("run.json", lambda c: c.replace(b'"threads": ', b'"threads": -'), "run.json: was doctored"),
        ("run.json", lambda c: c.replace(b'"versions"', b'"verses"'), "run.json: was doctored"),
        ("run.json", lambda c: c.replace(b'"margin"', b'"merging"'), "run.json: was doctored"),
        ("run.json", lambda c: c.replace(b'"margin": 1.0', b'"margin": -1'), "run.json: was doctored"),
        ("checkpoint.mitsugo", lambda content: content[:-1], "checkpoint.mitsugo: is truncated or damaged"),
        ("checkpoint.mitsugo", lambda content: content[: len(content) // 2], "is truncated or damaged"),
        ("checkpoint.mitsugo", lambda content: b"", "checkpoint.mitsugo: is no mitsugo file"),
        (
            "checkpoint.mitsugo",
            lambda content: content[:999] + bytes([content[999] ^ 1]) + content[1000:],
            "checkpoint.mitsugo: is truncated or damaged",
        ),
        ("scores.json", lambda content: content[:-20], "scores.json: is damaged"),
    ],
)
def test_a_damaged_run_is_refused_by_the_file(tmp_path, tiny_options, tiny_run, file, damage, message):
    shutil.copytree(tiny_run.run, tmp_path / "run")
    path = tmp_path / "run" / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=message):
        train(tiny_options(tmp_path / "run", epochs=4, resume=True))


def test_a_lost_checkpoint_is_told_and_not_trained_over(tmp_path, tiny_options, tiny_run):
    shutil.copytree(tiny_run.run, tmp_path / "run")
    (tmp_path / "run" / "checkpoint.mitsugo").unlink()
    with pytest.raises(ModelError, match=r"checkpoint.mitsugo: is missing, but history.jsonl tells"):
        train(tiny_options(tmp_path / "run", epochs=4, resume=True))


def test_a_checkpoint_of_another_network_is_refused(tmp_path, tiny_options, tiny_run):
    shutil.copytree(tiny_run.run, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"dimension": 3', b'"dimension": 5'))
    with pytest.raises(ModelError, match="the checkpoint is of another network than run.json describes"):
        train(tiny_options(tmp_path / "run", dimension=5, epochs=4, resume=True))


def test_a_source_that_changed_is_other_images(tmp_path, tiny_options, tiny_run, write_idx):
    changed = write_idx(tmp_path / "changed", seed=1)
    with pytest.raises(UsageError, match="was trained on other images"):
        train(tiny_options(tiny_run.run, source=str(changed), resume=True))
    with pytest.raises(DataError, match="cannot be read"):
        train(tiny_options(tiny_run.run, source=str(tmp_path / "gone"), resume=True), SILENT)
