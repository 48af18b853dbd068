import importlib
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from invkit.core import Estimate, Interpretee
from invkit.data import Concept, ImageSet, color_digits
from invkit.errors import DataError, LayerError, SettingsError
from invkit.evaluation.consistency import other_rows
from invkit.explainer import Explainer, explain
from invkit.flows import InvarianceFlow
from invkit.interpretees import ModuleInterpretee, NamedLayer
from invkit.studies.adversarial import adversarial
from invkit.studies.attacking.attacks import Attack, sign_noise
from invkit.studies.attacking.changes import changes
from invkit.studies.attacking.decisions import Decisions, decisions_of
from invkit.studies.attacking.trial import Trial, try_attack

pytest.importorskip("captum")


@pytest.fixture
def linear():
    """Two scores, w·x and −w·x, of images around grey."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 2, bias=False))
    with torch.no_grad():
        model[1].weight[1] = -model[1].weight[0]
    return model


def grey(n):
    return 0.3 + 0.4 * torch.rand(n, 3, 28, 28)


def between(concept, outputs=(0, 1)):
    return Decisions(2, (), concept, torch.tensor(outputs))


def trial_of(images, attacked, noisy, groups=None):
    n = len(images)
    zeros, flips = torch.zeros(n, dtype=torch.long), torch.ones(n, dtype=torch.bool)
    groups = torch.arange(n) if groups is None else groups
    return Trial(images, attacked, noisy, zeros, zeros, flips, flips, groups, 1.0)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_on_a_linear_model_an_attack_is_epsilon_times_the_sign_of_w(linear, name, targeted):
    x, labels = grey(5), torch.tensor([0, 1, 0, 1, 0])
    w = linear[1].weight[0].detach().view(3, 28, 28)
    away = torch.where(labels == 0, -1.0, 1.0)[:, None, None, None] * (-1 if targeted else 1)
    attacked = Attack(name, 0.05, target=1 if targeted else None)(linear, x, labels)
    torch.testing.assert_close(attacked - x, 0.05 * away * w.sign(), atol=1e-6, rtol=0)


def test_a_confident_decision_is_attacked_too(linear):
    sure = nn.Sequential(linear, Shifted())
    x, labels = grey(4), torch.zeros(4, dtype=torch.long)
    gradient = torch.autograd.functional.jacobian(lambda y: F.cross_entropy(sure(y), labels), x)
    assert gradient.abs().max() < 1e-6  # below which captum's FGSM leaves a pixel alone
    moved = Attack("fgsm", 0.02)(sure, x, labels) - x
    torch.testing.assert_close(moved.abs(), torch.full_like(x, 0.02), atol=1e-6, rtol=0)


class Shifted(nn.Module):
    def forward(self, x):
        return x + torch.tensor([20.0, -20.0])


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_attacked_images_stay_in_range_and_near(network, name):
    x = torch.rand(70, 3, 28, 28).round()  # black and white, in two batches
    attacked = Attack(name, 0.1)(network, x, torch.randint(5, (70,)))
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert (attacked - x).abs().max() <= 0.1 + 1e-6
    assert not attacked.requires_grad


def test_pgd_raises_the_loss_above_fgsm(network):
    network = nn.Sequential(*(nn.Tanh() if isinstance(m, nn.ReLU) else m for m in network))
    x, labels = grey(32), torch.randint(5, (32,))
    losses = {
        attack.name: F.cross_entropy(network(attack(network, x, labels)), labels)
        for attack in (Attack("fgsm", 0.1), Attack("pgd", 0.1, steps=20))
    }
    assert losses["pgd"] > losses["fgsm"] > F.cross_entropy(network(x), labels)


def test_noise_is_as_large_as_the_attack():
    x = grey(4)
    noisy = sign_noise(x, 0.05, torch.Generator().manual_seed(0))
    torch.testing.assert_close((noisy - x).abs(), torch.full_like(x, 0.05), atol=1e-6, rtol=0)
    assert abs(float((noisy - x).mean())) < 0.002


@pytest.mark.parametrize("options", [{"name": "deepfool"}, {"epsilon": 0.0}, {"epsilon": 1.5}, {"steps": 0}])
def test_an_unknown_attack_or_a_number_out_of_range_raises(options):
    with pytest.raises(SettingsError):
        Attack(**options)


def test_steps_are_those_of_pgd():
    assert (Attack("fgsm").steps, Attack("pgd").steps, Attack("pgd", steps=3).steps) == (1, 10, 3)
    with pytest.raises(SettingsError, match="`fgsm` takes one step"):
        Attack("fgsm", steps=5)


def test_only_correctly_classified_images_are_attacked(linear):
    x = grey(200)
    decisions = linear(x).argmax(1)
    labels = torch.where(torch.arange(200) < 150, decisions, 1 - decisions)
    data = ImageSet(x, {"side": Concept("class", labels, ("a", "b"))})
    found = try_attack(ModuleInterpretee(linear), data, between("side"), Attack("fgsm", 0.05), n=1000)
    assert len(found) == 150
    assert found.accuracy == pytest.approx(0.75)
    assert torch.equal(found.truth, decisions[:150])
    margin = (linear(x[:150])[:, 0]).abs()  # by which the score must move to change its sign
    reach = 0.05 * linear[1].weight[0].abs().sum()
    assert torch.equal(found.flipped, margin < reach)
    assert found.mean(found.flipped.double()).value == pytest.approx(float((margin < reach).float().mean()))


def test_classes_are_matched_by_name_if_the_network_has_names(linear):
    x = grey(60)
    scores = linear(x)
    data = ImageSet(x, {"side": Concept("class", 1 - scores.argmax(1), ("right", "left"))})
    interpretee = ModuleInterpretee(linear, categories=("left", "right"))
    decisions = decisions_of(interpretee, scores, data, "side")
    assert decisions.outputs.tolist() == [1, 0]
    assert decisions.number("left") == 0
    assert try_attack(interpretee, data, decisions, Attack("fgsm", 0.01)).accuracy == 1.0
    # one of its names alone: an output of more is no class of the images
    some = ImageSet(x, {"side": Concept("class", torch.zeros(60, dtype=torch.long), ("right",))})
    assert decisions_of(interpretee, scores, some, "side").outputs.tolist() == [1]
    # other names: in order where there are as many, else there is no telling
    other = ImageSet(x, {"side": Concept("class", scores.argmax(1), ("up", "down"))})
    found = decisions_of(interpretee, scores, other, "side")
    assert found.outputs.tolist() == [0, 1]
    assert [found.number(each) for each in ("right", "down", "1", 1)] == 4 * [1]
    # names of another head say nothing; a name that is missed beside others is a mistake
    grown = ModuleInterpretee(linear, categories=("left", "right", "up"))
    assert decisions_of(grown, scores, other, "side").names == ("up", "down")
    mixed = ImageSet(x, {"side": Concept("class", scores.argmax(1), ("right", "lefts"))})
    with pytest.raises(DataError, match="lefts, which it does not know"):
        decisions_of(interpretee, scores, mixed, "side")
    fewer = ImageSet(x, {"side": Concept("class", torch.zeros(60, dtype=torch.long), ("up",))})
    with pytest.raises(DataError, match="does not decide between these classes"):
        decisions_of(interpretee, scores, fewer, "side")


def test_a_targeted_attack_excludes_images_of_the_target(linear):
    data = ImageSet(grey(100))
    found = try_attack(ModuleInterpretee(linear), data, between(None), Attack("fgsm", 0.05, target=1), n=1000)
    assert (found.truth == 0).all()
    assert torch.equal(found.flipped, found.decided == 1)


@pytest.fixture(scope="module")
def plain(tiny):
    """An Explainer of grey noise without concepts."""
    torch.manual_seed(0)
    return Explainer(ImageSet(grey(200)), settings=tiny).fit(strict=True)


@pytest.fixture(scope="module")
def shown(tiny, digits):
    """An explanation of the input itself."""
    return explain(ModuleInterpretee(nn.Flatten()), "input", digits, settings=tiny)


def test_a_change_to_another_image_is_1_and_no_change_is_0(shown, digits):
    x = digits.images(torch.arange(40))
    groups = torch.arange(40)
    found = changes(shown, trial_of(x, x[other_rows(40, groups, 0)], x, groups))
    assert set(found.distances) == {"representation", "samples", "digit", "foreground", "background"}
    for what in found.distances:
        assert found.estimate(what, "attack").value == pytest.approx(1.0)
        assert found.estimate(what, "noise") == Estimate(0.0, 0.0, 40)


def test_a_rounding_error_moves_no_sample_and_no_concept(shown, digits):
    x = digits.images(torch.arange(20))
    found = changes(shown, trial_of(x, x + 1e-7, x))
    assert float(found.distances["representation"][:, 0].max()) > 0
    assert all(float(found.distances[what][:, 0].max()) == 0 for what in ("samples", "digit", "foreground"))


def test_distances_agree_with_samples_drawn_one_by_one(shown, digits):
    x = digits.images(torch.arange(12))
    moved = (x + 0.1).clamp(0, 1)
    found = changes(shown, trial_of(x, moved, x))
    other = other_rows(12, torch.arange(12), 0)
    lengths = [[float((b - a).norm()) for b, a in zip(y, x, strict=True)] for y in (moved, x[other])]
    expected = sum(lengths[0]) / sum(lengths[1])
    assert found.estimate("representation", "attack").value == pytest.approx(expected, rel=1e-5)
    # shares of samples: E‖a − b‖² over v, from the codes that are kept for the pictures
    squared = (found.codes["attack"] - found.codes["noise"]).square().sum(-1).mean()
    assert float(found.distances["samples"][:, 0].mean()) == pytest.approx(float(squared), rel=1e-5)


def test_changes_are_measured_with_few_representations_in_memory(shown, digits, monkeypatch):
    x, asked, condition = digits.images(torch.arange(150)), [], InvarianceFlow.condition
    trial = trial_of(x, (x + 0.1).clamp(0, 1), x)
    whole = changes(shown, trial)
    monkeypatch.setattr("invkit.utils.resources._AT_ONCE", 0)  # bytes: none but for the 64 images that there are always
    monkeypatch.setattr(InvarianceFlow, "condition", lambda t, z, *more: asked.append(len(z)) or condition(t, z, *more))
    found = changes(shown, trial)
    assert max(asked) == 64
    assert found.codes["attack"].shape == whole.codes["attack"].shape
    for what in found.distances:
        assert found.estimate(what, "attack").value == pytest.approx(whole.estimate(what, "attack").value, rel=0.02)
        assert found.estimate(what, "noise") == Estimate(0.0, 0.0, 150)


def test_the_study_runs_from_images_to_a_page(tiny, network, tmp_path):
    data = color_digits(copies=1).take(torch.arange(300))
    explainer = Explainer(data, settings=tiny, cache=tmp_path / "cache")
    study = adversarial(
        explainer, ModuleInterpretee(network), ["0", "3"], concept=None, attack=Attack(epsilon=0.3), images=60
    )
    changed, by_noise = list(study.headline.values())[:2]
    assert changed.value > by_noise.value
    assert study.holds in (True, False, None)
    assert list(study.metrics["layers"]) == ["0", "3"]
    rise = study.headline["last layer − first"]
    ends = [study.headline[f"change of samples at '{layer}', attack"] for layer in ("0", "3")]
    assert rise.value == pytest.approx(ends[1].value - ends[0].value)
    assert all(math.isfinite(each.standard_error) for each in study.headline.values())
    page = study.to_html(tmp_path / "page.html").read_text()
    assert "data:image/png" in page
    assert "own decisions are taken as correct" in page


@pytest.fixture
def unfitted(tiny, digits, no_training):
    """An Explainer of digits that must not be fitted."""
    return Explainer(digits, settings=tiny)


def test_a_model_without_gradients_raises_before_any_training(unfitted, network):
    class Opaque(ModuleInterpretee):
        features = Interpretee.features

    with pytest.raises(LayerError, match="no gradients"):
        adversarial(unfitted, Opaque(network), ["0", "3"], concept=None)


def test_classes_that_the_network_does_not_know_raise_before_any_training(unfitted, network):
    with pytest.raises(DataError, match="does not decide between these classes"):
        adversarial(unfitted, ModuleInterpretee(network), ["0", "3"], concept="digit")
    with pytest.raises(DataError, match="no classes called 'animal'"):
        adversarial(unfitted, ModuleInterpretee(network), ["0", "3"], concept="animal")
    with pytest.raises(SettingsError, match="no concept for a judge"):
        adversarial(unfitted, ModuleInterpretee(network), ["0", "3"], concept=None, judge=True)
    with pytest.raises(SettingsError, match="No such target"):
        adversarial(unfitted, ModuleInterpretee(network), ["0", "3"], concept=None, attack=Attack(target=5))


@pytest.mark.parametrize(
    ("layers", "known", "error", "words"),
    [
        ("3", {}, SettingsError, "two layers or more"),
        (["0", "3"], {"scores_classes": False}, DataError, "makes no decision.*an embedding"),
        (["0", "3"], {"named": {"output": NamedLayer("0")}}, DataError, r"makes no decision.*\(2, 4, 13, 13\)"),
    ],
)
def test_one_layer_and_models_without_decisions_raise(unfitted, network, layers, known, error, words):
    with pytest.raises(error, match=words):
        adversarial(unfitted, ModuleInterpretee(network, **known), layers, concept=None)


@pytest.mark.usefixtures("no_training")
def test_wrongly_numbered_classes_raise_before_any_training(tiny, linear):
    x = grey(200)
    data = ImageSet(x, {"side": Concept("class", 1 - linear(x).argmax(1), ("b", "a"))})
    with pytest.raises(DataError, match="classifies too few images correctly"):
        adversarial(Explainer(data, settings=tiny), ModuleInterpretee(linear), ["input", "0"], concept="side")


def test_held_out_images_are_classified_once(plain, linear):
    class Counted(ModuleInterpretee):
        asked = 0

        def decide(self, images):
            self.asked += len(images)
            return super().decide(images)

    model = Counted(linear)
    adversarial(plain, model, ["input", "0"], concept=None, images=10)
    assert model.asked == 30 + 2 * 10  # held out; attacked, and changed by noise


@pytest.mark.usefixtures("no_training")
def test_images_of_one_group_raise_before_any_training(tiny, linear):
    explainer = Explainer(ImageSet(grey(200)), settings=tiny)
    with pytest.raises(DataError, match=r"all of one group.*1 of one"):
        adversarial(explainer, ModuleInterpretee(linear), ["input", "0"], concept=None, images=1)


def test_changed_decisions_in_a_single_group_have_no_verdict(tiny, linear):
    """Images of group 0 lie near the boundary, those of all others beyond the attack's reach."""
    w = linear[1].weight[0].detach()
    reach, x = 0.02 * w.abs().sum(), grey(40).flatten(1)
    margins = torch.where(torch.arange(40) < 20, 0.1 * reach, 5 * reach)
    x = (x + ((margins - x @ w) / w.square().sum())[:, None] * w).clamp(0, 1).view(-1, 3, 28, 28)
    held_out = ImageSet(x, groups=(torch.arange(40) - 19).clamp(min=0))
    explainer = Explainer(ImageSet(grey(200)), held_out=held_out, settings=tiny)
    study = adversarial(explainer, ModuleInterpretee(linear), ["input", "0"], concept=None)
    assert study.metrics["attack"]["changed"] == 20
    assert study.metrics["attack"]["behind the layers' metrics"] == 40
    assert study.holds is None


