"""A CSV file of attributes becomes concepts of the images that it names."""

import pytest
import torch
from PIL import Image

from invkit.data import as_image_set
from invkit.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for k in range(4):
        (tmp_path / "faces").mkdir(exist_ok=True)
        Image.new("RGB", (30, 30), (60 * k, 0, 0)).save(tmp_path / "faces" / f"{k}.png")
    return tmp_path


def test_columns_become_classes_quantities_and_colours_whatever_the_order_of_the_rows(folder):
    table = folder / "attributes.csv"
    table.write_text(
        "file,smile,age,shirt,hair\n"
        "faces/3.png,1,30.5,#ff0000,dark\n1.png,0,20,#00ff00,fair\nfaces/0.png,1,10,#0000ff,dark\n"
        "faces/2.png,0,25,#ffffff,fair\nfaces/unused.png,1,1,#000000,fair\n"
    )
    data = as_image_set(folder, concepts=table)
    found = data.concepts
    assert {name: concept.kind for name, concept in found.items()} == {
        "smile": "class", "age": "continuous", "shirt": "colour", "hair": "class",
    }  # fmt: skip
    assert found["smile"].values.tolist() == [1, 0, 0, 1]
    assert found["age"].values.flatten().tolist() == [10, 20, 25, 30.5]
    assert torch.equal(found["shirt"].values[3], torch.tensor([1.0, 0.0, 0.0]))
    assert found["hair"].names == ("dark", "fair")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a table of attributes"),
        ("file\n0.png\n", "not a table of attributes"),
        ("file,a\n0.png\n", "line 2"),
        ("file,a\n0.png,1\n1.png,1\n", "2 missing, the first 2.png"),
        ("file,a\n0.png,1\n1.png,1\n2.png,2\n3.png,2\n0.png,2\n", "2 lines name 0.png"),
        ("file,a,a\n0.png,1,2\n1.png,1,2\n2.png,2,2\n3.png,2,2\n", "2 columns have the name a"),
        ("file,a,age\n0.png,1,20.5\n1.png,1,\n2.png,2,1.5\n3.png,2,1.5\n", "column 'age'.*none for faces/1.png"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder, text, words):
    table = folder / "attributes.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=words):
        as_image_set(folder, concepts=table)


def test_a_bare_name_that_fits_images_of_two_folders_is_refused_and_paths_are_not(folder):
    (folder / "more").mkdir()
    Image.new("RGB", (30, 30)).save(folder / "more" / "3.png")
    table, lines = folder / "attributes.csv", "file,a\n0.png,1\n1.png,1\n2.png,2\n3.png,2\n"
    table.write_text(lines)
    with pytest.raises(DataError, match=r"2 images have the name 3.png"):
        as_image_set(folder, concepts=table)
    table.write_text(lines + "more/3.png,1\n")
    assert as_image_set(folder, concepts=table).concepts["a"].values.tolist() == [0, 0, 1, 1, 0]


def test_lines_of_images_that_are_not_there_may_lack_values(folder):
    table = folder / "attributes.csv"
    table.write_text("file,a\n0.png,1.5\n1.png,1.5\n2.png,2\n3.png,2\nelsewhere.png,\n")
    assert as_image_set(folder, concepts=table).concepts["a"].kind == "continuous"


def test_a_table_needs_a_folder_and_a_file(folder):
    with pytest.raises(DataError, match="goes with a folder"):
        as_image_set(torch.rand(3, 3, 30, 30), concepts=folder / "attributes.csv")
    with pytest.raises(DataError, match="Cannot read the attributes"):
        as_image_set(folder, concepts=folder / "nowhere.csv")
