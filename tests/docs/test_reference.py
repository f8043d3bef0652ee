"""The reference says what the code is, and nothing more."""

import ast
import functools
import json
import re
from pathlib import Path

import pytest
import typer

import mitsugo
from mitsugo import errors, runs
from mitsugo.cli import app
from mitsugo.model import members
from mitsugo.model.bundle import MANIFEST
from mitsugo.model.manifest import Manifest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "mitsugo"
REFERENCE = ROOT / "docs" / "reference"
FEWEST_LETTERS = 8


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row, less heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {number - 1 for number, line in enumerate(lines) if set(line) <= set("|-")}
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for number, line in enumerate(lines)
        if number not in heads and number - 1 not in heads
    ]


def section(page: str, title: str) -> str:
    text = (REFERENCE / page).read_text()
    (found,) = [part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:] if part.startswith(title)]
    return found


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def options_told(text: str) -> set[str]:
    return {code.split()[0] for row in rows(text) for code in codes(row[0])}


COMMANDS = typer.main.get_command(app)


def test_every_command_is_in_the_reference_and_no_other():
    told = re.findall(r"^## `mitsugo (\w+)", (REFERENCE / "cli.md").read_text(), re.MULTILINE)
    assert told == COMMANDS.list_commands(None)


@pytest.mark.parametrize("name", list(COMMANDS.commands))
def test_every_option_is_in_the_reference_and_no_other(name):
    command = COMMANDS.commands[name]
    there = {
        option
        for one in getattr(command, "commands", {"": command}).values()
        for parameter in one.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("-")
    }
    told = options_told(section("cli.md", f"`mitsugo {name}"))
    assert {word for word in told if word.startswith("-")} == there
    assert {word for word in told if not word.startswith("-")} == set(getattr(command, "commands", ()))


def test_every_option_for_all_commands_is_in_the_reference():
    there = {option for parameter in COMMANDS.params for option in parameter.opts}
    head = (REFERENCE / "cli.md").read_text().split("\n## ")[0]
    assert options_told(head) == there | {"--debug", "-h", "--help"}


@pytest.mark.parametrize("name", list(COMMANDS.commands))
def test_every_default_is_the_one_of_the_code(name):
    defaults = {
        option: parameter.default
        for parameter in COMMANDS.commands[name].params
        for option in parameter.opts
        if parameter.default not in (None, False)
    }
    told = {
        code.split()[0]: row[1]
        for row in rows(section("cli.md", f"`mitsugo {name}"))
        for code in codes(row[0])
    }
    assert {option: told[option] for option in defaults} == {o: str(value) for o, value in defaults.items()}


def test_every_exit_code_is_in_the_reference():
    by_class = {
        kind.__name__: kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MitsugoError) and kind.exit_code != 1
    }
    head = (REFERENCE / "errors.md").read_text().split("\n## ")[0]
    told = {codes(row[1])[0]: row[0] for row in rows(head) if codes(row[1])}
    assert told.pop("Interrupted") == "130, 143"
    assert told == {name: str(code) for name, code in by_class.items()}


@functools.cache
def texts() -> list[str]:
    """Return every text in the sources, with … for each value inside."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "…" for v in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


MESSAGES = [
    codes(row[0])[0]
    for number in "2345"
    for row in rows(section("errors.md", f"{number}: "))
    if codes(row[0])
]


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_in_the_reference_is_one_of_the_code(message):
    pieces = [piece for piece in message.split("…") if len(piece) >= FEWEST_LETTERS]
    assert pieces, "too short to be looked up"
    assert any(all(piece in text for piece in pieces) for text in texts())


def test_there_are_messages_and_an_invented_one_would_be_found():
    assert len(MESSAGES) > 40
    assert not any("the moon is in the wrong house" in text for text in texts())


def test_every_file_of_a_run_is_in_the_reference():
    told = [codes(row[0])[0] for row in rows(section("files.md", "The run folder"))]
    kept = {runs.RUN, runs.HISTORY, runs.TABLE, runs.CHECKPOINT, runs.BUNDLE, runs.SCORES, *runs.PICTURES}
    assert set(told) == kept
    assert len(told) == len(kept)


def test_every_key_of_history_and_scores_is_in_the_reference(digits_run):
    history = {code for row in rows(section("files.md", "history.jsonl")) for code in codes(row[0])}
    line = json.loads((digits_run.run / "history.jsonl").read_text().splitlines()[0])
    assert history == line.keys()
    scores = {code for row in rows(section("files.md", "scores.json")) for code in codes(row[0])}
    assert scores == json.loads((digits_run.run / "scores.json").read_text()).keys()


def test_every_member_and_key_of_a_bundle_is_in_the_reference():
    told = {codes(row[0])[0] for row in rows(section("files.md", "The bundle"))}
    keys = {field.alias or name for name, field in Manifest.model_fields.items()}
    assert told == keys | {
        MANIFEST,
        members.WEIGHTS,
        members.GALLERY,
        members.NAMES,
        members.GATES,
        members.SEEN,
        members.CALIBRATION,
    }


def test_every_setting_of_every_recipe_is_in_the_reference():
    page = (REFERENCE / "recipes.md").read_text()
    heads = {line for line in page.splitlines() if line.startswith("| setting")}
    assert len(heads) == 1, "every table has the same columns"
    names = [cell.strip() for cell in heads.pop().split("|")[2:-2]]
    settings = [codes(row[0])[0] for row in rows(page)]
    assert len(settings) == len(set(settings))
    told = {codes(row[0])[0]: row[1:-1] for row in rows(page)}
    for number, name in enumerate(names):
        plain = mitsugo.RECIPES[name].plain()
        shown = {
            key: ", ".join(map(str, value))
            if isinstance(value, list)
            else str(value or "" if value is None else value)
            for key, value in plain.items()
            if key not in {"name", "what"}
        }
        assert {key: cells[number] for key, cells in told.items()} == shown
    assert names == list(mitsugo.RECIPES)


def test_every_public_name_is_in_the_reference_with_a_link_to_its_home():
    table = rows((REFERENCE / "python.md").read_text())
    told = [
        re.fullmatch(r"\[`(\w+)`\]\(\.\./\.\./src/mitsugo/([\w/]+)\.py\)", row[0]).groups() for row in table
    ]
    homes = {name: mitsugo._HOME_OF[name].replace(".", "/") for name in mitsugo.__all__}
    assert dict(told) == homes
    assert [name for name, _ in told] == mitsugo.__all__
    assert all(row[1].endswith(".") for row in table)
