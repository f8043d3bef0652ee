"""The default recipe, stopped at any step, ends where a run that was not stopped would have."""

import itertools
import json

import pytest
import torch

from mitsugo.errors import Interrupted, UsageError
from mitsugo.runs import RunFolder
from mitsugo.tasks import train as train_module
from mitsugo.tasks.judging import ACCURACY, Judge
from mitsugo.tasks.train import train

pytestmark = pytest.mark.usefixtures("plain_pictures")

KINDS = {
    "standard": {},
    "float32": {"precision": "float32"},
    "softmax": {"recipe": "standard-softmax"},
    "hard": {"loss": "triplet-hard"},
    "steps": {"epochs": None, "settings": ("steps=13",)},
}
"""The numbers that the processor offers, float32, a layer that only training sees, a last epoch cut short."""
STEPS = list(itertools.product((1, 2, 3), (0, 1, 2, 3, 4, None)))
FEW = {(1, 0), (2, None), (3, 2)}


@pytest.fixture(scope="module")
def options_of(small_options):
    """Return the options of a run of one kind."""

    def make(kind, out, **changes):
        kinds = dict(KINDS[kind])
        return small_options(out, *kinds.pop("settings", ()), **kinds, **changes)

    return make


@pytest.fixture(scope="module")
def straight(tmp_path_factory, options_of):
    """Run one kind without a stop, once for all tests."""
    folder, runs = tmp_path_factory.mktemp("straight"), {}

    def run(kind):
        if kind not in runs:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(train_module, "draw", lambda *_: None)
                runs[kind] = train(options_of(kind, folder / kind)).summary
        return runs[kind]

    return run


def same(one, other, without_times):
    keys = ("weights_sha256", "fingerprint", "scores", "confusion", "kept_epoch", "k", "epochs")
    assert {key: one[key] for key in keys} == {key: other[key] for key in keys}
    assert without_times(one["history"]) == without_times(other["history"])


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        pytest.param(kind, step, marks=() if step in FEW else pytest.mark.slow, id=f"{kind}-{step}")
        for kind in KINDS
        for step in STEPS
        if kind != "steps" or step not in {(3, 3), (3, 4)}
    ],
)
def test_a_run_stopped_at_any_step_ends_with_the_bits_of_one_that_was_not(
    tmp_path, options_of, straight, without_times, hearing, kind, step
):
    with pytest.raises(Interrupted):
        train(options_of(kind, tmp_path / "run"), hearing(*step))
    again = train(options_of(kind, tmp_path / "run", resume=True), hearing())
    same(again.summary, straight(kind), without_times)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits(tmp_path, options_of, straight, without_times, kind):
    torch.manual_seed(len(kind))
    same(train(options_of(kind, tmp_path / "run")).summary, straight(kind), without_times)


def test_the_kinds_are_different_runs_and_each_learns_something_new_each_epoch(straight):
    assert len({straight(kind)["weights_sha256"] for kind in KINDS if kind != "float32"}) == len(KINDS) - 1
    for kind in KINDS:
        losses = [epoch["train_loss"] for epoch in straight(kind)["history"]]
        assert len(set(losses)) == 3
        assert min(losses) > 0.01


def test_the_last_epoch_ends_where_the_steps_do(straight):
    assert [epoch["images"] for epoch in straight("steps")["history"]] == [5 * 16, 5 * 16, 3 * 16]


@pytest.fixture
def falling(monkeypatch):
    """The accuracy falls from epoch to epoch: the first one is kept."""

    def fallen(judge):
        counts = [value for name, value in judge._network.named_buffers() if name.endswith("batches_tracked")]
        return {ACCURACY: 1 / (1 + counts[0].item())}

    monkeypatch.setattr(Judge, "__call__", fallen)


@pytest.mark.usefixtures("falling")
def test_the_weights_of_an_early_epoch_outlive_a_stop(tmp_path, small_options, hearing):
    whole = train(small_options(tmp_path / "whole"))
    assert whole.summary["kept_epoch"] == 1
    for step in ((1, None), (2, 1), (3, 4), (3, None)):
        run = tmp_path / str(step)
        with pytest.raises(Interrupted):
            train(small_options(run), hearing(*step))
        assert {name.partition(".")[0] for name in RunFolder(run).checkpoint().tensors} == {
            "network",
            "optimizer",
            "kept",
        }
        again = train(small_options(run, resume=True))
        assert again.summary["kept_epoch"] == 1
        assert again.summary["weights_sha256"] == whole.summary["weights_sha256"]
    last = train(small_options(tmp_path / "last", "keep=last"))
    assert last.summary["weights_sha256"] != whole.summary["weights_sha256"]
    assert last.summary["kept_epoch"] == 3


