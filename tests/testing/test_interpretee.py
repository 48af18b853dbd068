"""Every check of an interpretee fails for an interpretee with that error, and passes for correct ones."""

import random

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from invkit.core import Interpretee, LayerInfo
from invkit.errors import LayerError
from invkit.interpretees import ModuleInterpretee, NamedLayer, Preprocess, TokenLayout
from invkit.testing import check_interpretee
from invkit.testing.interpretee import INTERPRETEE_CHECKS


def failures(interpretee, **options):
    report = check_interpretee(interpretee, **options, raise_on_failure=False)
    return {r.name: r.message for r in report.results if r.outcome == "failed"}


class Wrong(ModuleInterpretee):
    """A correct interpretee of which a test replaces one method."""


def made_wrong(right, **methods):
    kind = type("Wrong", (Wrong,), methods)
    return kind(right.model, right.preprocess, named=right.named)


def same(method):
    """Return the method of the base class."""
    return getattr(ModuleInterpretee, method)


# ---- correct interpretees


def test_a_correct_interpretee_passes_all_checks_and_none_is_skipped(right):
    report = check_interpretee(right)
    assert [r.outcome for r in report.results] == ["passed"] * len(INTERPRETEE_CHECKS)
    assert (
        report.results[0].message
        == "7 layers: 1 without floating-point output, 0 without a row for each image; 6 checked"
    )
    assert f"{len(INTERPRETEE_CHECKS)} checks ran, none failed" in str(report)


def test_the_model_and_the_random_state_are_not_changed(right, network):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    gradients = [p.grad.clone() for p in network.parameters()]
    state = torch.get_rng_state()
    network.norm.eval()
    check_interpretee(right)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert not network.norm.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert parameter.requires_grad
        assert torch.equal(parameter.grad, gradient)


def test_layers_parts_named_layers_and_images_can_be_passed(network):
    named = {"deep": NamedLayer("mix@1", torch.sigmoid)}
    interpretee = ModuleInterpretee(network, named=named)
    report = check_interpretee(interpretee, layers=["deep", "mix", "pair[0]", "input"], images=torch.rand(1, 3, 20, 24))
    outcomes = {r.name: (r.outcome, r.message) for r in report.results}
    assert outcomes["captures_equal_plain_hooks"] == ("passed", "2 layers")
    assert outcomes["images_of_other_sizes_work"] == ("skipped", "the size of the model's input is not fixed")


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "mobilenet_v3_small", "swin_t"])
def test_torchvisions_networks_pass(name):
    model = torchvision.models.get_model(name, weights=None)
    check_interpretee(ModuleInterpretee(model, Preprocess(32, (0.5,) * 3, (0.25,) * 3)))


def test_a_transformer_passes_with_its_tokens():
    model = torchvision.models.VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    interpretee = ModuleInterpretee(model, Preprocess(32), tokens=TokenLayout(1, grid=(2, 2)))
    check_interpretee(interpretee)
    check_interpretee(interpretee, layers=["encoder.ln.cls", "encoder.ln.patches", "encoder.layers"])


class Windows(nn.Module):
    """Attention windows: four rows for each image inside, one outside."""

    def __init__(self):
        super().__init__()
        self.inside = nn.Conv2d(3, 4, 3)
        self.outside = nn.Linear(16, 2)

    def forward(self, x):
        windows = x.unfold(2, 8, 8).unfold(3, 8, 8).movedim(1, 3).flatten(0, 2)
        return self.outside(self.inside(windows).mean((2, 3)).view(len(x), 16))


def test_layers_without_a_row_for_each_image_are_counted_and_skipped():
    report = check_interpretee(ModuleInterpretee(Windows(), Preprocess(16)))
    counts = "2 layers: 0 without floating-point output, 1 without a row for each image; 1 checked"
    assert report.results[0].message == counts


def test_half_precision_and_data_parallel_pass(network):
    check_interpretee(ModuleInterpretee(nn.DataParallel(network), Preprocess(16)))
    check_interpretee(ModuleInterpretee(network.bfloat16(), Preprocess(16)))


def test_a_model_with_a_compiled_part_passes_with_the_original_names(network):
    network.mix = torch.compile(network.mix, backend="eager")
    report = check_interpretee(ModuleInterpretee(network, Preprocess(16)), layers=["conv", "mix@1", "head"])
    assert {r.outcome for r in report.results} == {"passed"}


class Mean(Interpretee):
    """An interpretee without a module: the mean colour of an image."""

    def layers(self):
        return [LayerInfo("mean", "mean", (3,), 1, 0)]

    def represent(self, images, layers):
        if set(layers) - {"mean"}:
            raise LayerError(f"No layer {layers}", expected="for instance mean")
        return {layer: images.mean((2, 3)) for layer in layers}

    def decide(self, images):
        return images.mean((2, 3))

    def fingerprint(self):
        return "mean"


