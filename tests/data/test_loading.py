"""Whatever a user has becomes one kind of image set, or a clear error."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision.datasets import ImageFolder

from invkit.data import Concept, ImageSet, as_concept, as_image_set, color_digits, to_uint8
from invkit.data import datasets as datasets_module
from invkit.data.image_files import find_images
from invkit.errors import DataError, InvkitWarning


def save(path, mode="RGB", size=(40, 30), value=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, value or (200, 100, 50))
    image.convert(mode).save(path, **options)
    return path


def centre(data, row=0):
    return (data.images()[row, :, data.size // 2, data.size // 2] * 255).round().int().tolist()


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGB", "png"), ("P", "png"), ("CMYK", "jpg"), ("RGBA", "png"), ("RGB", "bmp")]
)
def test_every_colour_mode_gives_the_colour(tmp_path, mode, suffix):
    save(tmp_path / f"a.{suffix}", mode)
    got = centre(as_image_set(tmp_path))
    assert max(abs(a - b) for a, b in zip(got, (200, 100, 50), strict=True)) < 12


def test_grey_and_sixteen_bit_grey_become_grey_rgb(tmp_path):
    save(tmp_path / "a.png", "L", value=(120, 120, 120))
    Image.fromarray(np.full((30, 30), 120 * 257, np.uint16)).save(tmp_path / "b.png")
    data = as_image_set(tmp_path, size=28)
    assert centre(data, 0) == [120, 120, 120]
    assert centre(data, 1) == [120, 120, 120]


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
@pytest.mark.parametrize("value", [0, 1, 255, 256, 4096, 65535])
def test_the_range_of_sixteen_bits_is_not_guessed_from_the_values(tmp_path, suffix, value):
    file = tmp_path / f"a.{suffix}"
    if suffix == "pgm":  # Pillow writes none of 16 bits
        file.write_bytes(b"P5 30 30 65535\n" + value.to_bytes(2, "big") * 900)
    else:
        Image.fromarray(np.full((30, 30), value, np.uint16)).save(file)
    assert centre(as_image_set(tmp_path)) == [value // 257] * 3
    with Image.open(file) as image:
        items = [(image.copy(), 0)] if image.mode == "I;16" else [(image, 0)]
        assert centre(as_image_set(items)) == [value // 257] * 3


@pytest.mark.parametrize(("top", "value"), [(1.0, 0.5), (255.0, 127.5), (65535.0, 32767.5)])
def test_the_range_of_floats_is_that_of_their_values(tmp_path, top, value):
    values = np.full((30, 30), value, np.float32)
    values[0, 0] = top
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert centre(as_image_set(tmp_path)) == [127] * 3


def test_transparency_lies_on_white(tmp_path):
    Image.new("RGBA", (30, 30), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert centre(as_image_set(tmp_path)) == [255, 255, 255]


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (40, 40))
    image.paste((255, 255, 255), (0, 0, 40, 20))  # upper half white
    exif = image.getexif()
    exif[274] = 6  # stored turned: upright needs a quarter turn clockwise
    image.save(tmp_path / "a.png", exif=exif)
    pixels = as_image_set(tmp_path, size=40).images()[0, 0]
    assert pixels[20, 35] > 0.9
    assert pixels[20, 5] < 0.1


def test_a_one_pixel_image_is_enlarged(tmp_path):
    save(tmp_path / "a.png", size=(1, 1))
    assert as_image_set(tmp_path, size=32).pixels.shape == (1, 3, 32, 32)


def test_unreadable_and_truncated_files_are_left_out_and_reported_once(tmp_path):
    for k in range(10):
        save(tmp_path / "cat" / f"{k}.png")
        save(tmp_path / "dog" / f"{k}.png", value=(0, 0, 250))
    whole = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dog" / "99.jpg").write_text("no image")
    with pytest.warns(InvkitWarning) as found:
        data = as_image_set(tmp_path)
    assert len(found) == 1
    assert "2 of 21 images could not be read and are left out: 0.png (OSError" in str(found[0].message)
    assert "99.jpg (UnidentifiedImageError: cannot identify" in str(found[0].message)
    assert len(data) == 19
    assert data.concepts["class"].names == ("cat", "dog")
    assert data.concepts["class"].values.tolist() == [0] * 9 + [1] * 10


def test_labels_of_a_folder_stay_with_their_images(tmp_path):
    for k in range(10):
        save(tmp_path / f"{k}.png")
    (tmp_path / "1.png").write_text("no image")
    ages, kept = [float(k) for k in range(10)], [0, 2, 3, 4, 5, 6, 7, 8, 9]
    with warnings.catch_warnings(action="ignore"):
        data = as_image_set(tmp_path, concepts={"age": ages}, groups=[k // 2 for k in range(10)])
        also = as_image_set(tmp_path, concepts={"age": as_concept("age", ages)})
    for found in (data, also):
        assert found.concepts["age"].values.flatten().tolist() == kept
    assert data.groups.tolist() == [k // 2 for k in kept]
    assert data.indices_of(slice(2)).tolist() == [0, 2]
    for count in (9, 11):  # nine would fit the images that are left, and not be theirs
        with (
            pytest.raises(DataError, match=rf"'age'.*10 values.*also for those.*Got: {count}"),
            pytest.warns(InvkitWarning),
        ):
            as_image_set(tmp_path, concepts={"age": [0.0] * count})


class Flaky(Dataset):
    """Images of one colour each, which tells the row, and labels; some fail a few times, some always."""

    def __init__(self, total=200, failures=None):
        self.total, self.left = total, dict(failures or {})
        self.read = []

    def __len__(self):
        return self.total

    def __getitem__(self, row):
        self.read.append(row)
        if self.left.get(row, 0) > 0:
            self.left[row] -= 1
            raise OSError(f"row {row}:\nconnection reset")
        return torch.tensor([row // 256, row % 256, 0]).view(3, 1, 1).expand(3, 30, 30) / 255, row % 7


def rows_of(data):
    colours = (data.images()[:, :, 0, 0] * 255).round().int()
    return (256 * colours[:, 0] + colours[:, 1]).tolist()


def test_an_item_that_fails_now_and_then_is_not_lost():
    class Chance(Flaky):
        failed, generator = 0, torch.Generator().manual_seed(0)

        def __getitem__(self, row):
            if float(torch.rand(1, generator=self.generator)) < 0.01:
                self.failed += 1
                raise OSError("connection reset")
            return super().__getitem__(row)

    data = Chance(1000)
    found = as_image_set(data)
    assert data.failed > 3
    assert rows_of(found) == list(range(1000))
    assert found.concepts["class"].values.tolist() == [row % 7 for row in range(1000)]


def test_an_item_that_fails_twice_is_read_and_one_that_fails_always_is_left_out_with_all_that_is_known_of_it():
    data, rows = Flaky(failures={3: 2, 17: 3, 40: 99}), [row for row in range(200) if row not in (17, 40)]
    with pytest.warns(InvkitWarning) as told:
        found = as_image_set(
            data,
            concepts={"age": torch.arange(200.0), "half": as_concept("half", [row // 100 for row in range(200)])},
            groups=[row // 2 for row in range(200)],
        )
    assert [str(each.message) for each in told] == [
        "2 of 200 images could not be read and are left out: "
        "17 (OSError: row 17: connection reset), 40 (OSError: row 40: connection reset)."
    ]
    assert [data.read.count(row) for row in (3, 17, 40, 41)] == [3, 3, 3, 1]
    assert rows_of(found) == rows == found.concepts["age"].values.flatten().tolist()
    assert found.concepts["class"].values.tolist() == [row % 7 for row in rows]
    assert found.concepts["half"].values.tolist() == [row // 100 for row in rows]
    assert found.groups.tolist() == np.unique([row // 2 for row in rows], return_inverse=True)[1].tolist()
    assert found.take(torch.tensor([16, 17])).indices_of(slice(None)).tolist() == [16, 18]


def test_a_tenth_may_fail_and_no_more_and_the_rest_is_not_read():
    with pytest.warns(InvkitWarning, match=r"20 of 200.*and 15 more"):
        assert len(as_image_set(Flaky(failures=dict.fromkeys(range(0, 200, 10), 9)))) == 180
    data = Flaky(failures=dict.fromkeys(range(0, 200, 5), 9))
    with pytest.raises(DataError, match=r"10% of 200 at most.*21 of the first 101: 0 \(OSError: row 0: conn") as error:
        as_image_set(data)
    assert str(error.value.__cause__) == "row 0:\nconnection reset"
    assert max(data.read) == 100


def test_files_fail_as_items_do(tmp_path, monkeypatch):
    for k in range(20):
        save(tmp_path / f"{k:02d}.png", size=(33, 33))
    opened, whole = [], Image.open

    def flaky(file):
        opened.append(file.name)
        if opened.count(file.name) in (2, 3):  # the first is a look at its size
            raise OSError("stale handle")
        return whole(file)

    monkeypatch.setattr(Image, "open", flaky)
    assert as_image_set(tmp_path).pixels.shape == (20, 3, 33, 33)
    monkeypatch.setattr(Image, "open", whole)
    for k in (7, 11, 13):
        (tmp_path / f"{k:02d}.png").write_text("no image")
    with pytest.raises(DataError, match=r"10% of 20 at most.*3 of the first 14: 07.png \(Unidentified"):
        as_image_set(tmp_path)


def test_an_error_of_an_iterable_names_the_item():
    class Stream(IterableDataset):
        def __len__(self):
            return 200

        def __iter__(self):
            return (Flaky.__getitem__(data, row) for row in range(200))

    data = Flaky(failures={17: 1})
    for source, words in [
        (Stream(), "Item 17 .*OSError: row 17: conn"),
        (DataLoader(Flaky(failures={17: 1}), batch_size=4), "Batch 4 .*OSError: row 17: conn"),
        (([0.0, torch.zeros(3, 30, 30), "image"][k] for k in (1, 1, 2)), "Item 2 .*TypeError"),
    ]:
        with pytest.raises(DataError, match=words) as error:
            as_image_set(source)
        assert isinstance(error.value.__cause__, (OSError, TypeError))


def test_the_error_names_the_index_of_a_bad_image():
    images = [torch.rand(3, 30, 30) for _ in range(12)]
    images[8][0, 0, 0] = float("nan")
    for source in (images, iter(images), DataLoader(images, batch_size=5)):
        with pytest.raises(DataError, match="index 8"):
            as_image_set(source)


def test_arrays_tensors_datasets_and_loaders_agree(tmp_path):
    pixels = torch.randint(256, (6, 3, 30, 30), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 0, 1, 2, 2])
    floats = pixels.float() / 255
    sources = [
        pixels,
        floats,
        pixels.movedim(1, -1).numpy(),
        TensorDataset(floats, labels),
        DataLoader(TensorDataset(floats, labels), batch_size=4),
        [(image, int(label)) for image, label in zip(floats, labels, strict=True)],
    ]
    for source in sources:
        data = as_image_set(source)
        torch.testing.assert_close(data.images(), floats)
        if not isinstance(source, (torch.Tensor, np.ndarray)):
            assert data.concepts["class"].values.tolist() == labels.tolist()


@pytest.mark.parametrize(
    "turned",
    [
        lambda rgb: np.ascontiguousarray(rgb[..., ::-1])[..., ::-1],  # BGR turned into RGB
        lambda rgb: np.ascontiguousarray(rgb[:, ::-1, ::-1])[:, ::-1, ::-1],
        lambda rgb: (rgb / 255).astype(">f4"),
        lambda rgb: np.ascontiguousarray((rgb / 255).astype(">f8")[:, ::-1])[:, ::-1],
    ],
)
def test_arrays_that_torch_cannot_see_are_read(turned):
    rgb = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), np.uint8)
    array, plain = turned(rgb), torch.from_numpy(rgb).movedim(-1, 1) / 255
    for source in (array, [*array], DataLoader([*array], collate_fn=np.stack)):
        torch.testing.assert_close(as_image_set(source).images(), plain)


def test_an_array_may_hold_names_of_files_or_images_of_several_sizes(tmp_path):
    names = [str(save(tmp_path / f"{k}.png", value=(50 * k, 0, 0))) for k in (2, 0, 1)]
    for kind in (str, object):
        assert [centre(as_image_set(np.array(names, kind)), row)[0] for row in range(3)] == [100, 0, 50]
    images = np.empty(2, object)
    images[:] = [np.full((side, 40, 3), side, np.uint8) for side in (30, 50)]
    assert [centre(as_image_set(images), row)[0] for row in range(2)] == [30, 50]


def test_the_error_names_the_shape_of_an_image_with_other_channels():
    for shape in [(4, 32, 48), (32, 48, 4), (2, 32, 48)]:
        with pytest.raises(DataError, match=f"shape {re.escape(str((1, *shape)))}"):
            as_image_set([torch.zeros(shape, dtype=torch.uint8)] * 20)


def test_items_may_have_their_channels_first_or_last_or_none():
    image = torch.randint(256, (3, 28, 28), dtype=torch.uint8)
    for item, wanted in [(image, image), (image.movedim(0, -1), image), (image[0], image[0]), (image[:1], image[:1])]:
        assert torch.equal(as_image_set([item] * 2).pixels[1], wanted.expand(3, 28, 28))


def test_labels_may_be_words_and_those_that_are_neither_words_nor_numbers_are_left_out():
    images, words = torch.rand(6, 3, 28, 28), ["cat", "dog", "cat", "dog", "dog", "cat"]
    items = list(zip(images, words, strict=True))
    for source in (items, DataLoader(items, batch_size=4)):
        concept = as_image_set(source).concepts["class"]
        assert (concept.names, concept.values.tolist()) == (("cat", "dog"), [0, 1, 0, 1, 1, 0])
    assert not as_image_set([(image, {"box": word}) for image, word in items]).concepts


@pytest.mark.parametrize(
    "target",
    [{"box": 1, "area": 2.0}, (1, 2), torch.arange(4), {k: k for k in range(4)}, [1, 2, 3, 4]],
)
def test_a_batch_of_targets_that_are_no_labels_has_none(target):
    loader = DataLoader([(torch.rand(3, 28, 28), target)] * 8, batch_size=4)
    assert not as_image_set(loader).concepts


@pytest.mark.parametrize("label", [lambda k: f"{k}.jpg", lambda k: k, lambda k: float("nan")])
def test_labels_of_the_data_that_are_no_concept_are_dropped_with_a_warning(label):
    items = [(torch.rand(3, 28, 28), label(k)) for k in range(6)]
    for source in (items, DataLoader(items, batch_size=4)):
        with pytest.warns(InvkitWarning, match="that come with the data are dropped.*'class'") as told:
            assert not as_image_set(source).concepts
        assert len(told) == 1
    own = as_image_set(items, concepts={"class": [0, 1] * 3})  # instead of them, so nothing to tell
    assert own.concepts["class"].values.tolist() == [0, 1] * 3
    with pytest.raises(DataError, match="'other'"):
        as_image_set(torch.rand(6, 3, 28, 28), concepts={"other": [label(k) for k in range(6)]})


def test_arrays_of_one_number_are_labels():
    items = [(torch.rand(3, 28, 28), np.array([k % 3])) for k in range(9)]  # as MedMNIST gives
    for source in (items, DataLoader(items, batch_size=4)):
        assert as_image_set(source).concepts["class"].values.tolist() == [0, 1, 2] * 3


class Named(TensorDataset):
    """A data set that knows what its classes are called."""

    def __init__(self, labels, classes, **changes):
        super().__init__(torch.rand(len(labels), 3, 28, 28), torch.tensor(labels))
        self.classes = classes
        vars(self).update(changes)


def test_classes_have_the_names_of_the_data_set():
    data = Named([2, 0, 2, 0, 3, 3], ["shirt", "bag", "coat", "boot"])
    for source, values in [
        (data, [1, 0, 1, 0, 2, 2]),
        (DataLoader(data, batch_size=4), [1, 0, 1, 0, 2, 2]),
        (DataLoader(Subset(Subset(data, [5, 4, 3, 2, 1]), [0, 1, 2, 4]), batch_size=4), [2, 2, 0, 0]),
    ]:
        found = as_image_set(source).concepts["class"]
        known = dict(zip((0, 1, 2), ("shirt", "coat", "boot"), strict=True))
        assert [found.names[k] for k in found.values] == [known[k] for k in values]


@pytest.mark.parametrize(
    "data",
    [
        Named([1, 2, 1, 2], ["a", "b"]),  # too few
        Named([1, 2, 1, 2], ["a", "crane", "crane"]),  # two of one name, as in ImageNet
        Named([1, 2, 1, 2], [("a",), ("b",), ("c",)]),
        Named([1, 2, 1, 2], ["a", "b", "c"], target_transform=abs),  # other labels than it has names for
        Named([-1, 2, -1, 2], ["a", "b", "c"]),
    ],
)
def test_names_that_do_not_fit_are_not_used(data):
    concept = as_image_set(data).concepts["class"]
    assert concept.names == tuple(str(k) for k in sorted(set(data.tensors[1].tolist())))


class Stream(IterableDataset):
    """Images without a number."""

    def __iter__(self):
        return (Flaky(20)[row] for row in range(20))


def test_a_loader_of_what_has_no_length_is_read():
    found = as_image_set(DataLoader(Stream(), batch_size=8))
    assert rows_of(found) == list(range(20))
    assert found.concepts["class"].values.tolist() == [row % 7 for row in range(20)]


def test_a_loader_of_other_things_than_tensors_raises():
    loader = DataLoader([{"image": torch.rand(3, 28, 28)}] * 4, batch_size=2)
    with pytest.raises(DataError, match="Batch 0 of the data could not be read"):
        as_image_set(loader)


def test_an_image_set_keeps_the_places_of_its_images():
    some = as_image_set(torch.rand(9, 3, 30, 30)).take(torch.tensor([7, 2]))
    again = as_image_set(some, size=28, concepts={"age": [1.0, 2.0]})
    assert again.indices_of(slice(None)).tolist() == [7, 2]
    assert again.concepts["age"].values.flatten().tolist() == [1.0, 2.0]


@pytest.mark.parametrize("kind", [torch.float32, torch.uint8])
@pytest.mark.parametrize("loader", [False, True])
def test_large_images_of_a_data_set_are_kept_small_and_as_bytes(monkeypatch, kind, loader):
    seen, gather = [], datasets_module.concatenate_images
    monkeypatch.setattr(
        datasets_module,
        "concatenate_images",
        lambda parts, total: gather((seen.append(part) or part for part in parts), total),
    )
    images = torch.rand(6, 3, 1, 1).expand(6, 3, 224, 300)
    images = images if kind.is_floating_point else to_uint8(images)
    data = TensorDataset(images)
    found = as_image_set(DataLoader(data, batch_size=4) if loader else data)
    assert {(part.dtype, part.shape[1:]) for part in seen} == {(torch.uint8, (3, 64, 64))}
    whole = as_image_set(images, size=64)
    torch.testing.assert_close(found.images(), whole.images(), atol=0.01, rtol=0)
    assert as_image_set(data, size=100).size == 100


def test_images_that_are_bytes_are_given_as_they_are():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3 * 28 * 28).view(256, 3, 28, 28)
    assert torch.equal(torch.cat([*ImageSet(pixels).uint8_batches()]), pixels)
    assert torch.equal(torch.cat([*ImageSet(pixels / 255).uint8_batches()]), pixels)


def test_a_torchvision_dataset_of_pil_images_brings_its_labels(tmp_path):
    for k, name in enumerate(["a", "b"]):
        for i in range(2):
            save(tmp_path / name / f"{i}.png", value=(k * 200, 0, 0))
    data = as_image_set(ImageFolder(str(tmp_path)), size=28)
    assert data.pixels.shape == (4, 3, 28, 28)
    assert data.concepts["class"].values.tolist() == [0, 0, 1, 1]
    folder = as_image_set(tmp_path, size=28)
    assert data.concepts["class"].names == folder.concepts["class"].names == ("a", "b")
    assert data.match_classes(folder).fingerprint() == data.fingerprint()  # either may be held out


NAN = torch.full((4, 3, 30, 30), 0.5)
NAN[2, 0, 0, 0] = float("nan")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (NAN, ["NaN", "index 2"]),
        (torch.full((2, 3, 30, 30), 80.0), ["out of range", "80", "255"]),
        (torch.full((2, 3, 30, 30), -1.0), ["out of range", "preprocess"]),
        (torch.zeros(2, 5, 30, 30), ["(N, 3, H, W)", "5"]),
        (torch.zeros(2, 3, 30, 30, dtype=torch.int64), ["uint8", "int64"]),
        (torch.zeros(0, 3, 30, 30), ["no images"]),
        (7, ["a folder", "int"]),
    ],
)
def test_bad_images_are_refused_with_what_expected_and_got(data, words):
    with pytest.raises(DataError) as error:
        as_image_set(data)
    for word in words:
        assert word in str(error.value)


def test_missing_and_empty_folders_have_different_errors(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        as_image_set(tmp_path / "nowhere")
    with pytest.raises(DataError, match="none below it"):
        as_image_set(tmp_path)


def test_links_to_folders_are_followed_as_imagefolder_does_but_not_in_circles(tmp_path):
    for k, name in enumerate(["cat", "dog"]):
        for i in range(2):
            save(tmp_path / "stored" / name / f"{i}.png", value=(k * 200, 0, 0))
    linked = tmp_path / "linked"
    save(linked / "eel" / "0.png", value=(0, 0, 200))
    save(linked / "eel" / "1.png", value=(0, 0, 200))
    for name in ("cat", "dog"):
        (linked / name).symlink_to(tmp_path / "stored" / name, target_is_directory=True)
    names = [Path(file).relative_to(linked).as_posix() for file, _ in ImageFolder(str(linked)).samples]
    (linked / "dog" / "back").symlink_to(tmp_path / "stored", target_is_directory=True)
    (linked / "eel" / "back").symlink_to(linked, target_is_directory=True)
    files, classes = find_images(linked)
    assert [file.relative_to(linked).as_posix() for file in files] == names
    assert classes == ["cat"] * 2 + ["dog"] * 2 + ["eel"] * 2


def test_labels_of_the_wrong_length_are_refused():
    with pytest.raises(DataError, match=r"'digit'.*3 values.*Got: 2"):
        as_image_set(torch.rand(3, 3, 30, 30), concepts={"digit": [0, 0]})


def test_an_image_set_has_concepts_groups_and_indices_of_each_image_or_none():
    pixels = torch.rand(4, 3, 28, 28)
    for wrong, words in [
        ({"groups": torch.tensor([0, 0])}, r"`groups`.*4 values.*Got: 2"),
        ({"indices": torch.arange(5)}, r"`indices`.*4 values.*Got: 5"),
        ({"concepts": {"class": Concept("class", torch.arange(2))}}, r"'class'.*4 values.*Got: 2"),
        ({"concepts": {"class": torch.tensor([0, 0, 1, 1])}}, r"'class'.*a Concept.*Got: Tensor.*as_image_set"),
    ]:
        with pytest.raises(DataError, match=words):
            ImageSet(pixels, **wrong)


def test_the_concept_name_residual_is_reserved(tmp_path):
    labels = {"residual": torch.rand(4)}
    with pytest.raises(DataError, match=r"'residual'.*another name"):
        as_image_set(tmp_path / "nowhere", concepts=labels)  # before anything is read
    with pytest.raises(DataError, match="'residual'"):
        ImageSet(torch.rand(4, 3, 28, 28), {"residual": as_concept("residual", labels["residual"])})


def test_groups_are_never_split():
    data = ImageSet(torch.zeros(40, 3, 28, 28, dtype=torch.uint8), groups=torch.arange(40) // 4)
    train, test = data.split(0.3, seed=1)
    assert (len(train), len(test)) == (28, 12)
    assert not set(train.groups.tolist()) & set(test.groups.tolist())


def test_color_digits_are_seeded_split_by_digit_and_coloured_as_labelled():
    data, again, test = color_digits(copies=1), color_digits(copies=1), color_digits("test", copies=1)
    assert torch.equal(data.pixels, again.pixels)
    assert not torch.equal(data.pixels, color_digits(copies=1, seed=1).pixels)
    assert (len(data), len(test)) == (1437, 360)
    assert not set(data.groups.tolist()) & set(test.groups.tolist())
    corner = data.images()[:, :, 0, 0]
    torch.testing.assert_close(corner, data.concepts["background"].values, atol=0.05, rtol=0)
    contrast = (data.concepts["foreground"].values - data.concepts["background"].values).norm(dim=1)
    assert contrast.min() >= 0.5


def idx(array):
    """The idx format of MNIST (LeCun): two zero bytes, type 8, rank, shape, data."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist_and_fashion_mnist_are_read_from_torchvisions_folder(tmp_path, name, kind):
    with pytest.raises(DataError, match=rf"{kind} was not found.*download=True"):
        as_image_set(f"{name}:{tmp_path}")
    raw = tmp_path / kind / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    labels = np.array([2, 1, 2, 0, 1], np.uint8)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    data = as_image_set(f"{name}:{tmp_path}")
    assert torch.equal(data.pixels[:, 0], torch.from_numpy(pixels))
    assert data.concepts["class"].values.tolist() == labels.tolist()


