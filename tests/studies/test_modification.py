"""Swapped concepts: judges with known readings, arithmetic in closed form, a small study."""

import math

import pytest
import torch
from torch import nn

import invkit
from invkit import Explainer
from invkit.autoencoders import ConvAutoencoder
from invkit.core import Estimate
from invkit.data import Concept, Generated, ImageSet
from invkit.errors import DataError, SettingsError
from invkit.evaluation import Features, Judge
from invkit.interpretees import ModuleInterpretee
from invkit.studies.demo.judged import legible
from invkit.studies.editing.arithmetic import AttributeArithmetic
from invkit.studies.editing.edits import Edited, Editor, judged_edits, partners
from invkit.studies.editing.shares import judged_shares, shares_text, trusted
from invkit.studies.editing.star_gan import StarGAN, StarGANTask, redrawn, trained_star_gan
from invkit.studies.judging import judge_features, skill, trained_judge
from invkit.studies.modification import modification
from invkit.training import FitSettings, fit

PIXELS = Features(ModuleInterpretee(nn.Sequential(nn.AvgPool2d(14), nn.Flatten()), invkit.Preprocess()), "1")


class Corners(Judge):
    """Reads a class from the first pixel's red and a colour from the last pixel, exactly."""

    def __init__(self):
        super().__init__({"kind": ("class", 4), "colour": ("colour", 3)}, width=1)

    def read(self, images):
        return {"kind": (images[:, 0, 0, 0] * 4).long(), "colour": images[:, :, -1, -1]}


@pytest.fixture
def corners():
    """Images whose concepts are two pixels, and an editor of these."""
    n = 60
    images, kind = torch.rand(n, 3, 28, 28), torch.arange(n) % 4
    images[:, 0, 0, 0] = (kind + 0.5) / 4
    data = ImageSet(images, {"kind": Concept("class", kind), "colour": Concept("colour", images[:, :, -1, -1])})

    def edit(rows, donors, concept):
        edited, theirs = images[rows].clone(), images[donors]
        if concept == "kind":
            edited[:, :, 0, 0] = theirs[:, :, 0, 0]
        else:
            edited[:, :, -1, -1] = theirs[:, :, -1, -1]
        return edited

    return data, Editor(["kind", "colour"], lambda rows: images[rows], edit)


def test_an_edit_of_one_concept_changes_it_and_keeps_the_others(corners):
    data, editor = corners
    for swapped, edited in judged_edits(data, Corners(), editor, 50).items():
        assert edited.rate(swapped).value == 1
        assert edited.kept(swapped).value == 1
        assert len(edited.images) == 50


def test_edits_that_change_nothing_or_everything_are_recognised(corners):
    data, editor = corners
    nothing = Editor(editor.concepts, editor.before, lambda rows, donors, _: editor.before(rows))
    everything = Editor(editor.concepts, editor.before, lambda rows, donors, _: editor.before(donors))
    for swapped in editor.concepts:
        assert judged_edits(data, Corners(), nothing, 50)[swapped].rate(swapped).value == 0
        edited = judged_edits(data, Corners(), everything, 50)[swapped]
        assert edited.rate(swapped).value == 1
        assert edited.kept(swapped).value < 0.4


class Blind(Corners):
    def read(self, images):
        return {name: torch.zeros_like(value) for name, value in super().read(images).items()}


def test_a_judge_without_skill_decides_nothing(corners):
    data, editor = corners
    found = judged_edits(data, Blind(), editor, 50)
    assert all(math.isnan(edited.rate(name).value) for name, edited in found.items())
    reads = skill(Blind(), data.images(), data.concepts)
    assert reads["kind"] == pytest.approx(0)
    assert reads["colour"] < 0
    assert {enough for _, enough in judged_shares(found, reads).values()} == {None}
    assert trusted(Estimate(1.0, 0.0, 60), reads).lights[-1].colour == "red"
    reads = skill(Corners(), data.images(), data.concepts)
    assert reads == pytest.approx({"kind": 1, "colour": 1})
    assert trusted(Estimate(1.0, 0.0, 60), reads).lights[-1].colour == "green"


