"""Captured layers are correct, and the model is not changed."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision import transforms

import invkit
from invkit.errors import DataError, LayerError
from invkit.interpretees import ModuleInterpretee, NamedLayer, Preprocess
from invkit.interpretees.addresses import expand


class Toy(nn.Module):
    """Shared and repeated modules, in-place ReLU, nested outputs, a layer that never fires, one of integers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.pair = Pair()
        self.never = nn.Linear(3, 3)
        self.whole = Whole()
        self.boxed = Boxed()
        self.after = Count()

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        x = self.relu(self.conv(x))
        pooled, state = self.pair(x)
        self.whole(pooled)
        self.boxed(pooled)
        return self.after(self.drop(pooled + state["deep"]))


class Pair(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)), {"deep": x.amax((2, 3)), "none": None}


class Whole(nn.Module):
    def forward(self, x):
        return x.argmax(1)


@dataclass
class Box:
    inside: torch.Tensor


class Boxed(nn.Module):
    def forward(self, x):
        return Box(2 * x)


class Count(nn.Module):
    calls = 0

    def forward(self, x):
        Count.calls += 1
        return x


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def images():
    return torch.rand(4, 3, 8, 8)


def test_captures_equal_a_reference_without_hooks_and_are_copies(toy, images):
    z = ModuleInterpretee(toy).represent(images, ["conv", "norm", "conv@1", "relu@1", "pair[0]", "pair[1].deep"])
    toy.eval()
    with torch.no_grad():
        first = toy.conv(images)
        normed = toy.norm(first)
        second = toy.conv(normed.relu())
    expected = {
        "conv": first,
        "norm": normed,  # in-place ReLU follows
        "conv@1": second,
        "relu@1": second.relu(),
        "pair[0]": second.relu().mean((2, 3)),
        "pair[1].deep": second.relu().amax((2, 3)),
    }
    for name, value in expected.items():
        torch.testing.assert_close(z[name], value, rtol=0, atol=0)


def test_input_output_and_fields_of_a_dataclass_are_captured(toy, images):
    interpretee = ModuleInterpretee(toy, Preprocess(mean=(0.5,) * 3, std=(2.0,) * 3))
    z = interpretee.represent(images, ["input", "boxed.inside", "output"])
    torch.testing.assert_close(z["input"], (images - 0.5) / 2)
    torch.testing.assert_close(z["output"], interpretee.decide(images))
    assert z["boxed.inside"].shape == (4, 3)


def test_the_forward_pass_stops_after_the_deepest_layer(toy, images):
    Count.calls = 0
    ModuleInterpretee(toy).represent(images, ["conv", "norm"])
    assert Count.calls == 0
    ModuleInterpretee(toy).represent(images, ["conv", "output"])
    assert Count.calls == 1


@pytest.mark.parametrize("layers", [["conv"], ["never"], ["whole"]])
def test_the_model_is_not_changed_even_after_an_error(toy, images, layers):
    toy.train()
    toy.norm.eval()
    for parameter in toy.conv.parameters():
        parameter.requires_grad_(False)
    state = {k: v.clone() for k, v in toy.state_dict().items()}
    modes = [m.training for m in toy.modules()]
    rng = torch.get_rng_state()
    try:
        ModuleInterpretee(toy).represent(images, layers)
    except LayerError:
        assert layers != ["conv"]
    assert [m.training for m in toy.modules()] == modes
    assert torch.equal(torch.get_rng_state(), rng)
    assert not any(m._forward_hooks for m in toy.modules())
    assert [p.requires_grad for p in toy.conv.parameters()] == [False, False]
    for key, value in toy.state_dict().items():
        assert torch.equal(value, state[key])