def test_color_digits_go_by_their_name():
    assert torch.equal(as_image_set("color-digits").pixels, color_digits().pixels)


SIX = TensorDataset(torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 28, 28))
AGES = [float(row) for row in range(6)]


class Backwards(BatchSampler):
    """Batches in another order than their sampler's."""

    def __iter__(self):
        return reversed([*super().__iter__()])


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(SIX, 2, shuffle=True),
        DataLoader(SIX, 2, sampler=SubsetRandomSampler(range(6))),
        DataLoader(SIX, 2, sampler=WeightedRandomSampler([1.0] * 6, 6)),
        DataLoader(SIX, batch_sampler=BatchSampler(RandomSampler(SIX), 2, False)),
        DataLoader(SIX, batch_sampler=Backwards(SequentialSampler(SIX), 2, False)),
    ],
)
@pytest.mark.parametrize("beside", [{"concepts": {"age": AGES}}, {"groups": AGES}])
def test_a_loader_of_another_order_takes_no_labels_beside_it(loader, beside):
    with pytest.raises(DataError, match="shuffles"):
        as_image_set(loader, **beside)
    assert len(as_image_set(loader)) == 6  # alone it is read


@pytest.mark.parametrize(
    "loader",
    [DataLoader(SIX, 4), DataLoader(SIX, batch_sampler=BatchSampler(SequentialSampler(SIX), 4, False))],
)
def test_labels_beside_a_loader_that_keeps_the_order_go_to_their_images(loader):
    found = as_image_set(loader, concepts={"age": AGES})
    assert found.concepts["age"].values.flatten().tolist() == found.pixels[:, 0, 0, 0].tolist() == AGES


def test_a_loader_of_images_without_numbers_takes_labels_in_their_order():
    found = as_image_set(DataLoader(Stream(), 8), concepts={"age": [float(k) for k in range(20)]})
    assert found.concepts["age"].values.flatten().tolist() == rows_of(found)


def test_groups_may_be_names():
    found = as_image_set(torch.rand(4, 3, 28, 28), groups=["eva", "ben", "eva", "ann"])
    assert found.groups[0] == found.groups[2] != found.groups[1]
