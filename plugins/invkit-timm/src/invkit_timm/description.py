"""The description that a timm model contains: preprocessing, layout of tokens, names of classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from invkit.errors import DataError, PreprocessWarning
from invkit.interpretees import ModuleInterpretee, Preprocess, TokenLayout

__all__ = ["TimmTokens", "categories", "describe", "is_timm", "preprocessing", "tokens"]


@dataclass(frozen=True)
class TimmTokens(TokenLayout):
    """A :class:`~invkit.interpretees.TokenLayout` for models that add prefix tokens in a later block.

    CaiT, XCiT and ConViT add the class token after some blocks: if the tokens are as many as the patches of the grid,
    they are patches.
    """

    def part(self, tokens: Tensor, name: str) -> Tensor:
        """Return one part of tokens (B, T, C).

        Raises:
            KeyError: there is no such token.
        """
        if self.prefix and self.grid is not None and tokens.shape[1] == self.grid[0] * self.grid[1]:
            return TokenLayout(0, cls=False, grid=self.grid).part(tokens, name)
        return super().part(tokens, name)


def is_timm(module: nn.Module, preprocess: Callable[[Tensor], Tensor] | None) -> bool:
    """Whether timm describes the input of a module, or the module is timm's and the user describes it."""
    return bool(_config(module)) or (preprocess is not None and type(module).__module__.startswith("timm."))


def _config(model: nn.Module) -> Mapping[str, Any]:
    """Return timm's `pretrained_cfg` (`default_cfg` in old versions), or an empty mapping."""
    for name in ("pretrained_cfg", "default_cfg"):
        config = getattr(model, name, None)
        if isinstance(config, Mapping) and {"input_size", "mean", "std"} <= config.keys():
            return config
    return {}


def describe(model: nn.Module, preprocess: Callable[[Tensor], Tensor] | None = None) -> ModuleInterpretee:
    """Return the interpretee of a timm model.

    Args:
        model: a model of timm.
        preprocess: replaces timm's.

    Warns:
        PreprocessWarning: the model takes one channel and its `pretrained_cfg` describes three, so that the average of
            their mean and std is assumed, as timm's loader does.

    Raises:
        DataError: the model takes neither one channel nor three, and no `preprocess` makes them.
    """
    channels = getattr(model, "in_chans", 3)
    if preprocess is None and channels not in (1, 3):
        raise DataError(
            f"This {type(model).__name__} takes images of {channels} channels",
            expected="one or three",
            hint="Pass a `preprocess` that makes its input from images (B, 3, H, W) in [0, 1].",
        )
    preprocess = preprocess or preprocessing(model)
    scores_classes = getattr(model, "num_classes", 1) != 0  # otherwise the output is pooled features
    return ModuleInterpretee(
        model, preprocess, categories(model), tokens=tokens(model, preprocess), scores_classes=scores_classes
    )


def preprocessing(model: nn.Module) -> Preprocess:
    """Return timm's resize and normalisation.

    The whole image is resized to the model's size; timm's evaluation crops its centre (`crop_pct`). The size is the one
    that the model was built for; for a model that takes any size it is the training size.
    """
    from timm.data.config import resolve_model_data_config
    from timm.models import get_model_input_config

    config = resolve_model_data_config(model, pretrained_cfg=dict(_config(model)))
    height, width = get_model_input_config(model)["input_size"][-2:]
    channels = getattr(model, "in_chans", 3)
    mean, std = (_for_channels(config[name], channels) for name in ("mean", "std"))
    mode: Literal["bilinear", "bicubic"] = "bicubic" if config["interpolation"] == "bicubic" else "bilinear"
    found = Preprocess(height if height == width else (height, width), mean, std, mode)
    if len(config["mean"]) != channels:
        warnings.warn(
            f"This {type(model).__name__} takes {channels} channel{'s' if channels > 1 else ''} and its "
            f"`pretrained_cfg` describes {len(config['mean'])}: assumed is {found}. Pass preprocess="
            "invkit.Preprocess(...) if it was trained otherwise, or to confirm it.",
            PreprocessWarning,
            stacklevel=2,
        )
    return found


def _for_channels(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return a mean or std of each channel: the average if the number differs (`timm.data.loader.adapt_to_chs`)."""
    if len(values) == channels:
        return tuple(float(value) for value in values)
    return (sum(map(float, values)) / len(values),) * channels


def tokens(model: nn.Module, preprocess: Callable[[Tensor], Tensor]) -> TokenLayout | None:
    """Return the layout of a transformer's tokens, or None if timm does not state the prefix tokens."""
    prefix = getattr(model, "num_prefix_tokens", None)
    if not isinstance(prefix, int):
        return None
    has_class = getattr(model, "has_class_token", getattr(model, "cls_token", None) is not None)
    return TimmTokens(prefix, cls=prefix > 0 and bool(has_class), grid=_grid(model, preprocess))


def _grid(model: nn.Module, preprocess: Callable[[Tensor], Tensor]) -> tuple[int, int] | None:
    """Return rows and columns of patches at the size of preprocessed images; None if they are unknown."""
    names = ("patch_embed", "embeds", "pixel_embed")  # most models, NaFlexViT, TNT
    embed: Any = next((part for name in names if (part := getattr(model, name, None)) is not None), None)
    shape = getattr(preprocess, "shape", None)
    if shape and hasattr(embed, "dynamic_feat_size"):
        return tuple(embed.dynamic_feat_size(shape))
    patch = getattr(embed, "patch_size", None)
    if shape and patch:
        rows, columns = (patch, patch) if isinstance(patch, int) else patch
        return shape[0] // rows, shape[1] // columns
    grid = getattr(embed, "grid_size", None)
    return tuple(grid) if grid else None


def categories(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the classes: the model's own, or those of the ImageNet subset with as many classes."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    config, classes = _config(model), getattr(model, "num_classes", 0)
    names = tuple(config.get("label_names") or ())
    if not config:
        return ()
    if names:
        words = config.get("label_descriptions") or {}
        names = tuple(words.get(name, name) for name in names)
    elif subset := infer_imagenet_subset({"num_classes": classes}):
        names = tuple(ImageNetInfo(subset).label_descriptions())
    return names if len(names) == classes else ()
