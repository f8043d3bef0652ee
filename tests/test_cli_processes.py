"""Real processes: any environment, any signal at any time, kills, two writers, a terminal, an auditor."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mitsugo.model.tensors import weights_sha256
from mitsugo.runs import opened
from mitsugo.tasks.models import train_model
from mitsugo.tasks.train import train

SAMPLE = Path(__file__).parents[1] / "docs" / "sample-digit.png"


@pytest.fixture(scope="session")
def short_arguments(tiny):
    """Arguments of `mitsugo train` for the tiny run, without --out."""
    small = ("--recipe", "article", "--batch-size", "8", "--dimension", "3")
    return ("train", str(tiny), "--epochs", "3", *small)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "LANG": "C", "TZ": "Pacific/Kiritimati", "HOME": None},
        {
            "PYTHONHASHSEED": "2",
            "LC_ALL": "tr_TR.UTF-8",
            "HOME": "/proc/nobody",
            "PYTHONIOENCODING": "utf-8:strict",
        },
    ],
    ids=["C", "no home"],
)
def test_the_same_bits_in_any_environment(tmp_path, finished_process, short_arguments, tiny_run, environment):
    """Where the folder's name is no text, too; there JSON escapes it and stays one document."""
    run = tmp_path / os.fsdecode(b"n\xc3\xa9\xff")
    outcome = finished_process(
        *short_arguments, "--out", run, "--json", "--quiet", environment=environment, umask=0o077
    )
    assert (outcome.code, outcome.err) == (0, b"")
    document = json.loads(outcome.out.decode(errors="surrogateescape"))
    assert document["weights_sha256"] == tiny_run.summary["weights_sha256"]
    assert document["scores"] == tiny_run.summary["scores"]
    assert document["run"] == str(run)


@pytest.mark.usefixtures("one_thread")
def test_the_default_recipe_gives_the_same_bits_in_another_process(tmp_path, finished_process, tiny):
    settings = {"channels": [4], "hidden": [8], "images_per_class": 2, "batch_size": 8, "epochs": 2}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    out = ("--out", tmp_path / "run", "--json", "--quiet")
    outcome = finished_process("train", str(tiny), *words, *out, environment={"PYTHONHASHSEED": "7"})
    assert (outcome.code, outcome.err) == (0, b"")
    network = train_model(tiny, **settings).network
    assert json.loads(outcome.out)["weights_sha256"] == weights_sha256(network)


def test_a_source_of_any_name_is_trained_on(tmp_path, tiny, tiny_run, finished_process):
    source = tmp_path / os.fsdecode(b"a\nb\xff")
    source.symlink_to(tiny)
    arguments = ("--recipe", "article", "--epochs", "3", "--batch-size", "8", "--dimension", "3")
    outcome = finished_process("train", source, *arguments, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert rb"article on '" in outcome.err
    assert rb"a\nb\udcff': 32 training and 8 test images" in outcome.err
    scores = json.loads((tmp_path / "run" / "scores.json").read_bytes())
    assert scores["weights_sha256"] == tiny_run.summary["weights_sha256"]


def test_three_kills_end_with_the_bits_of_a_run_that_none_befell(tmp_path, kill_again_and_again, long_hash):
    run = tmp_path / "run"
    document, finished = kill_again_and_again(run, 3, seed=0)
    assert document["weights_sha256"] == long_hash
    assert len(finished) > 5, "the kills were to fall while it trained"
    lines = (run / "history.jsonl").read_bytes().splitlines()
    assert [line for line in lines if json.loads(line).get("epoch") in finished] == list(finished.values())
    assert not list(run.glob(".*mitsugo-part"))


def read_until(running, words):
    for line in running.stderr:
        if words in line:
            return
    raise AssertionError(f"it never said {words}")


@pytest.mark.usefixtures("plain_pictures")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_it_trains_saves_and_says_how_to_go_on(
    tmp_path, process, long_arguments, long_hash, tiny_options, number, code
):
    run = tmp_path / "run"
    with process(*long_arguments, "--out", run, text=True) as running:
        read_until(running, "epoch 3/150  training loss")
        started = time.monotonic()
        running.send_signal(number)
        out, err = running.communicate(timeout=20)
        assert time.monotonic() - started < 10
    assert (running.returncode, out) == (code, "")
    *_, line = err.splitlines()
    assert line.startswith(f"mitsugo: stopped by {signal.Signals(number).name} after epoch ")
    assert f"saved in {run}: give the same command with --resume to go on" in line
    again = train(tiny_options(run, epochs=None, resume=True))
    assert again.summary["weights_sha256"] == long_hash


@pytest.mark.usefixtures("plain_pictures")
@pytest.mark.parametrize("phase", ["scoring", "drawing"])
def test_a_signal_after_the_training_keeps_it(
    tmp_path, process, short_arguments, tiny_run, tiny_options, phase
):
    run = tmp_path / "run"
    with process(*short_arguments, "--out", run, text=True) as running:
        read_until(running, phase)
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=20)
    assert (running.returncode, out) == (143, "")
    *_, line = err.splitlines()
    assert line == (
        "mitsugo: stopped by SIGTERM; what was saved stands: give the same command with --resume to go on"
    )
    assert not list(run.glob(".*mitsugo-part"))
    again = train(tiny_options(run, resume=True))
    assert again.summary["weights_sha256"] == tiny_run.summary["weights_sha256"]
    without_times = [len(json.loads(line)) for line in (run / "history.jsonl").read_text().splitlines()]
    assert len(without_times) == 4, "three epochs, and that it went on"