def test_an_interpretee_without_a_module_passes_the_checks_that_apply():
    report = check_interpretee(Mean())
    skipped = {r.name for r in report.results if r.outcome == "skipped"}
    assert skipped == {
        "captures_equal_plain_hooks",
        "decision_is_the_output",
        "images_of_other_sizes_work",
        "preprocessing_has_its_inverse",
        "the_fingerprint_is_the_same_in_every_process",
    }


def test_an_interpretee_is_checked_at_its_input_size():
    seen = set()

    class Sized(Mean):
        input_shape = (32, 20)

        def decide(self, images):
            seen.add(tuple(images.shape[-2:]))
            return super().decide(images)

    results = {r.name: r for r in check_interpretee(Sized()).results}
    assert results["images_of_other_sizes_work"].message == "49×60, 16×10"
    assert seen == {(32, 20)}


# --- wrong ones ---------------------------------------------------------------------------------------------------


def lists_a_layer_that_never_fires(right):
    also = LayerInfo("never", "Linear", (3,), 1, 0)
    return made_wrong(right, layers=lambda self, images=None: [*same("layers")(self, images), also])


def lists_one_layer_too_few(right):
    return made_wrong(right, layers=lambda self, images=None: same("layers")(self, images)[1:])


def lists_a_layer_twice(right):
    return made_wrong(right, layers=lambda self, images=None: same("layers")(self, images) * 2)


def lists_none(right):
    return made_wrong(right, layers=lambda self, images=None: [])


def lists_another_shape(right):
    def layers(self, images=None):
        return [LayerInfo(i.address, i.type, i.shape and (9,), i.calls, 0) for i in same("layers")(self, images)]

    return made_wrong(right, layers=layers)


def hooks_without_a_clone(right):
    """Through the in-place ReLU, the capture of `norm` becomes that of `relu`."""

    def represent(self, images, layers):
        found = {}
        names = {layer.partition("@")[0] for layer in layers if layer in dict(self.model.named_modules())}
        hooks = [
            self.model.get_submodule(n).register_forward_hook(lambda m, i, o, n=n: found.setdefault(n, o))
            for n in names
        ]
        right_ones = same("represent")(self, images, [*layers, "output"])
        for hook in hooks:
            hook.remove()
        return {layer: found.get(layer, right_ones[layer]).detach() for layer in layers}

    return made_wrong(right, represent=represent)


def takes_the_first_call_for_the_last(right):
    def represent(self, images, layers):
        found = same("represent")(self, images, [layer.replace("@1", "") for layer in layers])
        return {layer: found[layer.replace("@1", "")] for layer in layers}

    return made_wrong(right, represent=represent)


def forgets_the_preprocessing_in_decide(right):
    def decide(self, images):
        return self.model.eval()(images).detach()

    return made_wrong(right, decide=decide)


def decides_without_a_batch(right):
    return made_wrong(right, decide=lambda self, images: same("decide")(self, images).sum(0))


def keeps_what_it_gave(right):
    kept = {}

    def represent(self, images, layers):
        key = (*layers, len(images), *images.shape)
        return kept.setdefault(key, same("represent")(self, images, layers))

    return made_wrong(right, represent=represent)


def gives_one_tensor_for_two_layers(right):
    right.named = {"first": NamedLayer("conv"), "second": NamedLayer("conv")}

    def represent(self, images, layers):
        found = same("represent")(self, images, layers)
        return {layer: found["first" if layer == "second" and "first" in found else layer] for layer in layers}

    return made_wrong(right, represent=represent)


def gives_layers_in_another_order(right):
    def represent(self, images, layers):
        return dict(reversed(same("represent")(self, images, layers).items()))

    return made_wrong(right, represent=represent)


def gives_another_value_among_others(right):
    def represent(self, images, layers):
        found = same("represent")(self, images, layers)
        return {layer: z if len(layers) == 1 else 1.01 * z for layer, z in found.items()}

    return made_wrong(right, represent=represent)


def centres_over_the_batch(right):
    def represent(self, images, layers):
        return {layer: z - z.mean(0) for layer, z in same("represent")(self, images, layers).items()}

    return made_wrong(right, represent=represent)


def adds_noise(right):
    def represent(self, images, layers):
        found = same("represent")(self, images, layers)
        return {layer: z + 0.01 * torch.randn_like(z) for layer, z in found.items()}

    return made_wrong(right, represent=represent)