def described(run):
    return json.loads((run / "run.json").read_bytes())


@pytest.fixture
def ten_milliseconds(monkeypatch):
    """Each step takes a hundredth of a second, whatever the machine is busy with."""
    tried = []

    def seconds(training, steps, _patience):
        tried.append(steps)
        return 0.01

    monkeypatch.setattr(train_module, "step_seconds", seconds)
    return tried


def test_a_budget_becomes_steps_once(
    tmp_path, small_options, straight, without_times, hearing, ten_milliseconds
):
    """0.135 s less 3 % are 13 steps: what the straight run of 13 steps was told."""
    options = {"epochs": None, "budget": "0.135s"}
    with pytest.raises(Interrupted):
        train(small_options(tmp_path / "run", **options), hearing(2, 1))
    recipe = described(tmp_path / "run")["recipe"]
    assert (recipe["steps"], recipe["epochs"]) == (13, 3)
    assert described(tmp_path / "run")["budget"] == 0.135
    again = train(small_options(tmp_path / "run", **options, resume=True))
    assert ten_milliseconds == [60, 10], "it is fitted once; afterwards a few steps tell of the time to go"
    same(again.summary, straight("steps"), without_times)
    assert described(tmp_path / "run")["recipe"] == recipe
    with pytest.raises(UsageError, match=r"--budget 7\.0: the run in .* began with 0\.135"):
        train(small_options(tmp_path / "run", epochs=None, budget="7s", resume=True))


def test_a_budget_too_small_for_a_step_takes_one_and_can_be_gone_on_with(tmp_path, small_options, hearing):
    options = {"epochs": None, "budget": "0.000001"}
    with pytest.raises(Interrupted):
        train(small_options(tmp_path / "run", **options), hearing(1, 0))
    again = train(small_options(tmp_path / "run", **options, resume=True))
    (epoch,) = again.summary["history"]
    assert (epoch["images"], again.summary["epochs"]) == (16, 1)


def test_a_run_of_fitted_steps_is_not_extended(tmp_path, small_options, ten_milliseconds):
    train(small_options(tmp_path / "run", epochs=None, budget="0.02s", recipe="article", settings=()))
    longer = small_options(tmp_path / "run", epochs=20, recipe=None, settings=(), resume=True)
    with pytest.raises(UsageError, match="--epochs 20: .* ends after 1 steps; a longer run is another run"):
        train(longer)


def test_one_cycle_is_not_extended_either(tmp_path, small_options):
    train(small_options(tmp_path / "run", epochs=1))
    with pytest.raises(UsageError, match="--epochs 2: the one cycle of rates .* was laid over 1; a longer"):
        train(small_options(tmp_path / "run", epochs=2, resume=True))


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"precision": "auto"}, ()),
        ({"epochs": 2}, ("least_steps=15",)),
        ({}, ("validation_share=0.01",)),
        ({}, ("steps=7",)),
    ],
    ids=str,
)
def test_the_same_command_goes_on_whatever_was_settled(tmp_path, small_options, hearing, changes, settings):
    with pytest.raises(Interrupted):
        train(small_options(tmp_path / "run", *settings, **changes), hearing(1, 1))
    began = described(tmp_path / "run")
    train(small_options(tmp_path / "run", *settings, **changes, resume=True))
    assert described(tmp_path / "run") == began


def test_a_recipe_file_may_be_named_again_but_not_changed(tmp_path, small, small_options, hearing):
    file = tmp_path / "own.toml"
    text = 'base = "standard"\nchannels = [4, 8]\nhidden = [8]\nimages_per_class = 2\nprecision = "auto"\n'
    file.write_text(text)
    options = {"recipe": str(file), "settings": ()}
    with pytest.raises(Interrupted):
        train(small_options(tmp_path / "run", **options), hearing(1, 1))
    assert described(tmp_path / "run")["recipe"]["name"] == "own"
    file.write_text(text.replace("[8]", "[9]"))
    with pytest.raises(UsageError, match=r"--hidden \[9\]: the run in .* began with \[8\]"):
        train(small_options(tmp_path / "run", **options, resume=True))
    file.write_text(text)
    again = train(small_options(tmp_path / "run", **options, resume=True))
    assert again.summary["recipe"] == "own"