@pytest.mark.usefixtures("plain_pictures")
def test_a_second_signal_ends_it_at_once(tmp_path, process, long_arguments, long_hash, tiny_options):
    """Both are there when it wakes up."""
    run = tmp_path / "run"
    with process(*long_arguments, "--out", run, text=True) as running:
        read_until(running, "epoch 3/150  training loss")
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            running.send_signal(number)
        out, err = running.communicate(timeout=20)
    assert (running.returncode, out) == (143, "")
    assert "stopped by" not in err
    again = train(tiny_options(run, epochs=None, resume=True))
    assert again.summary["weights_sha256"] == long_hash


def takes(running, number):
    """Return whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{running.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_a_signal_while_it_starts_is_one_line(tmp_path, process, long_arguments):
    with process(*long_arguments, "--out", tmp_path / "run", text=True) as running:
        while not takes(running, signal.SIGTERM):
            time.sleep(0.001)
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=20)
    assert (running.returncode, out, err) == (143, "", "mitsugo: stopped by SIGTERM\n")


def test_a_second_writer_is_refused(tmp_path, finished_process, short_arguments):
    with opened(tmp_path / "run", resume=False, overwrite=False):
        outcome = finished_process(*short_arguments, "--out", tmp_path / "run", "--resume", text=True)
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err == (
        f"mitsugo: --out {tmp_path / 'run'}: another process is training into it; wait for it, or choose "
        f"another folder\n"
    )


def all_of(descriptor):
    said = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # how Linux says that the other side of a terminal was closed
            return said
        if not piece:
            return said
        said += piece


def test_a_terminal_gets_a_bar_and_stdout_its_document_alone(tmp_path, process, long_arguments, long_hash):
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    arguments = (*long_arguments, "--out", tmp_path / "run", "--json")
    with (tmp_path / "out").open("wb") as out:
        running = process(*arguments, stdout=out, stderr=theirs, environment=environment)
    os.close(theirs)
    said = all_of(ours).decode()
    os.close(ours)
    assert running.wait(timeout=20) == 0
    assert json.loads((tmp_path / "out").read_bytes())["weights_sha256"] == long_hash
    assert "━" in said
    assert "epoch 150/150  training loss" in said
    assert "Traceback" not in said


AUDITED = """
import json, sys
events = []
def hook(event, arguments):
    if event.startswith(("pickle.", "socket.", "urllib.", "ftplib.")):
        events.append([event, repr(arguments)])
sys.addaudithook(hook)
from mitsugo import cli
codes = [cli.run(arguments) for arguments in json.loads(sys.argv[1])]
sys.stderr.write(json.dumps([codes, events]))
"""


def test_no_pickle_is_opened_and_nothing_is_connected_to(tmp_path, short_arguments, tiny):
    run = str(tmp_path / "run")
    commands = [
        [*short_arguments, "--out", run, "--quiet"],
        [*short_arguments[:2], "--epochs", "4", "--out", run, "--quiet", "--resume"],
        ["evaluate", run, str(tiny), "--quiet"],
        ["embed", run, str(tiny), "--out", str(tmp_path / "x.npz"), "--quiet"],
        ["inspect", run, str(SAMPLE), "--resize"],
        ["compare", str(tiny), "--recipes", "article,raw-pixels", "--seeds", "1", "--epochs", "1", "--quiet"],
    ]
    ended = subprocess.run(
        [sys.executable, "-c", AUDITED, json.dumps(commands)], capture_output=True, timeout=120, check=True
    )
    codes, events = json.loads(ended.stderr)
    assert codes == [0] * 6
    assert events == []
