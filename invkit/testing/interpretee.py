"""Checks of an interpretee: its captures are right, and it does not change the model."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from invkit.core import Interpretee, LayerInfo
from invkit.errors import InvkitError, LayerError
from invkit.interpretees import ModuleInterpretee
from invkit.testing.compare import expect, expect_close
from invkit.testing.reference import plain_pass
from invkit.testing.report import NotApplicableError, Report, conclude, run_checks
from invkit.testing.state import disturbed, expect_unchanged, hooks_of, in_mode, seeded, snapshot
from invkit.testing.subject import Subject

__all__ = ["INTERPRETEE_CHECKS", "check_interpretee"]

_SAME = 1e-5  # one computation twice; the order of sums may differ on a GPU
_OTHER_BATCH = 1e-3  # libraries choose algorithms by batch size
_OTHER_BATCH_HALF = 5e-2
_CHUNK = 2**24  # floats captured at once: 64 MB


def layers_are_listed(s: Subject) -> str:
    """The listed layers are the ones that fire in a plain pass of the model, with their numbers of calls."""
    addresses = [info.address for info in s.listed]
    expect(bool(addresses), "layers() lists no layer")
    twice = {address for address in addresses if addresses.count(address) > 1}
    expect(not twice, f"layers() lists twice: {', '.join(sorted(twice)[:3])}")
    if s.plain is not None:
        calls = {info.address: info.calls for info in s.listed}
        for name, shapes in s.plain.shapes.items():
            expect(
                calls.get(name) == len(shapes), f"'{name}' fires {len(shapes)} times, layers() lists {calls.get(name)}"
            )
    expect(bool(s.layers), "no listed layer returns a floating-point tensor with a row for each image")
    no_floats, no_rows = len(s.listed) - len(s.tensors), len(s.tensors) - len(s.explainable)
    left_out = f"{no_floats} without floating-point output, {no_rows} without a row for each image"
    return f"{len(s.listed)} layers: {left_out}; {len(s.layers)} checked"


def every_layer_gives_its_shape(s: Subject) -> str:
    """Every listed layer can be captured and has the listed shape."""
    for chunk in _chunks(s.tensors):
        found = s.interpretee.represent(s.images[:1], [info.address for info in chunk])
        for info in chunk:
            shape = tuple(found[info.address].shape[1:])
            expect(shape == info.shape, f"'{info.address}' is {shape}, listed is {info.shape}")
    return f"{len(s.tensors)} layers, {len(s.listed) - len(s.tensors)} skipped"


def _chunks(infos: Sequence[LayerInfo]) -> Iterator[list[LayerInfo]]:
    """Split layers so that one forward pass captures a limited number of bytes."""
    chunk: list[LayerInfo] = []
    for info in infos:
        if chunk and sum(each.bytes(1) for each in [*chunk, info]) > 4 * _CHUNK:
            yield chunk
            chunk = []
        chunk.append(info)
    if chunk:
        yield chunk


def captures_equal_plain_hooks(s: Subject) -> str:
    """Captures equal the outputs that plain hooks on the bare model see, before any later in-place operation."""
    if not isinstance(s.interpretee, ModuleInterpretee):
        raise NotApplicableError("it is not a ModuleInterpretee, so there is no module to compare with")
    named = s.interpretee.named
    places = {layer: (named[layer].address if layer in named else layer).partition("@") for layer in s.layers}
    plain = plain_pass(s.interpretee, s.images, {name for name, _, _ in places.values()})
    with in_mode(s.models, True):
        captured = s.interpretee.represent(s.images, s.layers)
    compared = 0
    for layer, (name, _, call) in places.items():
        calls = plain.values.get(name, [])
        value = calls[int(call or 0)] if calls and (call or "0").isdigit() else None
        if value is None:  # a part of an output, `input` or `output`
            continue
        then = named[layer].then if layer in named else None
        expected = value.float() if then is None else then(value.float())
        expect_close(captured[layer].cpu(), expected.cpu(), _SAME, f"'{layer}' and a plain hook's clone")
        compared += 1
    if not compared:
        raise NotApplicableError("none of the layers is the whole output of a module")
    return f"{compared} layers"


def decision_is_the_output(s: Subject) -> str | None:
    """decide() returns (B, C), equal to the layer `output` and to the output of the bare model."""
    decision = s.interpretee.decide(s.images)
    rows = len(s.images)
    if isinstance(s.interpretee, ModuleInterpretee) and "output" in dict(s.interpretee.module.named_modules()):
        raise NotApplicableError("a module is named `output`")
    expect(decision.ndim == 2 and len(decision) == rows, f"decide() returns {tuple(decision.shape)}, not ({rows}, C)")
    try:
        output = s.interpretee.represent(s.images, ["output"])["output"]
    except LayerError as error:
        if s.plain is not None:
            raise
        raise NotApplicableError("it has no layer `output`") from error
    expect_close(output, decision, _SAME, "the layer `output` and decide()")
    if s.plain is not None and isinstance(s.plain.output, Tensor):
        expect_close(decision.cpu(), s.plain.output.float().cpu(), _SAME, "decide() and the bare model")
    return None


def captures_are_copies(s: Subject) -> None:
    """Writing into a capture changes no other one, and no later call."""
    expected = {layer: z.clone() for layer, z in s.interpretee.represent(s.images, s.layers).items()}
    found = s.interpretee.represent(s.images, s.layers)
    for k, layer in enumerate(s.layers):
        try:
            found[layer].fill_(k)
        except RuntimeError as error:
            raise AssertionError(f"'{layer}' can't be written into: {error}") from error
    for k, layer in enumerate(s.layers):
        expect(bool((found[layer] == k).all()), f"'{layer}' shares memory with another capture of the same call")
    again = s.interpretee.represent(s.images, s.layers)
    for layer in s.layers:
        expect_close(again[layer], expected[layer], _SAME, f"'{layer}', after the first one was written into")


def one_pass_equals_one_at_a_time(s: Subject) -> None:
    """Layers that are captured in one pass equal those that are captured one at a time."""
    expect(list(s.whole) == s.layers, f"represent() returns {list(s.whole)[:3]} … for {s.layers[:3]} …")
    for layer in s.layers:
        alone = s.interpretee.represent(s.images, [layer])
        expect(list(alone) == [layer], f"represent() returns {list(alone)} for '{layer}'")
        expect_close(s.whole[layer], alone[layer], _SAME, f"'{layer}' among others and alone")


def batch_of_one_equals_its_row(s: Subject) -> None:
    """An image has the same representation alone and in a batch."""
    tolerance = _OTHER_BATCH_HALF if s.half else _OTHER_BATCH
    alone = s.interpretee.represent(s.images[1:], s.layers)
    for layer in s.layers:
        expect_close(alone[layer], s.whole[layer][1:], tolerance, f"'{layer}' of an image alone and in a batch")


def it_is_deterministic(s: Subject) -> None:
    """Results depend neither on the random state nor on the mode of the model."""
    found = []
    for seed, training in enumerate([True, False]):
        with in_mode(s.models, training), seeded(seed):
            found.append(s.interpretee.represent(s.images, s.layers))
    for layer in s.layers:
        expect_close(found[0][layer], found[1][layer], _SAME, f"'{layer}' in training and in evaluation mode")


def captures_are_float32_where_the_images_are(s: Subject) -> None:
    """Captures are float32, on the images' device, and without an autograd graph."""
    for layer, z in s.whole.items():
        expect(z.dtype == torch.float32, f"'{layer}' is {z.dtype}")
        expect(z.device == s.images.device, f"'{layer}' is on {z.device}, the images on {s.images.device}")
        expect(not z.requires_grad, f"'{layer}' has an autograd graph")


