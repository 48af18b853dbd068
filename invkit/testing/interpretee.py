"""Checks of an interpretee: what it captures is right, and it leaves nothing behind."""

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

_SAME = 1e-5  # the same computation twice; a GPU may sum in another order
_OTHER_BATCH = 1e-3  # libraries choose the algorithm by the size of the batch
_OTHER_BATCH_HALF = 5e-2
_CHUNK = 2**24  # floats captured at once: 64 MB


def layers_are_listed(s: Subject) -> str:
    """The listed layers are those that fire in a plain pass of the model, each with its number of calls."""
    addresses = [info.address for info in s.listed]
    expect(bool(addresses), "layers() lists none")
    twice = {address for address in addresses if addresses.count(address) > 1}
    expect(not twice, f"layers() lists twice: {', '.join(sorted(twice)[:3])}")
    if s.plain is not None:
        calls = {info.address: info.calls for info in s.listed}
        for name, shapes in s.plain.shapes.items():
            expect(calls.get(name) == len(shapes), f"'{name}' fires {len(shapes)} times, listed are {calls.get(name)}")
    expect(bool(s.layers), "no listed layer gives a tensor of floats with a row for each image")
    no_floats, no_rows = len(s.listed) - len(s.tensors), len(s.tensors) - len(s.explainable)
    left_out = f"{no_floats} without floats, {no_rows} without a row for each image"
    return f"{len(s.listed)} layers: {left_out}; {len(s.layers)} tried"


def every_layer_gives_its_shape(s: Subject) -> str:
    """Every listed layer can be captured and has the listed shape."""
    for chunk in _chunks(s.tensors):
        found = s.interpretee.represent(s.images[:1], [info.address for info in chunk])
        for info in chunk:
            shape = tuple(found[info.address].shape[1:])
            expect(shape == info.shape, f"'{info.address}' is {shape}, listed is {info.shape}")
    return f"{len(s.tensors)} layers, {len(s.listed) - len(s.tensors)} skipped"


def _chunks(infos: Sequence[LayerInfo]) -> Iterator[list[LayerInfo]]:
    """Split layers so that one forward pass captures a bounded amount."""
    chunk: list[LayerInfo] = []
    for info in infos:
        if chunk and sum(each.bytes(1) for each in [*chunk, info]) > 4 * _CHUNK:
            yield chunk
            chunk = []
        chunk.append(info)
    if chunk:
        yield chunk


def captures_equal_plain_hooks(s: Subject) -> str:
    """Captures equal what plain hooks on the bare model see at that moment, whatever in-place operation follows."""
    if not isinstance(s.interpretee, ModuleInterpretee):
        raise NotApplicableError("no bare module to compare with")
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
        raise NotApplicableError("none of the layers is a module's output as a whole")
    return f"{compared} layers"


def decision_is_the_output(s: Subject) -> str | None:
    """decide() gives (B, C): the layer `output`, and what the bare model returns."""
    decision = s.interpretee.decide(s.images)
    rows = len(s.images)
    if isinstance(s.interpretee, ModuleInterpretee) and "output" in dict(s.interpretee.module.named_modules()):
        raise NotApplicableError("a module is called `output`")
    expect(decision.ndim == 2 and len(decision) == rows, f"decide() gives {tuple(decision.shape)}, not ({rows}, C)")
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
    """Writing into one capture changes no other, and nothing of a second call."""
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
    """Several layers from one forward pass equal each from its own."""
    expect(list(s.whole) == s.layers, f"represent() gives {list(s.whole)[:3]} …, asked for were {s.layers[:3]} …")
    for layer in s.layers:
        alone = s.interpretee.represent(s.images, [layer])
        expect(list(alone) == [layer], f"represent() gives {list(alone)}, asked for was '{layer}'")
        expect_close(s.whole[layer], alone[layer], _SAME, f"'{layer}' among others and alone")


def batch_of_one_equals_its_row(s: Subject) -> None:
    """An image alone is represented as in a batch."""
    tolerance = _OTHER_BATCH_HALF if s.half else _OTHER_BATCH
    alone = s.interpretee.represent(s.images[1:], s.layers)
    for layer in s.layers:
        expect_close(alone[layer], s.whole[layer][1:], tolerance, f"'{layer}' of an image alone and in a batch")


def it_is_deterministic(s: Subject) -> None:
    """Neither the random state nor the mode in which the model stands changes anything."""
    found = []
    for seed, training in enumerate([True, False]):
        with in_mode(s.models, training), seeded(seed):
            found.append(s.interpretee.represent(s.images, s.layers))
    for layer in s.layers:
        expect_close(found[0][layer], found[1][layer], _SAME, f"'{layer}' in training and in evaluation mode")


