"""Pretrained trunks: any model that timm names, with weights from a safetensors file, and a head of our own.

timm (Wightman, 2019) is an extra and is imported when a backbone is asked for. Only the names of its own list
are taken, and weights come as safetensors alone: no name and no file makes it run code or ask a network by
itself.
"""

import functools
import importlib
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from ..errors import ModelError, UsageError, shown
from ..files import open_regular
from ..shapes import Embedded, Float, Tensor
from .head import head

__all__ = ["BackboneNet", "complete", "fill", "usual_side"]

INSTALL = "pip install 'mitsugo[backbones]'"
COUNTER = "num_batches_tracked"
"""Of batch normalisation: older files leave it out, and nothing that a trunk computes depends on it."""
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class BackboneNet(nn.Module):
    """A trunk that timm names, and hidden layers and a linear embedding behind its features.

    The network takes x / 255. It repeats grey images as RGB, brings them to the trunk's own size (bilinear,
    antialiased) and normalises each channel by `mean` and `std`, which lie with the weights.

    The trunk is built without storage; `fill`, or a bundle's weights and `complete`, give it some.

    Args:
        model: timm's name.
        side: height and width in pixels that the trunk sees.
        dimension: d of the embedding.
        hidden: widths of the layers between the features and the embedding.

    Raises:
        UsageError: timm is not installed.
        ModelError: a model that timm does not name, or that cannot see images of that size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str, side: int, dimension: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.model, self.side = model, side
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("std", torch.ones(3, 1, 1))
        with torch.device("meta"):
            self.trunk = _made(model)
            self.width = _width(self.trunk, model, side)
        self.layers = head(self.width, dimension, hidden)

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Return what the trunk sees in images of values 0 to 1."""
        if images.shape[2:] != (self.side, self.side):
            images = functional.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)
        seen = (images.expand(-1, 3, -1, -1) - self.mean) / self.std
        found: Tensor = self.trunk(seen.contiguous(memory_format=torch.channels_last))
        return found

    def forward(self, images: Float[Tensor, "b c h w"]) -> Embedded:
        """Embed images of values 0 to 1, grey or RGB."""
        embedded: Tensor = self.layers(self.features(images))
        return embedded

    def get_embedding(self, images: Float[Tensor, "b c h w"]) -> Embedded:
        """Embed images; the walk-through's name for calling the network."""
        embedded: Tensor = self(images)
        return embedded


def usual_side(model: str) -> int:
    """Return the height and width in pixels that a model was made for.

    Raises:
        UsageError: timm is not installed, or does not name the model.
    """
    with torch.device("meta"):
        return int(_configuration(_made(model))["input_size"][-1])


def fill(network: BackboneNet, weights: str | None) -> None:
    """Give a network a trunk with weights, and the mean and deviation that they were trained with.

    No chance is taken from anybody. The tensors of the file have timm's names; those of the model's own
    classifier are left out.

    Args:
        network: its head stays as it is.
        weights: a .safetensors file; None takes the hub that timm names.

    Raises:
        UsageError: the weights cannot be had, or are not those of the model; the first tensor is named.
    """
    trunk = _stored(network.model)
    configuration = _configuration(trunk)
    where, path = f"--set backbone_weights={weights}", Path(weights or "")
    if weights is None:
        where, path = f"--set backbone={network.model}", _from_hub(network.model, configuration)
    surplus = configuration.get("classifier") or ()
    heads = (surplus,) if isinstance(surplus, str) else tuple(surplus)
    found = {
        name: tensor
        for name, tensor in _tensors(path, where).items()
        if not name.startswith(tuple(f"{one}." for one in heads))
    }
    expected = trunk.state_dict()
    found |= {name: expected[name] for name in expected.keys() - found.keys() if name.endswith(COUNTER)}
    _compare(found, expected, f"{where}: no weights of timm's {network.model}")
    trunk.load_state_dict(found)
    network.trunk = trunk
    for name in ("mean", "std"):
        setattr(network, name, torch.tensor(configuration[name], dtype=torch.float32).reshape(3, 1, 1))


