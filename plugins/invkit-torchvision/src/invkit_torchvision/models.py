"""torchvision's models as interpretees: by name, or live ones."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import detection

from invkit.errors import InvkitWarning
from invkit.interpretees import ModuleInterpretee, Preprocess
from invkit_torchvision.layers import named_layers, token_layout
from invkit_torchvision.weights import fill, find

__all__ = ["DetectionInterpretee", "claim", "load", "names"]


class DetectionInterpretee(ModuleInterpretee):
    """An object detector; its decision is the best score of each category anywhere in the image, (B, C).

    It normalises and resizes images itself. Layers before its proposals, such as the backbone's, can be explained.
    Later layers have a row for each proposal instead of each image.
    """

    def _captured(self, images: Tensor, layers: Sequence[str], *, gradients: bool) -> dict[str, Tensor]:
        found = super()._captured(images, [layer for layer in layers if layer != "output"], gradients=gradients)
        if "output" in layers:
            found["output"] = self._as_decision(self._run(images, gradients=gradients), images)
        return {layer: found[layer] for layer in layers}

    def _as_decision(self, output: Any, images: Tensor) -> Tensor:
        return torch.stack([self._best(found) for found in output]).to(images.device)

    def _best(self, found: dict[str, Tensor]) -> Tensor:
        """Return the best score of each category in an image, (C,), 0 where none was found."""
        scores = found["scores"].float()
        return scores.new_zeros(_categories(self.module)).scatter_reduce(0, found["labels"], scores, "amax")


def _categories(detector: nn.Module) -> int:
    """Return the number of a detector's categories, background included."""
    if isinstance(detector, detection.FasterRCNN):
        return detector.roi_heads.box_predictor.cls_score.out_features
    head: Any = detector.get_submodule("head.classification_head")
    return int(head.num_columns if isinstance(detector, detection.ssd.SSD) else head.num_classes)


def names() -> list[str]:
    """Return the names of models for classification, then for segmentation and detection."""
    return [name for module in (models, models.segmentation, detection) for name in models.list_models(module=module)]


def load(name: str, weights: str | None, local_files_only: bool) -> ModuleInterpretee:
    """Build a model and load its weights; arguments and errors as of the hook `load_model`."""
    known = models.get_model_weights(name)
    member = known.__members__.get(weights or "DEFAULT", known.DEFAULT)
    file = find(known, weights, local_files_only)  # raises before the model is built
    preprocess = _preprocess(member)
    model = models.get_model(name, weights=None, **_options(_kind(name), preprocess.shape, random=file is None))
    if file is not None:
        fill(model, file, local_files_only)
    return _interpretee(model, preprocess, member.meta["categories"] or ())


def claim(module: nn.Module, preprocess: Callable[[Tensor], Tensor] | None) -> ModuleInterpretee | None:
    """Return the interpretee of a live model, or None if torchvision has no name for it."""
    family = [name for name in names() if _kind(name) is type(module)]
    if not family:
        return None
    return _interpretee(module, _assume(module, family) if preprocess is None else preprocess)


def _interpretee(
    model: nn.Module, preprocess: Callable[[Tensor], Tensor], categories: Sequence[str] = ()
) -> ModuleInterpretee:
    kind = DetectionInterpretee if _task(type(model)) == "detection" else ModuleInterpretee
    return kind(model, preprocess, categories, tokens=token_layout(model), named=named_layers(model))


def _kind(name: str) -> type[nn.Module]:
    """Return the class of a named model, without building it."""
    kind: type[nn.Module] = inspect.signature(models.get_model_builder(name)).return_annotation
    return kind


def _task(kind: type[nn.Module]) -> str:
    """Return `segmentation`, `detection`, or the name of a file of classifiers."""
    return kind.__module__.removeprefix("torchvision.models.").partition(".")[0]


def _options(kind: type[nn.Module], shape: tuple[int, int] | None, random: bool) -> dict[str, Any]:
    """Return the options that torchvision sets for published weights, but not with `weights=None`."""
    if kind in (models.GoogLeNet, models.Inception3):  # published models renormalise their input
        return {"aux_logits": False, "transform_input": True, "init_weights": random}
    if kind is models.VGG:
        return {"init_weights": random}
    if kind is models.VisionTransformer:  # has a position embedding for each patch
        return {"image_size": shape and shape[0]}
    if _task(kind) in ("segmentation", "detection"):
        return {"weights_backbone": None}
    return {}


def _preprocess(member: Any, size: int | None = None) -> Preprocess:
    """Return the preprocessing of published weights.

    torchvision resizes the shorter side and crops the centre. Here the whole image is resized to a square of the
    crop's size: an explanation must not depend on what a crop removes. Detectors preprocess images themselves.
    """
    transforms = member.transforms()
    if not hasattr(transforms, "mean"):
        return Preprocess()
    own = getattr(transforms, "crop_size", transforms.resize_size)[0]
    mode: Literal["bilinear", "bicubic"] = "bicubic" if transforms.interpolation.value == "bicubic" else "bilinear"
    return Preprocess(size or own, tuple(transforms.mean), tuple(transforms.std), mode)


def _assume(module: nn.Module, family: Sequence[str]) -> Preprocess:
    """Return the preprocessing of the default weights, with a warning: a live module has no name of its weights.

    The model of the family is found by its number of parameters; the first is assumed for a model with another head.
    """
    count = sum(parameter.numel() for parameter in module.parameters())
    members = {name: models.get_model_weights(name).DEFAULT for name in family}
    name = next((name for name in family if members[name].meta["num_params"] == count), family[0])
    preprocess = _preprocess(members[name], getattr(module, "image_size", None))
    if preprocess == Preprocess():
        return preprocess
    warnings.warn(
        f"Unknown preprocessing of this {type(module).__name__}: assumed is {preprocess}, as of "
        f"{members[name]!r} ({name}). Pass preprocess=invkit.Preprocess(...) if it was trained otherwise, or to "
        "confirm it.",
        InvkitWarning,
        stacklevel=2,
    )
    return preprocess