def runs_in_the_mode_it_finds(right):
    def represent(self, images, layers):
        model = self.module
        with torch.random.fork_rng([]), torch.no_grad():
            kept = {key: value.clone() for key, value in model.state_dict().items()}
            torch.manual_seed(0)
            eval_, model.eval = model.eval, lambda: model
            try:
                return same("represent")(self, images, layers)
            finally:
                model.eval = eval_
                del model.eval
                model.load_state_dict(kept)

    return made_wrong(right, represent=represent)


def gives_half_precision(right):
    def represent(self, images, layers):
        return {layer: z.half() for layer, z in same("represent")(self, images, layers).items()}

    return made_wrong(right, represent=represent)


def gives_another_device(right):
    def represent(self, images, layers):
        return {layer: z.to("meta") for layer, z in same("represent")(self, images, layers).items()}

    return made_wrong(right, represent=represent)


def keeps_the_graph(right):
    def represent(self, images, layers):
        return {layer: z.requires_grad_() * 1 for layer, z in same("represent")(self, images, layers).items()}

    return made_wrong(right, represent=represent)


class NoResize(Preprocess):
    """It has an input size and does not resize."""

    def __call__(self, images):
        return images.clone()

    def inverse(self, inputs):
        return inputs


def does_not_resize(right):
    return ModuleInterpretee(right.model, NoResize(16))


class WrongInverse(Preprocess):
    def inverse(self, inputs):
        return inputs


def inverts_nothing(right):
    return ModuleInterpretee(right.model, WrongInverse(16, (0.5,) * 3))


def leaves(trace):
    """It leaves one change after every call."""

    def make(right):
        def represent(self, images, layers):
            try:
                return same("represent")(self, images, layers)
            finally:
                trace(self.model, images)

        return made_wrong(right, represent=represent)

    return make


def swallow_errors(right):
    def represent(self, images, layers):
        try:
            return same("represent")(self, images, layers)
        except ZeroDivisionError:
            raise
        except LayerError:
            raise
        except Exception:
            return {layer: torch.zeros(len(images), 1) for layer in layers}

    return made_wrong(right, represent=represent)


def leaves_a_hook_after_an_error(right):
    def represent(self, images, layers):
        hook = self.model.conv.register_forward_hook(lambda *_: None)
        found = same("represent")(self, images, layers)
        hook.remove()
        return found

    return made_wrong(right, represent=represent)


def stays_in_evaluation_after_an_error(right):
    def represent(self, images, layers):
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        found = same("represent")(self, images, layers)
        for module, mode in modes:
            module.training = mode
        return found

    return made_wrong(right, represent=represent)


def raises_a_key_error(right):
    def represent(self, images, layers):
        known = {info.address for info in same("layers")(self)} | {"output"}
        if any(layer.partition("@")[0] not in known for layer in layers):
            raise KeyError(layers[0])
        return same("represent")(self, images, layers)

    return made_wrong(right, represent=represent)


def names_no_near_layer(right):
    def represent(self, images, layers):
        try:
            return same("represent")(self, images, layers)
        except LayerError:
            raise LayerError(f"No layer {layers}") from None

    return made_wrong(right, represent=represent)


def has_one_fingerprint(right):
    return made_wrong(right, fingerprint=lambda self: "always")


def has_a_random_fingerprint(right):
    return made_wrong(right, fingerprint=lambda self, seen=[]: seen.append(0) or str(len(seen)))


def has_a_fingerprint_without_buffers(right):
    def fingerprint(self):
        return str([p.double().sum().item() for p in self.model.parameters()])

    return made_wrong(right, fingerprint=fingerprint)


def remembers_versions_in_its_fingerprint(right):
    def fingerprint(self):
        return str([p._version for p in [*self.model.parameters(), *self.model.buffers()]])

    return made_wrong(right, fingerprint=fingerprint)


def has_a_lambda_for_preprocessing(right):
    return ModuleInterpretee(right.model, lambda images: images - 0.5)