def images_of_other_sizes_work(s: Subject) -> str:
    """If the model's input has a fixed size, images of any size give the same shapes."""
    size = s.interpretee.input_shape
    if size is None:
        raise NotApplicableError("the size of the model's input is not fixed")
    listed = {info.address: info.shape for info in s.listed}
    others = [(size[0] + 17, size[1] + 40), (max(8, size[0] // 2), max(8, size[1] // 2))]
    for height, width in others:
        for layer, z in s.interpretee.represent(s.random_images(1, height, width), s.layers).items():
            shape = tuple(z.shape[1:])
            expect(listed.get(layer, shape) == shape, f"'{layer}' is {shape} at {height}×{width} px")
    return ", ".join(f"{height}×{width}" for height, width in others)


def preprocessing_has_its_inverse(s: Subject) -> None:
    """At the network's size, inverse(preprocess(x)) is x; grey images for a network of one channel."""
    preprocess = getattr(s.interpretee, "preprocess", None)
    inverse = getattr(preprocess, "inverse", None)
    if not callable(preprocess) or not callable(inverse):
        raise NotApplicableError("the preprocessing has no inverse")
    height, width = s.interpretee.input_shape or s.images.shape[-2:]
    images = s.random_images(2, height, width)
    prepared = preprocess(images)
    if prepared.shape[1] == 1:
        images = images[:, :1].expand(-1, 3, -1, -1)
        prepared = preprocess(images)
    expect_close(inverse(prepared), images, 1e-4, "inverse(preprocess(x)) and x")


def the_model_is_unchanged(s: Subject) -> str:
    """No call changes modes, hooks, gradients, parameters, buffers, random states or images."""
    images = s.images.clone()
    calls: dict[str, Callable[[], object]] = {
        "represent()": lambda: s.interpretee.represent(images, s.layers),
        "decide()": lambda: s.interpretee.decide(images),
        "layers()": s.list_layers,
        "fingerprint()": s.interpretee.fingerprint,
    }
    with disturbed(s.models):
        for what, call in calls.items():
            before = snapshot(s.models, images)
            with suppress(InvkitError):
                call()
            expect_unchanged(before, snapshot(s.models, images), what)
    expect_unchanged(s.hooks_at_first, hooks_of(s.models), "an earlier call")
    modules = sum(len(list(model.modules())) for model in s.models)
    return f"{modules} modules" if modules else "random states and images only: the interpretee holds no module"


def the_model_is_unchanged_after_an_error(s: Subject) -> str | None:
    """An unknown layer or an exception inside the model changes nothing, and the next call works."""
    with disturbed(s.models):
        before = snapshot(s.models)
        with suppress(LayerError):
            s.interpretee.represent(s.images, [s.layers[0], "no such layer"])
        expect_unchanged(before, snapshot(s.models), "represent() of an unknown layer")
        if s.models:
            expect(_raises_inside(s), "represent() hides an exception that the model raises")
            expect_unchanged(before, snapshot(s.models), "an exception inside the model")
    again = s.interpretee.represent(s.images, s.layers)
    for layer in s.layers:
        expect_close(again[layer], s.whole[layer], _SAME, f"'{layer}' after an error and before")
    return None if s.models else "an unknown layer only: the interpretee holds no module"


class _InsideError(Exception):
    """Raised inside a module under test."""


def _raises_inside(s: Subject) -> bool:
    """Raise an exception inside a module while a layer is captured; return whether the caller sees one."""
    modules = dict(s.network.named_modules())
    layer = next((layer for layer in reversed(s.layers) if layer.partition("@")[0] in modules), s.layers[-1])

    def fail(*_: object) -> None:
        raise _InsideError("raised by the conformance kit")

    handle = modules.get(layer.partition("@")[0], s.network).register_forward_pre_hook(fail)
    try:
        s.interpretee.represent(s.images, [layer])
    except Exception:
        return True
    finally:
        handle.remove()
    return False


def an_unknown_layer_lists_near_names(s: Subject) -> None:
    """For a misspelt layer, here with an `x` in front, LayerError is raised and its message has the right one."""
    right = s.tensors[-1].address
    wrong = f"x{right}"
    try:
        s.interpretee.represent(s.images, [wrong])
    except LayerError as error:
        words = {word.strip(".:;") for word in re.split(r"[\s,'\"]+", str(error))}
        expect(right in words, f"the error for '{wrong}' does not contain '{right}': {error}")
    except Exception as error:
        raise AssertionError(f"'{wrong}' raises {type(error).__name__}, not LayerError") from error
    else:
        raise AssertionError(f"'{wrong}' raises nothing")


def the_fingerprint_depends_on_the_weights(s: Subject) -> str | None:
    """A changed parameter or buffer changes the fingerprint, and loading the state dict restores it."""
    first = s.interpretee.fingerprint()
    expect(s.interpretee.fingerprint() == first, "two calls of fingerprint() differ")
    if not s.models:
        return "two calls only: the interpretee holds no module"
    network = s.network
    state = copy.deepcopy(network.state_dict())
    parameters = [p for p in network.parameters() if p.is_floating_point()]
    buffers = [b for name, b in network.named_buffers() if name in state and b.is_floating_point()]
    some: list[tuple[str, Tensor]] = [("first parameter", p) for p in parameters[:1]]
    some += [("last parameter", p) for p in parameters[-1:]] + [("last buffer", b) for b in buffers[-1:]]
    for what, tensor in some:
        expect(_fingerprint_with(s, tensor) != first, f"another {what} gives the same fingerprint")
    with torch.no_grad():
        for tensor in parameters[:1]:
            tensor.add_(1)
    network.load_state_dict(state)
    expect(s.interpretee.fingerprint() == first, "the fingerprint is not restored with the state dict")
    return None


@torch.no_grad()
def _fingerprint_with(s: Subject, tensor: Tensor) -> str:
    """Return the fingerprint with a changed tensor, which is restored."""
    before = tensor.clone()
    try:
        # infinity + 1 is infinity, and a large number + 1 may be rounded to itself
        tensor.copy_(torch.where(tensor.isfinite(), tensor + 1 + tensor.abs(), torch.zeros_like(tensor)))
        return s.interpretee.fingerprint()
    finally:
        tensor.copy_(before)


def the_fingerprint_is_the_same_in_every_process(s: Subject) -> None:
    """The repr of the preprocessing has no memory address, so that cached results are found again."""
    if not isinstance(s.interpretee, ModuleInterpretee):
        raise NotApplicableError("it is not a ModuleInterpretee")
    text = repr(s.interpretee.preprocess)
    expect(re.search(r" at 0x[0-9a-f]+", text) is None, f"the preprocessing is {text}: define its __repr__")


INTERPRETEE_CHECKS: dict[str, Callable[[Subject], str | None]] = {
    check.__name__: check
    for check in (
        layers_are_listed,
        every_layer_gives_its_shape,
        captures_equal_plain_hooks,
        decision_is_the_output,
        captures_are_copies,
        one_pass_equals_one_at_a_time,
        batch_of_one_equals_its_row,
        it_is_deterministic,
        captures_are_float32_where_the_images_are,
        images_of_other_sizes_work,
        preprocessing_has_its_inverse,
        the_model_is_unchanged,
        the_model_is_unchanged_after_an_error,
        an_unknown_layer_lists_near_names,
        the_fingerprint_depends_on_the_weights,
        the_fingerprint_is_the_same_in_every_process,
    )
}


def check_interpretee(
    interpretee: Interpretee,
    *,
    layers: Sequence[str] | None = None,
    images: Tensor | None = None,
    expected_failures: Mapping[str, str] | None = None,
    raise_on_failure: bool = True,
) -> Report:
    """Check that an interpretee keeps the contract of :class:`invkit.core.Interpretee`.

    The model is not changed. Random weights are as good for the checks as trained ones.

    Args:
        interpretee: interpretee whose model may be on any device.
        layers: addresses for the slow checks; None for twelve layers over the whole depth.
        images: (B, 3, H, W) in [0, 1], of which two are used; None for random ones at the model's own size, or 64 px.
        expected_failures: reasons by names of checks that fail; INTERPRETEE_CHECKS has the names.
        raise_on_failure: False returns the report in any case.

    Returns:
        the result of each check.

    Raises:
        AssertionError: a check failed unexpectedly, or an expected failure passed.
        SettingsError: an expected failure is not the name of a check.

    Example:
        >>> from torch import nn
        >>> from invkit.interpretees import ModuleInterpretee, Preprocess
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(196, 5))
        >>> report = check_interpretee(ModuleInterpretee(network, Preprocess(16)))
        >>> report.passed
        True
    """
    results = run_checks(INTERPRETEE_CHECKS, Subject(interpretee, layers, images))
    return conclude(repr(interpretee), results, expected_failures, raise_on_failure)