def test_pairs_with_equal_readings_do_not_count(corners):
    data, editor = corners

    class Halved(Corners):  # reads kinds 2 and 3 as 2
        def read(self, images):
            read = super().read(images)
            return {**read, "kind": read["kind"].clamp(max=2)}

    edited = judged_edits(data, Halved(), editor, 50)["kind"]
    kind = data.concepts["kind"].values
    alike = (kind[edited.rows] >= 2) & (kind[edited.donors] >= 2)
    assert alike.any()
    assert torch.equal(edited.apart, ~alike)
    assert edited.rate("kind").n == int((~alike).sum())


def test_values_are_distinguished_by_more_than_the_judges_error(corners):
    data, editor = corners

    class Guessing(Corners):  # the mean, and a little noise
        def read(self, images):
            read = super().read(images)
            return {**read, "colour": 0.5 + 0.01 * torch.randn_like(read["colour"])}

    assert not judged_edits(data, Guessing(), editor, 50)["colour"].apart.any()
    assert judged_edits(data, Corners(), editor, 50)["colour"].apart.all()


def test_donors_have_another_value(corners):
    data, _ = corners
    glasses = (torch.arange(60) % 3 == 0).float()[:, None]
    data = ImageSet(data.pixels, {"glasses": Concept("continuous", glasses)})
    rows, donors = partners(data, "glasses", 50)
    assert len(rows) == 50
    assert (glasses[rows] != glasses[donors]).all()
    with pytest.raises(DataError, match="No pair of images"):
        partners(ImageSet(data.pixels, {"glasses": Concept("continuous", torch.ones(60, 1))}), "glasses", 50)


@pytest.mark.parametrize(("n", "enough"), [(5, None), (30, None), (50, True)])
def test_a_few_pairs_that_all_agree_leave_the_verdict_open(n, enough):
    rows, always = torch.arange(n), torch.ones(n, dtype=torch.bool)
    found = {"hair": Edited(rows, rows, torch.empty(0), {"hair": always}, always, rows, rows)}
    assert judged_shares(found, {"hair": 1.0})["hair changed"][1] is enough
    one_donor = {"hair": Edited(rows, 0 * rows, torch.empty(0), {"hair": always}, always, rows, 0 * rows)}
    assert judged_shares(one_donor, {"hair": 1.0})["hair changed"][1] is None


def test_the_judges_skill_is_over_the_classes_that_occur():
    class Reads:
        def read(self, images):
            return {"kind": torch.tensor([0, 0, 1, 1, 2, 2]), "one": torch.zeros(6, dtype=torch.long)}

    kind = Concept("class", torch.tensor([0, 0, 1, 1, 1, 0]), ("a", "b", "c", "d"))
    one = Concept("class", torch.zeros(6, dtype=torch.long), ("a", "b"))
    found = skill(Reads(), torch.empty(6), {"kind": kind, "one": one})
    assert found["kind"] == pytest.approx(2 * (2 / 3) - 1)  # two of three right in either class
    assert math.isnan(found["one"])
    assert trusted(Estimate(1.0, 0.0, 6), {"kind": 0.95, "one": math.nan}).lights[-1].colour == "red"


def test_each_share_is_compared_with_the_bound_by_its_error():
    rows, always = torch.arange(200), torch.ones(200, dtype=torch.bool)
    changed = {"hair": always, "age": rows < 4, "smile": rows < 50, "beard": rows < 22}
    found = {"hair": Edited(rows, rows, torch.empty(0), changed, always, rows, rows)}
    reads = dict.fromkeys(changed, 1.0)
    shares = judged_shares(found, reads)
    assert [enough for _, enough in shares.values()] == [True, True, False, None]  # 1.00, 0.98, 0.75, 0.89 ± 0.02
    told = shares_text(shares)
    assert "Below 90%: smile stayed while hair was swapped 0.750" in told
    assert "Neither significantly above 90% nor below: beard" in told
    assert [enough for _, enough in judged_shares(found, {**reads, "smile": 0.2}).values()] == [True, True, None, None]


def test_donors_have_another_class_and_fit(corners):
    data, _ = corners
    kind = data.concepts["kind"].values
    rows, donors = partners(data, "kind", 200, fit=lambda data, a, b: kind[b] == 3)
    assert len(rows) == 200
    assert (kind[rows] != 3).all()
    assert (kind[donors] == 3).all()
    with pytest.raises(DataError, match="No pair of images"):
        partners(data, "kind", 20, fit=lambda data, a, b: a < 0)


