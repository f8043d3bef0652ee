"""What a bundle says of itself, read strictly: an unknown key, a doubled key or another type is refused."""

import json
from typing import Annotated, Any, Final, Literal, NoReturn

import pydantic
from pydantic import Field, PlainValidator

from ..errors import ModelError, shown

__all__ = [
    "LARGEST_MANIFEST",
    "SCHEMA",
    "CalibrationEntry",
    "Manifest",
    "document_of",
    "strict_json",
    "validated",
    "written",
]

SCHEMA: Final = 1
LARGEST_MANIFEST = 1 << 23
SHA256 = r"^[0-9a-f]{64}$"


def _text(value: object) -> str:
    # pydantic's own str refuses the names of files that are no UTF-8
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


Text = Annotated[str, PlainValidator(_text)]


class Member(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """What a member must be."""

    sha256: str = Field(pattern=SHA256)
    bytes: int


class ArchitectureEntry(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """The flat parameters of `architecture.Architecture`."""

    name: Literal["mlp", "convnet", "residual", "backbone", "raw-pixels"]
    image_shape: Annotated[tuple[int, int, int], Field(strict=False)]
    dimension: int
    hidden: Annotated[tuple[int, ...], Field(strict=False)]
    channels: Annotated[tuple[int, ...], Field(strict=False)] = ()
    normalised: bool = False
    blocks: Annotated[tuple[int, ...], Field(strict=False)] = ()
    backbone: str = ""
    backbone_side: int = 0


class PreprocessingEntry(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """The numbers of `preprocessing.Preprocessing`."""

    mean: float
    std: float


class FramingEntry(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """What `values.Framing` holds beside the image's shape."""

    fit: str
    crop: Annotated[tuple[int, int, int, int] | None, Field(strict=False)] = None


class AskedEntry(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """What `values.Asked` holds."""

    false_alarm: float
    confidence: float
    per_class: bool
    cost_escape: float | None
    cost_overkill: float | None
    ng_share: float | None
    escapes: float | None


class RateEntry(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """What `values.Rate` holds."""

    count: int
    n: int
    upper: float


class InspectingEntry(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """What `values.Inspecting` holds."""

    threshold: float
    escapes: RateEntry
    overkill: RateEntry
    escaping: RateEntry
    promised: float | None
    cost: float | None


class CalibrationEntry(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """What `values.Calibration` holds beside its arrays."""

    asked: AskedEntry
    source: Text
    images: int
    class_names: list[Text]
    units: int
    threshold: float
    balance: float | None = None
    promised: float
    class_thresholds: dict[Text, float]
    inspecting: InspectingEntry | None
    state: Text
    fingerprint: str = Field(pattern=SHA256)


class Manifest(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """manifest.json of schema 1."""

    schema_number: Literal[1] = Field(alias="schema")
    architecture: ArchitectureEntry
    preprocessing: PreprocessingEntry
    distance: Literal["euclidean"]
    class_names: list[Text]
    training_mean: float
    k: int = 5
    framing: FramingEntry | None = None
    ng: list[Text] = []
    calibration: CalibrationEntry | None = None
    fingerprint: str = Field(pattern=SHA256)
    members: dict[str, Member]
    recipe: dict[str, Any]
    versions: dict[str, str]


def strict_json(content: bytes) -> Any:  # noqa: ANN401 - JSON is anything
    """Return what JSON says; doubled keys, NaN and bottomless nesting are refused.

    Raises:
        ModelError: it is no such JSON.
    """
    try:
        return json.loads(content, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"is no strict JSON: {ascii(str(error))[1:-1]}") from error


def document_of(content: bytes) -> tuple[dict[str, Any], int]:
    """Return the manifest as plain JSON, and its schema number, which says how to read the rest.

    Raises:
        ModelError: it is too long, no strict JSON, or names no schema number.
    """
    if len(content) > LARGEST_MANIFEST:
        raise ModelError(f"its manifest holds {len(content)} bytes, expected at most {LARGEST_MANIFEST}")
    if not content:
        raise ModelError("it holds no manifest.json; name a model.mitsugo or a run folder")
    document = strict_json(content)
    number = document.get("schema") if isinstance(document, dict) else None
    if type(number) is not int:
        raise ModelError("its manifest names no schema number")
    return document, number


def validated(document: dict[str, Any]) -> Manifest:
    """Return the manifest that a document of our own schema holds.

    Raises:
        ModelError: a key too many or too few, or a value of another type; the key is named.
    """
    try:
        return Manifest.model_validate(document)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ModelError(f"its manifest: {shown(where)}: {first['msg'].lower()}") from error


def written(manifest: Manifest) -> bytes:
    """Return a manifest as JSON bytes: the same manifest gives the same bytes."""
    return json.dumps(manifest.model_dump(by_alias=True), indent=1, allow_nan=False).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key stands twice")
    return keys


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
