"""A model and the one file that carries it: a sealed archive whose members cannot run code.

manifest.json            schema number, architecture, preprocessing, classes, thresholds, recipe, versions,
                         SHA-256 of all
weights.safetensors      the network's weights
gallery.safetensors      the base gallery: vectors and labels
gallery.json             the names of the gallery's images
gates.safetensors        what is usual of these images, where it was measured
seen.safetensors         which images trained, chose, tested and were kept apart, as hashes, where it is known
calibration.safetensors  the images that thresholds came from, once there are some
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..errors import MitsugoError, ModelError, UsageError, shown
from ..files import read_sealed, sha256_of, write_sealed
from ..shapes import Vectors
from ..values import (
    VALIDATION,
    Calibration,
    Embeddings,
    Framing,
    Gates,
    LabeledImages,
    Pixels,
    Seen,
    Taught,
    Verdict,
    digests_of,
)
from .classification import Queries, inversion_warnings, verdicts
from .embedding import embed, fingerprint_of
from .known import Known, joined, measured_gates
from .manifest import (
    SCHEMA,
    ArchitectureEntry,
    FramingEntry,
    Manifest,
    Member,
    PreprocessingEntry,
    document_of,
    validated,
    written,
)
from .members import (
    CALIBRATION,
    GALLERY,
    GATES,
    NAMES,
    SEEN,
    WEIGHTS,
    calibration_entry,
    calibration_member,
    calibration_of,
    gallery_members,
    gallery_of,
    gates_member,
    gates_of,
    network_of,
    seen_member,
    seen_of,
)
from .networks import Architecture
from .preprocessing import Preprocessing, mean_pixel
from .statistics import count_of_statistics, plain_statistics
from .tensors import packed
from .thresholds import Rules, rules_of

__all__ = ["FILE_NAME", "Model"]

FILE_NAME = "model.mitsugo"
MANIFEST = "manifest.json"
REMEDY = "get it again from its maker, or train again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network with all that its answers depend on.

    Args:
        architecture: what the network is built from.
        network: in evaluation mode.
        preprocessing: what is done to pixels first.
        class_names: a name for each class, all different.
        training_mean: mean of the training pixels / 255; tells inverted images.
        gallery: embeddings of the training images, made by this very network, each of a known class.
        recipe: how the model was made, plain JSON values.
        versions: of mitsugo, torch and python that made it.
        k: how many gallery images vote, where nothing else is said.
        framing: what photos went through before they were images; None where images came as they are.
        ng: the classes that are NG; all others are OK.
        gates: what is usual of the gallery's images; None in a bundle that was made without.
        seen: which images it was made with; likewise.
        calibration: thresholds, and the images that they came from; None before there are any.
        taught: what was taught since; it is no part of the bundle, but lies in a file beside it.

    Raises:
        ModelError: parts that do not belong together.
    """

    architecture: Architecture
    network: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    training_mean: float
    gallery: Embeddings
    recipe: dict[str, Any]
    versions: dict[str, str]
    k: int = 5
    framing: Framing | None = None
    ng: tuple[str, ...] = ()
    gates: Gates | None = None
    seen: Seen | None = None
    calibration: Calibration | None = None
    taught: Taught | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", _plain(self.recipe))
        if self.network.training:
            raise ModelError("the network is in training mode; call network.eval() first")
        if len(set(self.class_names)) != len(self.class_names):
            raise ModelError("two classes have the same name; give each its own")
        if self.k < 1:
            raise ModelError(f"{self.k} neighbours vote, expected 1 or more")
        if self.framing is not None and _shape_of(self.framing) != self.architecture.image_shape:
            raise ModelError(
                f"photos become {_shape_of(self.framing)}, the network takes {self.architecture.image_shape}"
            )
        if not 0 <= self.training_mean <= 1:
            raise ModelError(f"the mean of the training pixels is {self.training_mean}, expected 0 to 1")
        if self.gallery.fingerprint != self.fingerprint:
            raise ModelError(
                f"the gallery belongs to model {self.gallery.fingerprint[:12]}, this is model "
                f"{self.fingerprint[:12]}: embed its images again"
            )
        if self.gallery.class_names != self.class_names or self.gallery.labels.min(initial=0) < 0:
            raise ModelError("the gallery has other classes than the model, or images of no known class")
        if self.gallery.vectors.shape[1] != self.architecture.dimension:
            raise ModelError(
                f"the gallery has {self.gallery.vectors.shape[1]} dimensions, "
                f"the network {self.architecture.dimension}"
            )
        _check_verdicts(self)

    @classmethod
    def of(  # noqa: PLR0913 - all that a model is made of
        cls,
        *,
        architecture: Architecture,
        network: nn.Module,
        preprocessing: Preprocessing,
        images: LabeledImages,
        recipe: dict[str, Any],
        k: int = 5,
        ng: tuple[str, ...] = (),
        seen: Seen | None = None,
    ) -> "Model":
        """Make a model of a trained network and the images that it was trained on, which become its gallery.

        The weights are copied: training may go on.

        Args:
            architecture: what the network is built from.
            network: what was trained.
            preprocessing: what is done to pixels first.
            images: the gallery.
            recipe: how the network was trained, plain JSON values.
            k: how many gallery images vote.
            ng: the classes that are NG.
            seen: which of the images trained, and which other images there were; None: all of them trained.

        Raises:
            ModelError: the weights are not those of the architecture, or an embedding is not finite.
            DataError: the images are not of the architecture's shape.
        """
        weight = next(network.parameters(), torch.empty(0))
        frozen = network_of(architecture, packed(network.state_dict())).to(weight.device)
        embedded = embed(frozen, images.pixels, architecture=architecture, preprocessing=preprocessing)
        gallery = Embeddings(
            vectors=embedded,
            labels=images.labels,
            class_names=images.class_names,
            names=images.names,
            fingerprint=fingerprint_of(architecture, preprocessing, frozen),
        )
        if seen is None:
            seen = Seen(
                digests=digests_of(images.pixels),
                parts=np.zeros(len(images), np.uint8),
                groups=np.empty((0, 2), np.uint64),
            )
        fresh = seen.parts[: len(images)] == VALIDATION
        return cls(
            architecture=architecture,
            network=frozen,
            preprocessing=preprocessing,
            class_names=images.class_names,
            training_mean=mean_pixel(images.pixels),
            gallery=gallery,
            recipe=recipe,
            k=k,
            framing=None if images.intake is None else images.intake.framing,
            ng=ng,
            gates=measured_gates(gallery, plain_statistics(images.pixels), fresh, k) if len(images) else None,
            seen=seen,
            versions={
                "mitsugo": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that an embedding depends on: architecture, preprocessing, weights."""
        return fingerprint_of(self.architecture, self.preprocessing, self.network)

    def embed(self, pixels: Pixels, batch_size: int = 1024) -> Vectors:
        """Return the embedding of each image, float32 (n, d); see `embedding.embed`."""
        return embed(
            self.network,
            pixels,
            architecture=self.architecture,
            preprocessing=self.preprocessing,
            batch_size=batch_size,
        )

    def classify(
        self,
        pixels: Pixels,
        names: Sequence[str],
        k: int | None = None,
        notes: Sequence[tuple[str, ...]] | None = None,
    ) -> tuple[Verdict, ...]:
        """Return a verdict for each image: a class or "unknown", OK or NG, and the evidence.

        The k nearest gallery images vote; what was taught since counts among them. See
        `classification.verdicts`.

        Args:
            pixels: uint8 (n, c, h, w) of the model's image shape.
            names: n names of the images.
            k: how many gallery images vote; None takes the model's own k.
            notes: what is known against each image so far; it stands before the verdict's own warnings.

        Raises:
            DataError: images of another shape.
            UsageError: k below 1, or another number of names than of images.
            ModelError: the gallery is empty, or an embedding is not finite.
        """
        warnings = inversion_warnings(pixels, self.training_mean)
        if notes is not None:
            warnings = [(*note, *more) for note, more in zip(notes, warnings, strict=True)]
        return verdicts(
            Queries(
                vectors=self.embed(pixels),
                statistics=self.statistics(pixels),
                digests=digests_of(pixels),
                names=names,
                warnings=warnings,
            ),
            self.known,
            self.k if k is None else k,
            self._rules,
        )

    def statistics(self, pixels: Pixels) -> Vectors:
        """Return the plain statistics of images, float32 (n, p); (n, 0) where the model has no gates."""
        if self.gates is None:
            return np.empty((len(pixels), 0), np.float32)
        return plain_statistics(pixels)

    @cached_property
    def known(self) -> Known:
        """All that a new image is compared with: the gallery, and what was taught since."""
        digests = np.empty((0, 2), np.uint64) if self.seen is None else self.seen.digests[: len(self.gallery)]
        return joined(self.gallery, digests, self.gates, self.ng, self.k, self.taught)

    @cached_property
    def _rules(self) -> Rules | None:
        """The thresholds, made ready for the gallery as it is."""
        calibration = self.calibration
        return None if calibration is None else rules_of(calibration, self.known, self.state)

    def prepare(self) -> None:
        """Make ready now what the first verdict would wait for."""
        self.known.prepare()
        _ = self._rules

    @property
    def state(self) -> str:
        """What names the state of the gallery that was taught; empty where nothing was."""
        return "" if self.taught is None else self.taught.state

    @property
    def stale(self) -> bool:
        """Whether the gallery is another than the one that the thresholds were set against."""
        return self.calibration is not None and self.calibration.state != self.state

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bundle: the same model gives the same bytes; the old file stays until this one is whole.

        Raises:
            ResourceError: the disk is full, or the folder cannot be written.
            ModelError: more than a bundle can hold.
        """
        members = {WEIGHTS: packed(self.network.state_dict()), **gallery_members(self.gallery)}
        if self.gates is not None:
            members[GATES] = gates_member(self.gates)
        if self.seen is not None:
            members[SEEN] = seen_member(self.seen)
        if self.calibration is not None:
            members[CALIBRATION] = calibration_member(self.calibration)
        write_sealed(Path(path), {MANIFEST: written(_manifest(self, members)), **members})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Model":
        """Read a bundle, or the one in a run folder, believing nothing that was not compared.

        First the seal, then the schema number, the set of members and their SHA-256, the architecture and the
        shapes that follow from it, every value, and at last the fingerprint.

        Raises:
            ModelError: the file is missing, damaged, doctored, or of another schema.
        """
        file = Path(path) / FILE_NAME if os.path.isdir(path) else Path(path)  # noqa: PTH112 - Path's own raises
        members = read_sealed(file)
        try:
            document, schema = document_of(members.pop(MANIFEST, b""))
            if schema == SCHEMA:
                return cls(**_parts(validated(document), members))
        except MitsugoError as error:
            raise ModelError(f"{shown(file)}: is no model to trust: {error}; {REMEDY}") from error
        if schema > SCHEMA:
            raise ModelError(
                f"{shown(file)}: was written by a newer mitsugo (schema {schema}, this one reads up to "
                f"{SCHEMA}); upgrade mitsugo"
            )
        raise ModelError(f"{shown(file)}: has schema {schema}, which no mitsugo wrote; {REMEDY}")


def _check_verdicts(model: Model) -> None:
    """Look that what verdicts hang on belongs to the model."""
    if model.gates is not None and len(model.gates.scales) != len(model.class_names):
        raise ModelError(f"it tells the unusual of {len(model.gates.scales)} classes, but has others")
    if model.gates is not None and len(model.gates.mean) != (
        taken := count_of_statistics(model.architecture.image_shape[0])
    ):
        raise ModelError(
            f"it tells the unusual by {len(model.gates.mean)} statistics, an image of it has {taken}"
        )
    if model.gates is not None and len(model.gates.others) > len(model.gallery):
        raise ModelError(
            f"{len(model.gates.others)} images were folded in, its gallery has {len(model.gallery)}"
        )
    if model.seen is not None and len(model.seen.parts) < len(model.gallery):
        raise ModelError(
            f"it names {len(model.seen.parts)} images that it was made with, its gallery has "
            f"{len(model.gallery)}"
        )
    if model.seen is not None and (model.seen.parts[: len(model.gallery)] > VALIDATION).any():
        raise ModelError("the images that it was made with do not begin with those of its gallery")
    if not set(model.ng) <= set(model.class_names):
        raise ModelError("an NG class is none of its classes")
    if model.calibration is not None and model.calibration.fingerprint != model.fingerprint:
        raise ModelError(
            f"its thresholds belong to model {shown(model.calibration.fingerprint[:12])}: calibrate it again"
        )
    if model.taught is not None and model.taught.embeddings.fingerprint != model.fingerprint:
        raise ModelError("what was taught belongs to another model: embed its images again")


def _manifest(model: Model, members: Mapping[str, bytes]) -> Manifest:
    return Manifest(
        schema=SCHEMA,
        architecture=ArchitectureEntry(**asdict(model.architecture)),
        preprocessing=PreprocessingEntry(**asdict(model.preprocessing)),
        distance="euclidean",
        class_names=list(model.class_names),
        training_mean=model.training_mean,
        k=model.k,
        framing=None
        if model.framing is None
        else FramingEntry(fit=model.framing.fit, crop=model.framing.crop),
        ng=list(model.ng),
        calibration=None if model.calibration is None else calibration_entry(model.calibration),
        fingerprint=model.fingerprint,
        members={name: _member(content) for name, content in members.items()},
        recipe=model.recipe,
        versions=model.versions,
    )


def _member(content: bytes) -> Member:
    return Member(sha256=sha256_of(content), bytes=len(content))


def _parts(manifest: Manifest, members: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the fields of a Model, each compared with the manifest."""
    needed = {WEIGHTS, GALLERY, NAMES} | ({CALIBRATION} if manifest.calibration is not None else set())
    possible = needed | {GATES, SEEN}
    for name in sorted((needed - members.keys()) | (members.keys() - possible)):
        raise ModelError(f"{shown(name)} is {'too many' if name in members else 'missing'}")
    if manifest.members != {name: _member(content) for name, content in members.items()}:
        raise ModelError("a member is not the one that the manifest names: it was exchanged")
    architecture = Architecture(**manifest.architecture.model_dump())
    preprocessing = Preprocessing(**manifest.preprocessing.model_dump())
    class_names = tuple(manifest.class_names)
    network = network_of(architecture, members[WEIGHTS])
    gallery = gallery_of(
        members,
        class_names=class_names,
        dimension=architecture.dimension,
        fingerprint=manifest.fingerprint,
    )
    gates = gates_of(members[GATES]) if GATES in members else None
    calibration = None
    if manifest.calibration is not None:
        if gates is None:
            raise ModelError("it has thresholds, but nothing to measure by")
        sizes = (architecture.dimension, len(gates.mean))
        calibration = calibration_of(members[CALIBRATION], manifest.calibration, *sizes)
    return {
        "architecture": architecture,
        "network": network,
        "preprocessing": preprocessing,
        "class_names": class_names,
        "training_mean": manifest.training_mean,
        "k": manifest.k,
        "framing": _framing(manifest, architecture),
        "gallery": gallery,
        "ng": tuple(manifest.ng),
        "gates": gates,
        "seen": seen_of(members[SEEN]) if SEEN in members else None,
        "calibration": calibration,
        "recipe": manifest.recipe,
        "versions": manifest.versions,
    }


def _framing(manifest: Manifest, architecture: Architecture) -> Framing | None:
    if manifest.framing is None:
        return None
    channels, height, width = architecture.image_shape
    return Framing(
        channels=channels,
        height=height,
        width=width,
        fit=manifest.framing.fit,
        crop=manifest.framing.crop,
    )


def _shape_of(framing: Framing) -> tuple[int, int, int]:
    return framing.channels, framing.height, framing.width


def _plain(recipe: dict[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(recipe, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the recipe holds more than plain JSON values: {error}") from error
    return plain
