"""Layer addresses: ``features.11``, ``block@1`` (second call), ``encoder[0]`` or ``block.cls`` (a part)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from invkit.errors import LayerError
from invkit.interpretees.tokens import TOKEN_PARTS, TokenLayout

__all__ = ["INPUT", "OUTPUT", "Address", "expand", "parse", "pick", "unknown_layer"]

#: addresses of the model's input and output; a module that is itself named `input` or `output` takes precedence
INPUT, OUTPUT = "<input>", "<output>"
_WHOLE = {"input": INPUT, "output": OUTPUT}
_PART = re.compile(r"\[(\d+)\]|\.([A-Za-z_]\w*)")
#: regular expressions of the wildcards of a glob
_SIGNS = {"**": ".*", "*": r"[^.]*", "?": "[^.]"}


@dataclass(frozen=True)
class Address:
    """A place in a model's forward pass.

    Attributes:
        text: the address as the user wrote it.
        module: dotted name of the module, or INPUT or OUTPUT.
        call: index of the module's call in a forward pass, from 0.
        path: keys and indices into a nested output.
    """

    text: str
    module: str
    call: int
    path: tuple[str | int, ...]


def parse(text: str, modules: Mapping[str, nn.Module]) -> Address:
    """Parse the address of a layer of a model.

    Args:
        text: the address.
        modules: modules of the model by name.

    Raises:
        LayerError: no such layer; the message lists the nearest names.
    """
    head, _, rest = text.partition("@")
    call = 0
    if rest:
        digits = re.match(r"\d+", rest)
        if digits is None:
            raise unknown_layer(text, modules)
        call, tail = int(digits.group()), rest[digits.end() :]
        name = head
    else:
        # the longest prefix that is a module; a module's own name wins over a part of its parent's output
        ends = [m.start() for m in re.finditer(r"[.\[]", head)] + [len(head)]
        name = next((head[:end] for end in reversed(ends) if head[:end] in {*modules, *_WHOLE}), head)
        tail = head[len(name) :]
    path = tuple(int(i) if i else key for i, key in _PART.findall(tail))
    if name not in {*modules, *_WHOLE} or _PART.sub("", tail):
        raise unknown_layer(text, modules)
    return Address(text, name if name in modules else _WHOLE[name], call, path)


def expand(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Replace globs by the names that match; plain addresses stay as they are.

    As in paths, ``*`` matches no dot and ``**`` does: ``layer*`` of a ResNet matches its four stages, ``layer**`` also
    all modules inside them. ``?`` matches one character.

    Args:
        patterns: addresses and globs.
        names: names of all layers.

    Raises:
        LayerError: a glob matches nothing.
    """
    names, found = list(names), []
    for pattern in patterns:
        if not any(sign in pattern for sign in "*?"):
            found.append(pattern)
            continue
        parts = re.split(r"(\*\*|\*|\?)", pattern)
        wanted = re.compile("".join(_SIGNS.get(part) or re.escape(part) for part in parts))
        matches = [name for name in names if wanted.fullmatch(name)]
        if not matches:
            raise unknown_layer(pattern, names)
        found += matches
    return list(dict.fromkeys(found))


def unknown_layer(text: str, names: Iterable[str]) -> LayerError:
    """Return the error for an unknown layer, with the names that are nearest to it.

    These are the five most similar names (:func:`difflib.get_close_matches` with cutoff 0.4), or the last five names.

    Args:
        text: the unknown address.
        names: names of all layers.
    """
    names = [name for name in names if name]
    near = difflib.get_close_matches(text, names, 5, 0.4) or names[-5:]
    return LayerError(
        f"No layer '{text}' in this model",
        expected=f"for instance {', '.join(near)}, 'input' or 'output'",
        hint="`invkit layers MODEL` or `invkit.layers(model, images)` lists them all.",
    )


def pick(output: Any, address: Address, tokens: TokenLayout | None = None) -> Tensor:
    """Return the addressed part of a module's output, a floating-point tensor.

    Args:
        output: whatever the module returned.
        address: its path leads to the part.
        tokens: layout of the model's tokens, for the parts ``cls``, ``registers`` and ``patches``.

    Raises:
        LayerError: no such part, or it is not a floating-point tensor.
    """
    part = output
    for step in address.path:
        try:
            if tokens is not None and step in TOKEN_PARTS and isinstance(part, Tensor) and part.ndim == 3:
                part = tokens.part(part, str(step))
                continue
            part = getattr(part, step) if isinstance(step, str) and not isinstance(part, Mapping) else part[step]
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            raise LayerError(
                f"The output at '{address.text}' has no part {step!r}",
                expected=_parts(part) or (", ".join(f".{name}" for name in TOKEN_PARTS) if tokens else None),
                got=repr(step),
            ) from error
    if not isinstance(part, Tensor) or not part.is_floating_point():
        raise LayerError(
            f"The output at '{address.text}' cannot be explained",
            expected="a floating-point tensor",
            got=f"{part.dtype} tensor" if isinstance(part, Tensor) else type(part).__name__,
            hint=f"Address a part of it: {_parts(part)}." if _parts(part) else "Choose another layer.",
        )
    return part


def _parts(output: Any) -> str:
    if isinstance(output, Mapping):
        return ", ".join(f".{key}" for key in output)
    if isinstance(output, (tuple, list)):
        return ", ".join(f"[{k}]" for k in range(len(output)))
    return ", ".join(f".{key}" for key in getattr(output, "__dataclass_fields__", {}))