def test_the_error_of_a_rate_is_binomial_and_grows_with_copies(corners):
    data, editor = corners
    half = Editor(
        ["kind"], editor.before,
        lambda rows, donors, c: torch.where((rows % 2 == 0)[:, None, None, None], editor.edit(rows, donors, c),
                                            editor.before(rows)),
    )  # fmt: skip
    alone = judged_edits(data, Corners(), half, 50)["kind"].rate("kind")
    assert alone.value == pytest.approx(0.5, abs=0.2)
    assert alone.standard_error == pytest.approx((alone.value * (1 - alone.value) / 50) ** 0.5, rel=0.5)
    grouped = ImageSet(data.pixels, data.concepts, torch.arange(60) % 6)
    assert judged_edits(grouped, Corners(), half, 50)["kind"].rate("kind").standard_error > alone.standard_error


def test_the_error_of_a_rate_accounts_for_few_donors():
    n, edits, rates, errors = 40, 400, [], []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        able = torch.rand(n, generator=generator) < 0.5  # whether an edit succeeds depends on its donor alone
        rows, donors = torch.randint(n, (2, edits), generator=generator)
        apart = torch.ones(edits, dtype=torch.bool)
        found = Edited(rows, donors, torch.empty(0), {"kind": able[donors]}, apart, rows, donors).rate("kind")
        rates.append(found.value)
        errors.append(found.standard_error)
    spread = float(torch.tensor(rates).std())
    assert sum(errors) / len(errors) == pytest.approx(spread, rel=0.3)
    assert spread > 2 * (0.25 / edits) ** 0.5  # the error of independent pairs


def test_the_error_of_a_rate_is_unknown_with_a_single_donor():
    rows, donor = torch.arange(20), torch.zeros(20, dtype=torch.long)
    found = Edited(rows, donor, torch.empty(0), {"kind": rows % 2 == 0}, rows >= 0, rows, donor).rate("kind")
    assert found.value == 0.5
    assert math.isnan(found.standard_error)