def test_an_exception_in_the_model_is_raised_and_removes_the_hooks(toy):
    with pytest.raises(RuntimeError):
        ModuleInterpretee(toy).represent(torch.rand(2, 3, 8, 8).expand(2, 3, 8, 8)[..., :0], ["conv"])
    assert not any(m._forward_hooks for m in toy.modules())


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("cnov", ["No layer 'cnov'", "conv", "invkit layers"]),
        ("conv.wieght", ["No layer 'conv.wieght'"]),
        ("pair.depe", ["has no part 'depe'", "[0], [1]"]),
        ("conv@x", ["No layer"]),
        ("conv@2", ["never fires", "2 calls"]),
        ("never", ["never fires"]),
        ("whole", ["floating-point", "int64"]),
        ("pair", ["cannot be explained", "tuple", "[0], [1]"]),
        ("pair[1]", [".deep", "dict"]),
        ("pair[1].none", ["NoneType"]),
        ("pair[7]", ["no part 7"]),
    ],
)
def test_a_bad_address_gets_a_helpful_error(toy, images, layer, words):
    with pytest.raises(LayerError) as error:
        ModuleInterpretee(toy).represent(images, [layer])
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("layer*", ["layer1", "layer10"]),
        ("layer?", ["layer1"]),
        ("layer?.*", ["layer1.0"]),
        ("layer?.**", ["layer1.0", "layer1.0.conv"]),
        ("**conv", ["conv", "layer1.0.conv"]),
        ("l*.*.c*v", ["layer1.0.conv"]),
        ("c?nv", ["conv"]),
    ],
)
def test_one_star_matches_no_dot_and_two_stars_do(glob, expected):
    assert expand([glob], ["conv", "layer1", "layer1.0", "layer1.0.conv", "layer10"]) == expected
    with pytest.raises(LayerError):
        expand(["conv*."], ["conv1"])


def test_modules_and_globs_resolve_to_addresses(toy):
    interpretee = ModuleInterpretee(toy)
    assert interpretee.expand([toy.norm, "conv@1"]) == ["norm", "conv@1"]
    assert interpretee.expand(["n*"]) == ["norm"]  # `never` does not fire
    with pytest.raises(LayerError):
        interpretee.expand(["zz*"])
    with pytest.raises(LayerError):
        interpretee.expand([nn.ReLU()])


def test_layers_that_fire_are_listed_with_shape_calls_and_parameters(toy):
    found = {info.address: info for info in ModuleInterpretee(toy).layers()}
    assert "never" not in found
    assert (found["conv"].calls, found["conv"].shape, found["conv"].parameters) == (2, (3, 64, 64), 84)
    assert found["pair"].shape is None


@pytest.mark.parametrize(
    "bad", [torch.rand(3, 8, 8), torch.rand(2, 1, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)]
)
def test_inputs_that_are_not_a_batch_of_images_are_refused(toy, bad):
    with pytest.raises(DataError, match=r"\(B, 3, H, W\)"):
        ModuleInterpretee(toy).represent(bad, ["conv"])


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [
        (transforms.Compose([transforms.Resize(4), transforms.ToTensor()]), "TypeError"),
        (lambda x: x.convert("RGB"), "AttributeError.*convert"),  # as CLIP's
        (lambda x: x.numpy(), "returns ndarray"),
    ],
)
def test_a_preprocessing_of_single_images_is_refused(toy, images, preprocess, words):
    with pytest.raises(DataError, match=rf"float batch \(B, 3, H, W\) in \[0, 1\].*{words}.*ToTensor out"):
        ModuleInterpretee(toy, preprocess).represent(images, ["conv"])


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError(), DataError("a plugin's own")])
def test_memory_errors_and_invkit_errors_of_a_preprocessing_are_raised_unchanged(toy, images, error):
    def preprocess(_):
        raise error

    with pytest.raises(type(error)) as told:
        ModuleInterpretee(toy, preprocess).represent(images, ["conv"])
    assert told.value is error


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_images_of_half_precision_are_converted_to_float32(toy, images, dtype, mode):
    interpretee = ModuleInterpretee(toy, Preprocess(5, (0.4, 0.5, 0.6), mode=mode))
    found, expected = (interpretee.represent(x, ["conv"])["conv"] for x in (images.to(dtype), images.to(dtype).float()))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, torch.rand(1, 3, 8, 8))])
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_refused(make):
    with pytest.raises(DataError, match=r"TorchScript.*the nn\.Module that it was made of"):
        ModuleInterpretee(make(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).eval()))