def captures_are_float32_where_the_images_are(s: Subject) -> None:
    """Captures are float32, on the images' device, and hold no graph."""
    for layer, z in s.whole.items():
        expect(z.dtype == torch.float32, f"'{layer}' is {z.dtype}")
        expect(z.device == s.images.device, f"'{layer}' is on {z.device}, the images on {s.images.device}")
        expect(not z.requires_grad, f"'{layer}' holds a graph")


def images_of_other_sizes_work(s: Subject) -> str:
    """Where the model sees images of one size, images of any size give the same shapes."""
    size = s.interpretee.input_shape
    if size is None:
        raise NotApplicableError("the model sees images at their own size")
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


def nothing_is_left_behind(s: Subject) -> str:
    """No call changes modes, hooks, gradients, parameters, buffers, random states or the images."""
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
    return f"{modules} modules" if modules else "random states and images only: no module is within reach"


def nothing_is_left_behind_after_an_error(s: Subject) -> str | None:
    """Neither an unknown layer nor an exception inside the model leaves a trace, and the next call works."""
    with disturbed(s.models):
        before = snapshot(s.models)
        with suppress(LayerError):
            s.interpretee.represent(s.images, [s.layers[0], "no such layer"])
        expect_unchanged(before, snapshot(s.models), "represent() of an unknown layer")
        if s.models:
            expect(_raises_inside(s), "represent() swallows an exception that the model raises")
            expect_unchanged(before, snapshot(s.models), "an exception inside the model")
    again = s.interpretee.represent(s.images, s.layers)
    for layer in s.layers:
        expect_close(again[layer], s.whole[layer], _SAME, f"'{layer}' after an error and before")
    return None if s.models else "an unknown layer only: no module is within reach"


class _InsideError(Exception):
    """What a module under test is made to raise."""


def _raises_inside(s: Subject) -> bool:
    """Make a module raise while a layer is captured; whether the caller hears of it."""
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
    """A misspelt layer raises LayerError that names the right one."""
    right = s.tensors[-1].address
    wrong = f"x{right}"
    try:
        s.interpretee.represent(s.images, [wrong])
    except LayerError as error:
        words = {word.strip(".:;") for word in re.split(r"[\s,'\"]+", str(error))}
        expect(right in words, f"the error for '{wrong}' does not name '{right}': {error}")
    except Exception as error:
        raise AssertionError(f"'{wrong}' raises {type(error).__name__}, not LayerError") from error
    else:
        raise AssertionError(f"'{wrong}' raises nothing")


def the_fingerprint_follows_the_weights(s: Subject) -> str | None:
    """Any changed parameter or buffer gives another fingerprint, and the state dict gives the first one back."""
    first = s.interpretee.fingerprint()
    expect(s.interpretee.fingerprint() == first, "two calls of fingerprint() differ")
    if not s.models:
        return "two calls only: no module is within reach"
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
    expect(s.interpretee.fingerprint() == first, "the fingerprint does not come back with the state dict")
    return None


@torch.no_grad()
def _fingerprint_with(s: Subject, tensor: Tensor) -> str:
    """Return the fingerprint while a tensor is changed."""
    before = tensor.clone()
    try:
        # infinity plus one is infinity, and a large number plus one may round to itself
        tensor.copy_(torch.where(tensor.isfinite(), tensor + 1 + tensor.abs(), torch.zeros_like(tensor)))
        return s.interpretee.fingerprint()
    finally:
        tensor.copy_(before)


def the_fingerprint_is_the_same_in_every_process(s: Subject) -> None:
    """The preprocessing has a repr without an address in memory, so that saved work is found again."""
    if not isinstance(s.interpretee, ModuleInterpretee):
        raise NotApplicableError("how it makes its fingerprint is not known")
    text = repr(s.interpretee.preprocess)
    expect(re.search(r" at 0x[0-9a-f]+", text) is None, f"the preprocessing is {text}: give it a repr of its own")


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
        nothing_is_left_behind,
        nothing_is_left_behind_after_an_error,
        an_unknown_layer_lists_near_names,
        the_fingerprint_follows_the_weights,
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

    The model is left as it was found: on a model of random weights the checks say as much as on a trained one.

    Args:
        interpretee: with its model, which may be on any device.
        layers: addresses for the costly checks; None for twelve over the whole depth.
        images: (B, 3, H, W) in [0, 1]; None for random ones at the model's own size, or 64 px. Two are used.
        expected_failures: reason by name of a check that fails; see INTERPRETEE_CHECKS for the names.
        raise_on_failure: False gives the report in any case.

    Raises:
        AssertionError: a check failed that is not expected to, or passed that is.
        SettingsError: an expected failure names no check.
    """
    results = run_checks(INTERPRETEE_CHECKS, Subject(interpretee, layers, images))
    return conclude(repr(interpretee), results, expected_failures, raise_on_failure)