def complete(network: nn.Module) -> None:
    """Give the trunks in a network what follows from their model alone and therefore lies in no file.

    Call it where the weights are in place: memory is taken for a model whose weights were there already.
    """
    for module in network.modules():
        if not isinstance(module, BackboneNet):
            continue
        missing = [name for name, buffer in module.trunk.named_buffers() if buffer.is_meta]
        fresh = dict(_stored(module.model).named_buffers()) if missing else {}
        for name in missing:
            owner, _, leaf = name.rpartition(".")
            setattr(module.trunk.get_submodule(owner), leaf, fresh[name])


def _timm() -> ModuleType:
    if importlib.util.find_spec("timm") is None:
        raise UsageError(f"a pretrained backbone needs timm, which is not installed: {INSTALL}")
    try:
        importlib.import_module("torchvision")
    except (
        RuntimeError
    ):  # built for another torch, as beside a CPU build; nothing of ours calls its operators
        _stand_ins()
    except ImportError:
        pass
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        what = ascii(str(error).partition("\n")[0])[1:-1]
        raise UsageError(
            f"a pretrained backbone needs timm, which cannot be imported ({what}): {INSTALL}"
        ) from error


@functools.cache
def _stand_ins() -> torch.library.Library:
    """Declare the operators that importing torchvision asks for; they live as long as this library."""
    library: torch.library.Library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in OPERATORS:
        library.define(operator)  # type: ignore[no-untyped-call]
    return library


def _made(model: str) -> nn.Module:
    """Return a model without its classifier, on the device that is the default."""
    timm = _timm()
    if not timm.is_model(model):  # else a prefix in the name would send timm to a hub or a folder
        raise ModelError(
            f"timm {timm.__version__} has no model {shown(model)}; `timm.list_models()` names them"
        )
    made: nn.Module = timm.create_model(model, pretrained=False, num_classes=0)
    return made


def _stored(model: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        return _made(model)


def _width(trunk: nn.Module, model: str, side: int) -> int:
    try:
        shape = trunk.eval()(torch.zeros(1, 3, side, side)).shape
    except (AssertionError, RuntimeError, ValueError, IndexError) as error:
        what = ascii(str(error).partition("\n")[0])[1:-1]
        raise ModelError(
            f"timm's {shown(model)} cannot see images of {side} x {side} pixels: {what}"
        ) from error
    if len(shape) != 2:
        raise ModelError(
            f"timm's {shown(model)} gives {tuple(shape)} for an image, expected a row of features"
        )
    return int(shape[1])


def _configuration(trunk: nn.Module) -> dict[str, Any]:
    usual = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "input_size": (3, 224, 224)}
    told: dict[str, Any] = dict(
        getattr(trunk, "pretrained_cfg", None) or getattr(trunk, "default_cfg", None) or {}
    )
    return usual | told


def _from_hub(model: str, configuration: dict[str, Any]) -> Path:
    remedy = "give --set backbone_weights=FILE.safetensors"
    repository = configuration.get("hf_hub_id")
    if not repository:
        raise UsageError(f"--set backbone={model}: no hub has weights that timm knows of; {remedy}")
    hub = importlib.import_module("huggingface_hub")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries are no news to our users
    try:
        return Path(hub.hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # each of the hub's libraries has its own
        what = ascii(str(error).strip().partition("\n")[0])[1:-1] or type(error).__name__
        raise UsageError(
            f"--set backbone={model}: its weights cannot be had from the hub ({what}); {remedy}"
        ) from error


def _tensors(path: Path, where: str) -> dict[str, Tensor]:
    with open_regular(path, UsageError) as file:
        content = file.read()
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise UsageError(
            f"{where}: {shown(path)} is no safetensors file: {ascii(str(error))[1:-1]}; convert it first"
        ) from error
    return tensors


def _compare(found: dict[str, Tensor], expected: dict[str, Tensor], begin: str) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if name not in found:
            raise UsageError(f"{begin}: {shown(name)} is missing")
        if name not in expected:
            raise UsageError(f"{begin}: {shown(name)} is too many")
        told, true = found[name], expected[name]
        if told.shape != true.shape:
            raise UsageError(f"{begin}: {shown(name)} is {tuple(told.shape)}, expected {tuple(true.shape)}")
        if not told.isfinite().all():
            raise UsageError(f"{begin}: {shown(name)} holds a value that is not finite")