def test_pairs_depend_on_the_seed_alone(corners):
    data, _ = corners
    one, same, other = (partners(data, "kind", 50, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_judge_is_trained_again_for_other_labels(digits, tiny, tmp_path):
    few = FitSettings(steps=3, batch_size=32, learning_rate=1e-3)
    for shift in (0, 1, 0):
        labels = {"digit": (digits.concepts["digit"].values + shift) % 10}
        data = invkit.as_image_set(digits.pixels, concepts=labels)
        trained_judge(Explainer(data, settings=tiny, cache=tmp_path).fit(), settings=few)
    assert len(list(tmp_path.glob("judge-*.safetensors"))) == 2


def test_an_autoencoder_without_an_encoder_raises_before_any_training(digits, tiny, no_training):
    made = ImageSet(Generated(ConvAutoencoder(28, 4, width=4), torch.randn(300, 4)), digits.concepts)
    with pytest.raises(SettingsError, match="can be encoded"):
        modification(Explainer(made, settings=tiny))


def test_arithmetic_of_a_class_adds_the_difference_of_means():
    latents, kind = torch.randn(300, 5), torch.arange(300) % 3
    latents += 2 * torch.randn(3, 5)[kind]
    concept = Concept("class", kind)
    found = AttributeArithmetic(latents, {"kind": concept})
    own, target = concept.targets()[:4], concept.targets()[1:5]
    means = torch.stack([latents[kind == k].mean(0) for k in range(3)])
    expected = latents[:4] + means[kind[1:5]] - means[kind[:4]]
    assert torch.allclose(found.edit(latents[:4], "kind", own, target), expected, atol=0.05)


def test_arithmetic_of_a_number_moves_along_its_direction():
    size = torch.rand(500, 1)
    latents = size @ torch.tensor([[3.0, -1.0, 0.0]]) + 0.01 * torch.randn(500, 3)
    found = AttributeArithmetic(latents, {"size": Concept("continuous", size)})
    moved = found.edit(torch.zeros(1, 3), "size", torch.tensor([[0.2]]), torch.tensor([[0.7]]))
    assert torch.allclose(moved, torch.tensor([[1.5, -0.5, 0.0]]), atol=0.02)


def test_the_judges_features_are_its_averaged_last_maps(digits):
    judge = Judge.of(digits).eval()
    features = judge_features(judge).of(digits.images(slice(3)))
    with torch.no_grad():
        maps = judge.trunk[:-1](2 * digits.images(slice(3)) - 1)
    assert torch.allclose(features, maps.mean((2, 3)), atol=1e-5)


def test_a_small_study(digits, explainer, tmp_path):
    judge = Judge.of(digits)
    study = modification(explainer, judge=judge, features=PIXELS, fit=legible, edits=40)
    names = [*digits.concepts]
    assert len(study.headline) == 2 * 2 * len(names)
    # an autoencoder that is hardly trained decodes all images alike: nothing is legible
    assert all(math.isnan(each.value) and each.n == 0 for each in study.headline.values())
    assert max(study.metrics["the judge reads"].values()) < 0.5
    assert study.holds is None
    page = study.to_html(tmp_path / "page.html").read_text()
    assert page.count("<img") == len(names)
    assert "Neither significantly above 90%" in page
    assert "0 of 40" in page
    assert "do not count" in page


def test_a_concept_with_one_value_raises_before_any_training(digits, tiny, no_training):
    glasses = Concept("class", torch.zeros(len(digits), dtype=torch.long), ("no", "yes"))
    data = ImageSet(digits.pixels, {**digits.concepts, "glasses": glasses})
    with pytest.raises(DataError, match="No pair of images differs in 'glasses'"):
        modification(Explainer(data, settings=tiny))


def test_images_without_concepts_raise_before_any_training(digits, tiny, no_training):
    with pytest.raises(SettingsError, match="no concepts to swap"):
        modification(ImageSet(digits.pixels))
    colours = ImageSet(digits.pixels, {"background": digits.concepts["background"]})
    with pytest.raises(SettingsError, match="judge reads other concepts"):
        modification(Explainer(colours, settings=tiny), judge=Judge.of(digits))
    with pytest.raises(SettingsError, match="concept of classes"):
        modification(Explainer(colours, settings=tiny), star_gan=True)


def test_star_gans_losses_share_no_gradients(digits):
    task = StarGANTask(StarGAN(10, width=4).eval(), digits, digits, "digit")  # norms as they are
    rows = torch.arange(8)
    generator = torch.Generator().manual_seed(0)
    torch.autograd.backward(task.loss(task.module, rows, generator))
    own = [p.grad.clone() for p in task.module.critic.parameters()]
    task.module.zero_grad()
    images, classes = digits.images(rows), digits.concepts["digit"].values[rows]
    target = classes[torch.randperm(8, generator=torch.Generator().manual_seed(0))]
    real, known = task.module.judge(images)
    fake, _ = task.module.judge(task.module(images, target).detach())
    hinge = (1 - real).relu().mean() + (1 + fake).relu().mean()
    torch.autograd.backward(hinge + nn.functional.cross_entropy(known, classes))
    for found, parameter in zip(own, task.module.critic.parameters(), strict=True):
        assert torch.allclose(found, parameter.grad, atol=1e-5)


def test_an_interrupted_star_gan_raises(explainer, interrupt):
    interrupt("StarGAN")
    with pytest.raises(KeyboardInterrupt):
        trained_star_gan(explainer, "digit")


def test_star_gan_makes_images_of_any_small_size():
    for size in (28, 30, 64):
        drawn = redrawn(StarGAN(3, width=4), torch.rand(5, 3, size, size), torch.arange(5) % 3)
        assert drawn.shape == (5, 3, size, size)
        assert 0 <= drawn.min() <= drawn.max() <= 1


@pytest.mark.slow
def test_star_gan_learns_to_change_a_background():
    """Two classes, dark and bright: redrawn as the other class, an image has its brightness."""
    bright = torch.arange(600) % 2
    images = 0.2 + 0.6 * bright.float()[:, None, None, None] + 0.1 * torch.rand(600, 3, 28, 28)
    data = ImageSet(images, {"bright": Concept("class", bright)})
    task = StarGANTask(StarGAN(2, width=8), data, data, "bright")
    fit(task, FitSettings(steps=200, batch_size=32, learning_rate=2e-3, betas=(0.5, 0.99), ema=0.9))
    other = redrawn(task.module, images[:40], 1 - bright[:40])
    print(other.mean((1, 2, 3))[:4])
    assert (((other.mean((1, 2, 3)) > 0.5).long()) == 1 - bright[:40]).float().mean() > 0.9
