"""Which recipe is meant: by its name, by a TOML file, or by what was changed of it."""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from .errors import UsageError, shown
from .files import reason
from .recipes import BATCHES_OF, DEFAULT, RECIPES, Recipe, option_of

__all__ = ["changed", "named", "parsed", "read", "remade", "setting"]

_ADAPTER = pydantic.TypeAdapter(Recipe)


def named(name: str) -> Recipe:
    """Return the recipe of that name, or of a TOML file.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    if name in RECIPES:
        return RECIPES[name]
    if name.endswith(".toml"):
        return read(Path(name))
    close = difflib.get_close_matches(name, RECIPES, n=1)
    hint = f"did you mean {close[0]}?" if close else "`mitsugo recipes` lists them"
    raise UsageError(
        f"--recipe {name}: there is no such recipe, expected one of {', '.join(RECIPES)} or a .toml file; "
        f"{hint}"
    )


def read(path: Path) -> Recipe:
    """Return the recipe of a TOML file: `base` names what it changes, every other key is a setting.

    Raises:
        UsageError: the file cannot be read or is no TOML, a key is unknown, or a value cannot be meant.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--recipe {shown(path)}: cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--recipe {shown(path)}: is no TOML: {ascii(str(error))[1:-1]}") from error
    base = content.pop("base", DEFAULT)
    if not isinstance(base, str) or base not in RECIPES:
        raise UsageError(f"--recipe {shown(path)}: base is {base!r}, expected one of {', '.join(RECIPES)}")
    content.setdefault("name", path.stem)
    return remade(_with(RECIPES[base], content), f"--recipe {shown(path)}")


def changed(recipe: Recipe, **changes: Any) -> Recipe:  # noqa: ANN401 - checked by the recipe itself
    """Return the recipe with the changes that are not None.

    A loss that needs other batches than the recipe's brings them along. Who names the epochs means them: no
    least number of steps adds to them.

    Raises:
        UsageError: the recipe does not train and so has nothing to change, or a value cannot be meant.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    if given and recipe.batches == "none":
        raise UsageError(
            f"{option_of(next(iter(given)))}: the recipe {recipe.name} trains nothing; leave it out"
        )
    return remade(_with(recipe, given), recipe.name) if given else recipe


def parsed(text: str) -> Recipe:
    """Return the recipe of a text like `article` or `article:epochs=0:margin=0.5`.

    >>> parsed("article:epochs=0").epochs
    0

    Raises:
        UsageError: an unknown recipe or key, or a value of another kind.
    """
    name, *settings = text.split(":")
    recipe = named(name)
    return changed(recipe, **dict(setting(some, f"--recipes {text}") for some in settings))


def remade(plain: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe that JSON or TOML values describe; `where` begins the message of a refusal.

    Raises:
        UsageError: a key too many or too few, or a value that cannot be meant.
    """
    try:
        # strict, else true would be 1 and "no" false; as JSON, where a strict tuple is a list
        return _ADAPTER.validate_json(json.dumps(dict(plain), default=str), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        refused = first.get("ctx", {}).get("error")
        if isinstance(refused, UsageError):  # the recipe's own word
            raise refused from None
        key = ".".join(str(step) for step in first["loc"][:1])
        if first["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            close = difflib.get_close_matches(key, [field.name for field in dataclasses.fields(Recipe)], n=1)
            hint = f"did you mean {close[0]}?" if close else "`mitsugo recipes standard` shows every key"
            raise UsageError(f"{where}: {shown(key)} is no key of a recipe; {hint}") from error
        place = f"{where}: {shown(key)}" if key else where
        raise UsageError(f"{place}: {first['msg'].lower()}") from error


def _with(recipe: Recipe, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's values with changes, and with what the changes bring along."""
    along: dict[str, Any] = {}
    fitting = BATCHES_OF.get(str(changes.get("loss")), ("p-by-k",))
    if "loss" in changes and recipe.batches not in fitting:
        along["batches"] = fitting[0]
    if "epochs" in changes:
        along["least_steps"] = 0
    return {**recipe.plain(), **along, **changes}


def setting(text: str, where: str) -> tuple[str, Any]:
    """Return key and value of `key=value`, the value read as TOML and, if it is none, as a word.

    >>> setting("hidden=[256]", "--set"), setting("loss=softmax", "--set")
    (('hidden', [256]), ('loss', 'softmax'))

    Raises:
        UsageError: there is no equals sign; `where` begins the message.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"{where}: {text} sets nothing, expected key=value")
    try:
        return key.replace("-", "_"), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return key.replace("-", "_"), value