def test_an_attack_that_changes_no_decision_has_no_verdict(plain, linear):
    study = adversarial(plain, ModuleInterpretee(linear), ["input", "0"], concept=None, attack=Attack(epsilon=1e-6))
    assert study.holds is None
    attack = study.metrics["attack"]
    assert attack["changed"] == 0
    assert attack["behind the layers' metrics"] == attack["attacked"] > 0


def test_a_judge_reads_samples_of_attacked_images(tiny, linear, monkeypatch):
    module = importlib.import_module("invkit.studies.adversarial")

    class AlwaysB:
        def read(self, images):
            return {"side": torch.ones(len(images), dtype=torch.long)}

    monkeypatch.setattr(module, "trained_judge", lambda explainer: AlwaysB())
    x = grey(200)
    data = ImageSet(x, {"side": Concept("class", linear(x).argmax(1), ("a", "b"))})
    explainer = Explainer(data, settings=tiny)
    study = adversarial(
        explainer, ModuleInterpretee(linear), ["input", "0"], concept="side", attack=Attack(epsilon=0.2), judge=True
    )
    assert next(iter(study.metrics["read"])) == "the images before the attack"
    shares = study.metrics["read"]["0"]
    new, true = (shares[name]["value"] for name in ("the attacked decision", "the true class"))
    assert study.metrics["attack"]["changed"] == study.metrics["attack"]["attacked"]  # every decision: a to b, b to a
    assert new + true == pytest.approx(1.0)
    assert true == pytest.approx(float(explainer.held_out.concepts["side"].values.float().mean()))
