"""A model and the one file that carries it: a sealed archive of four members, none of which can run code.

manifest.json        schema number, architecture, preprocessing, classes, recipe, versions, SHA-256 of all
weights.safetensors  the network's weights
gallery.safetensors  the base gallery: vectors and labels
gallery.json         the names of the gallery's images
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import __version__
from ..errors import MitsugoError, ModelError, UsageError, shown
from ..files import read_sealed, sha256_of, write_sealed
from ..shapes import Vectors
from ..values import Embeddings, Framing, LabeledImages, Pixels, Verdict
from .classification import inversion_warnings, verdicts
from .embedding import embed, fingerprint_of
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
from .members import GALLERY, NAMES, WEIGHTS, gallery_members, gallery_of, network_of
from .networks import Architecture
from .preprocessing import Preprocessing, mean_pixel
from .tensors import packed

__all__ = ["Model"]

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

    @classmethod
    def of(
        cls,
        *,
        architecture: Architecture,
        network: nn.Module,
        preprocessing: Preprocessing,
        images: LabeledImages,
        recipe: dict[str, Any],
        k: int = 5,
    ) -> "Model":
        """Make a model of a trained network and the images that it was trained on, which become its gallery.

        The weights are copied: training may go on.

        Raises:
            ModelError: the weights are not those of the architecture, or an embedding is not finite.
            DataError: the images are not of the architecture's shape.
        """
        weight = next(network.parameters(), torch.empty(0))
        frozen = network_of(architecture, packed(network.state_dict())).to(weight.device)
        embedded = embed(frozen, images.pixels, architecture=architecture, preprocessing=preprocessing)
        return cls(
            architecture=architecture,
            network=frozen,
            preprocessing=preprocessing,
            class_names=images.class_names,
            training_mean=mean_pixel(images.pixels),
            gallery=Embeddings(
                vectors=embedded,
                labels=images.labels,
                class_names=images.class_names,
                names=images.names,
                fingerprint=fingerprint_of(architecture, preprocessing, frozen),
            ),
            recipe=recipe,
            k=k,
            framing=None if images.intake is None else images.intake.framing,
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

    def classify(self, pixels: Pixels, names: Sequence[str], k: int | None = None) -> tuple[Verdict, ...]:
        """Return a verdict for each image, by the vote of its k nearest gallery images.

        Args:
            pixels: uint8 (n, c, h, w) of the model's image shape.
            names: n names of the images.
            k: how many gallery images vote; None takes the model's own k.

        Raises:
            DataError: images of another shape.
            UsageError: k below 1, or another number of names than of images.
            ModelError: the gallery is empty, or an embedding is not finite.
        """
        vectors = self.embed(pixels)
        return verdicts(
            vectors,
            self.gallery,
            names,
            inversion_warnings(pixels, self.training_mean),
            self.k if k is None else k,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bundle: the same model gives the same bytes; the old file stays until this one is whole.

        Raises:
            ResourceError: the disk is full, or the folder cannot be written.
            ModelError: more than a bundle can hold.
        """
        members = {WEIGHTS: packed(self.network.state_dict()), **gallery_members(self.gallery)}
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
        fingerprint=model.fingerprint,
        members={name: _member(content) for name, content in members.items()},
        recipe=model.recipe,
        versions=model.versions,
    )


def _member(content: bytes) -> Member:
    return Member(sha256=sha256_of(content), bytes=len(content))


def _parts(manifest: Manifest, members: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the fields of a Model, each compared with the manifest."""
    for name in sorted(members.keys() ^ {WEIGHTS, GALLERY, NAMES}):
        raise ModelError(f"{shown(name)} is {'too many' if name in members else 'missing'}")
    if manifest.members != {name: _member(content) for name, content in members.items()}:
        raise ModelError("a member is not the one that the manifest names: it was exchanged")
    architecture = Architecture(**manifest.architecture.model_dump())
    preprocessing = Preprocessing(**manifest.preprocessing.model_dump())
    class_names = tuple(manifest.class_names)
    return {
        "architecture": architecture,
        "network": network_of(architecture, members[WEIGHTS]),
        "preprocessing": preprocessing,
        "class_names": class_names,
        "training_mean": manifest.training_mean,
        "k": manifest.k,
        "framing": _framing(manifest, architecture),
        "gallery": gallery_of(
            members,
            class_names=class_names,
            dimension=architecture.dimension,
            fingerprint=manifest.fingerprint,
        ),
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