def test_layers_of_squeezenet_equal_those_of_torchvisions_feature_extraction():
    from torchvision.models.feature_extraction import create_feature_extractor

    model = torchvision.models.squeezenet1_1(num_classes=4).eval()
    names = [f"features.{k}" for k in range(13)]
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = create_feature_extractor(model, names[3:])(x)
    z = ModuleInterpretee(model).represent(x, names)
    assert z["features.11"].shape == (2, 512, 3, 3)
    for name, value in expected.items():
        if name != "features.0":
            torch.testing.assert_close(z[name], value)


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 5))


@pytest.mark.parametrize(
    ("wrap", "tolerance"),
    [
        (nn.DataParallel, 0.0),
        (lambda model: torch.compile(model, backend="eager"), 1e-6),
        (lambda model: nn.DataParallel(torch.compile(model, backend="eager")), 1e-6),
        (lambda model: model.to(torch.bfloat16), 0.05),
        (lambda model: model.half(), 0.01),
        (lambda model: model.double(), 1e-5),
        (lambda model: model.train(), 0.0),
        (lambda model: model.to(memory_format=torch.channels_last), 1e-5),
    ],
    ids=["DataParallel", "compiled", "both", "bfloat16", "half", "double", "training", "channels_last"],
)
def test_a_wrapped_or_converted_model_has_the_same_names_and_representations(wrap, tolerance, images):
    plain, layers = ModuleInterpretee(small_network()), ["0", "2", "output"]
    other = ModuleInterpretee(wrap(small_network()))
    assert [(i.address, i.shape) for i in other.layers(images)] == [(i.address, i.shape) for i in plain.layers(images)]
    expected, found = plain.represent(images, layers), other.represent(images, layers)
    for layer in layers:
        assert found[layer].dtype == torch.float32
        torch.testing.assert_close(found[layer], expected[layer], atol=tolerance, rtol=tolerance)


class Shared(nn.Module):
    """One module under two names, and modules called `input` and `output`."""

    def __init__(self):
        super().__init__()
        self.a = self.b = nn.Conv2d(3, 3, 3, padding=1)
        self.input, self.output = nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

    def forward(self, x):
        return self.output(self.b(self.a(self.input(x))).mean((2, 3))).softmax(1)


def test_a_shared_module_is_listed_once_and_its_other_name_refers_to_the_first(images):
    interpretee = ModuleInterpretee(Shared())
    found = interpretee.represent(images, ["a", "a@1"])
    assert not torch.equal(found["a"], found["a@1"])
    with pytest.raises(LayerError, match=r"'b' is another name of 'a'.*'a@1' for its second"):
        interpretee.represent(images, ["b"])
    assert interpretee.resolve(interpretee.module.b) == "a"
    assert [(info.address, info.calls) for info in interpretee.layers(images)] == [
        ("input", 1),
        ("a", 2),
        ("output", 1),
    ]


def test_a_part_of_a_shared_module_has_one_name_too(images):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = self.b = Pair()

        def forward(self, x):
            return self.b(x + self.a(x)[0][..., None, None])[0]

    interpretee = ModuleInterpretee(Shared())
    for alias, call in (("b[0]", "a@1[0]"), ("b[1].deep", "a@1[1].deep"), ("b@1[0]", "a@1[0]")):
        with pytest.raises(LayerError) as told:
            interpretee.represent(images, [alias])
        assert f"'{call}' for its second" in str(told.value)
    found = interpretee.represent(images, ["a[0]", "a@1[0]"])
    torch.testing.assert_close(found["a@1[0]"], 2 * found["a[0]"])


def test_modules_named_input_or_output_take_precedence_over_those_addresses(images):
    model = Shared()
    found = ModuleInterpretee(model).represent(images, ["input", "output"])
    assert torch.equal(found["input"], model.input(images))
    assert found["output"].exp().sum(1).ne(1).all()
    assert ModuleInterpretee(model).decide(images).sum(1).allclose(torch.ones(4))


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


def compiled_inside(model):
    model[0] = torch.compile(model[0], backend="eager")
    return model