WRONG = [
    (lists_none, "layers_are_listed", "lists no layer"),
    (lists_a_layer_twice, "layers_are_listed", "lists twice"),
    (lists_one_layer_too_few, "layers_are_listed", "'conv' fires 1 times, layers() lists None"),
    (lists_a_layer_that_never_fires, "every_layer_gives_its_shape", "No layer 'never'"),
    (lists_another_shape, "every_layer_gives_its_shape", r"'conv' is (6, 7, 7), listed is (9,)"),
    (hooks_without_a_clone, "captures_equal_plain_hooks", "'norm' and a plain hook's clone"),
    (takes_the_first_call_for_the_last, "captures_equal_plain_hooks", "'relu@1' and a plain hook's clone"),
    (runs_in_the_mode_it_finds, "captures_equal_plain_hooks", "'norm' and a plain hook's clone"),
    (forgets_the_preprocessing_in_decide, "decision_is_the_output", "the layer `output` and decide()"),
    (decides_without_a_batch, "decision_is_the_output", "decide() returns (4,)"),
    (keeps_what_it_gave, "captures_are_copies", "after the first one was written into"),
    (gives_one_tensor_for_two_layers, "captures_are_copies", "shares memory with another capture"),
    (gives_layers_in_another_order, "one_pass_equals_one_at_a_time", "represent() returns"),
    (gives_another_value_among_others, "one_pass_equals_one_at_a_time", "among others and alone"),
    (centres_over_the_batch, "batch_of_one_equals_its_row", "of an image alone and in a batch"),
    (adds_noise, "it_is_deterministic", "in training and in evaluation mode"),
    (runs_in_the_mode_it_finds, "it_is_deterministic", "in training and in evaluation mode"),
    (gives_half_precision, "captures_are_float32_where_the_images_are", "torch.float16"),
    (gives_another_device, "captures_are_float32_where_the_images_are", "is on meta"),
    (keeps_the_graph, "captures_are_float32_where_the_images_are", "has an autograd graph"),
    (does_not_resize, "images_of_other_sizes_work", "at 33×56 px"),
    (inverts_nothing, "preprocessing_has_its_inverse", "inverse(preprocess(x)) and x"),
    (swallow_errors, "the_model_is_unchanged_after_an_error", "hides an exception"),
    (leaves_a_hook_after_an_error, "the_model_is_unchanged_after_an_error", "the hooks of 'conv'"),
    (stays_in_evaluation_after_an_error, "the_model_is_unchanged_after_an_error", "the mode of"),
    (raises_a_key_error, "an_unknown_layer_lists_near_names", "raises KeyError"),
    (names_no_near_layer, "an_unknown_layer_lists_near_names", "does not contain 'head'"),
    (has_one_fingerprint, "the_fingerprint_depends_on_the_weights", "another first parameter"),
    (has_a_fingerprint_without_buffers, "the_fingerprint_depends_on_the_weights", "another last buffer"),
    (has_a_random_fingerprint, "the_fingerprint_depends_on_the_weights", "two calls"),
    (remembers_versions_in_its_fingerprint, "the_fingerprint_depends_on_the_weights", "is not restored"),
    (has_a_lambda_for_preprocessing, "the_fingerprint_is_the_same_in_every_process", "define its __repr__"),
]


@pytest.mark.parametrize(("make", "check", "message"), WRONG, ids=lambda value: getattr(value, "__name__", None))
def test_each_error_fails_its_check(right, make, check, message):
    found = failures(make(right))
    assert message in found.get(check, f"passed; failed: {found}")


TRACES = {
    "the mode of ''": lambda model, images: model.train(not model.training),
    "the mode of 'norm'": lambda model, images: setattr(model.norm, "training", not model.norm.training),
    "the hooks of 'conv'": lambda model, images: model.conv.register_forward_hook(lambda *_: None),
    "the hooks of 'head'": lambda model, images: model.head.register_full_backward_hook(lambda *_: None),
    "requires_grad of 'conv.weight'": lambda model, images: model.conv.weight.requires_grad_(False),
    "the gradient of 'conv.weight'": lambda model, images: model.zero_grad(),
    "the parameter 'head.bias'": lambda model, images: model.head.bias.data.add_(1),
    "the buffer 'norm.running_mean'": lambda model, images: model.norm.running_mean.add_(1),
    "torch's random state": lambda model, images: torch.rand(1),
    "numpy's random state": lambda model, images: np.random.rand(),
    "Python's random state": lambda model, images: random.random(),
    "the images": lambda model, images: images.mul_(0.5),
}


@pytest.mark.parametrize("trace", TRACES)
def test_every_change_of_the_state_is_found(right, trace):
    found = failures(leaves(TRACES[trace])(right))
    assert f"represent() changed {trace}" in found.get("the_model_is_unchanged", f"passed; failed: {found}")


def test_permanent_hooks_are_found(right):
    def hook_once(model, images):
        if not model.conv._forward_hooks:
            model.conv.register_forward_hook(lambda *_: None)

    found = failures(leaves(hook_once)(right))
    assert found["the_model_is_unchanged"] == "an earlier call changed the hooks of 'conv'"


def test_disabled_gradients_are_found(right):
    try:
        found = failures(leaves(lambda model, images: torch.set_grad_enabled(False))(right))
    finally:
        torch.set_grad_enabled(True)
    assert "whether gradients are recorded" in found["the_model_is_unchanged"]


def test_every_check_has_a_failing_case():
    shown = {check for _, check, _ in WRONG} | {"the_model_is_unchanged"}
    assert shown == set(INTERPRETEE_CHECKS)