@pytest.mark.parametrize("wrap", [compiled_in_place, compiled_inside])
def test_compiled_parts_that_have_run_are_captured(wrap, images):
    plain, other = ModuleInterpretee(small_network()), wrap(small_network())
    other.eval()(images)
    expected, found = (i.represent(images, ["0", "2"]) for i in (plain, ModuleInterpretee(other)))
    for layer in expected:
        torch.testing.assert_close(found[layer], expected[layer])
    assert [info.address for info in ModuleInterpretee(other).layers(images)][:2] == ["0", "1"]


def test_a_model_on_the_meta_device_lists_its_layers_and_raises_otherwise(images):
    empty = ModuleInterpretee(small_network().to("meta"))
    assert empty.layers(images)[0].shape == (4, 6, 6)
    assert invkit.layers(small_network().to("meta"), images)[0].receptive_field is None
    for call in (lambda: empty.represent(images, ["0"]), lambda: empty.decide(images)):
        with pytest.raises(DataError, match=r"meta.*no weights"):
            call()


def test_the_fingerprint_depends_on_structure_and_on_results_of_the_preprocessing():
    def of(activation, preprocess=None):
        torch.manual_seed(0)
        return ModuleInterpretee(nn.Sequential(nn.Conv2d(3, 4, 3), activation), preprocess).fingerprint()

    assert of(nn.ReLU()) == of(nn.ReLU()) != of(nn.GELU())
    assert of(nn.ReLU(), lambda x: x - 0.5) == of(nn.ReLU(), lambda x: x - 0.5) != of(nn.ReLU(), lambda x: x - 0.4)


def test_the_fingerprint_depends_on_weights_and_preprocessing(toy):
    before = ModuleInterpretee(toy).fingerprint()
    assert ModuleInterpretee(toy).fingerprint() == before
    assert ModuleInterpretee(toy, Preprocess(8)).fingerprint() != before
    with torch.no_grad():
        toy.conv.bias.add_(1)
    assert ModuleInterpretee(toy).fingerprint() != before


def test_models_that_differ_in_a_plain_attribute_have_other_fingerprints():
    class Scaled(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return self.factor * x.mean((2, 3))

    one, other, same = (ModuleInterpretee(nn.Sequential(Scaled(factor))) for factor in (1.0, 2.0, 1.0))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    one.represent(torch.rand(1, 3, 8, 8), ["0"])
    assert one.fingerprint() == same.fingerprint()


class Applied(nn.Module):
    """Applies its attributes, and stores values of its last run."""

    def __init__(self, act=F.relu, k=(1, 2)):
        super().__init__()
        self.act, self.k, self.map, self.scales, self.shape = act, k, None, [], None

    def forward(self, x):
        self.map, self.scales, self.shape = x, [0.5, *self.scales], x.shape
        return self.act(x).mean((2, 3))


def print_of(**options):
    return ModuleInterpretee(nn.Sequential(Applied(**options))).fingerprint()


@pytest.mark.parametrize(
    "options",
    [
        {"act": F.gelu},
        {"act": torch.tanh},
        {"act": partial(F.leaky_relu, negative_slope=0.1)},
        {"act": partial(F.leaky_relu, negative_slope=0.2)},
        {"k": (3,)},
        {"k": (1, 2, None)},
        {"k": (1, [2, 5])},
        {"k": {"a": (1, 2), "b": [F.relu]}},
    ],
)
def test_models_that_differ_in_a_function_or_in_nested_values_have_other_fingerprints(options):
    assert print_of(**options) == print_of(**options) != print_of()


def test_the_fingerprint_is_the_same_after_a_run_and_in_a_script_or_an_import():
    ran = ModuleInterpretee(nn.Sequential(Applied()))
    ran.represent(torch.rand(1, 3, 8, 8), ["0"])
    assert ran.module[0].scales
    assert ran.fingerprint() == print_of()
    acts = []
    for name in ("__main__", "net"):
        found = {"__name__": name}
        exec("def act(x): return x", found)
        acts.append(found["act"])
    assert print_of(act=acts[0]) == print_of(act=acts[1]) != print_of()


def test_named_layers_with_other_function_arguments_have_other_fingerprints():
    def of(dim):
        named = {"p": NamedLayer("0", partial(F.softmax, dim=dim))}
        return ModuleInterpretee(nn.Sequential(Applied()), named=named).fingerprint()

    assert of(1) == of(1) != of(0)
