"""`invkit cache` lists, verifies and removes the files of invkit, and no others."""

import json
import threading

import pytest
import torch
from click.testing import CliRunner

from invkit import Explainer
from invkit.cli import main
from invkit.studies.editing.star_gan import trained_star_gan
from invkit.studies.judging import trained_judge
from invkit.training import FitSettings
from invkit.utils import cache as caches
from invkit.utils.io import file_lock, write_json, write_tensors


@pytest.fixture
def folder(tmp_path):
    write_tensors(tmp_path / "t-0123456789abcdef.safetensors", {"a": torch.arange(1000)})
    write_tensors(tmp_path / "t-0123456789abcdef.checkpoint", {"a": torch.arange(10)})
    store = tmp_path / "representations-00112233aabbccdd" / "layer4-aaaaaaaa"
    write_tensors(store / "000000.safetensors", {"z": torch.zeros(8, 3)})
    write_json(store / "about.json", {"of": "ResNet layer4", "images": 8})
    (tmp_path / "holiday.safetensors").write_text("not ours")
    (tmp_path / "notes-2024").mkdir()
    return tmp_path


def run(*arguments, **options):
    return CliRunner().invoke(main, ["cache", *map(str, arguments)], **options)


def test_list_shows_kind_size_and_content(folder):
    listed = run("list", folder).output
    assert "ResNet layer4 of 8 images" in listed
    assert "3 entries" in listed
    found = json.loads(run("list", folder, "--json").output)
    assert {entry["kind"] for entry in found} == {"t", "checkpoint", "representations"}
    assert all(entry["size"] > 0 for entry in found)


def test_verify_finds_one_changed_byte(folder):
    assert run("verify", folder).exit_code == 0
    file = folder / "representations-00112233aabbccdd" / "layer4-aaaaaaaa" / "000000.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    result = run("verify", folder)
    assert result.exit_code == 1
    assert str(file) in result.output
    assert "1 damaged" in result.output


def test_clear_removes_only_files_of_invkit(folder):
    assert run("clear", folder, input="n\n").exit_code == 1
    assert len(list(folder.glob("[!.]*"))) == 5
    assert "Removed 1 entries" in run("clear", folder, "--kind", "representations", "--yes").output
    assert "Removed 0 entries" in run("clear", folder, "--older-than", "1", "--yes").output
    assert "Removed 2 entries" in run("clear", folder, input="y\n").output
    assert {path.name for path in folder.glob("[!.]*")} == {"holiday.safetensors", "notes-2024"}


@pytest.mark.parametrize("damage", ["{", "[1, 2]", b"\xff\xfe"])
def test_a_damaged_description_of_a_folder_is_no_error(folder, damage):
    about = next(folder.rglob("about.json"))
    about.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    assert "unknown of ? images" in run("list", folder).output
    result = run("verify", folder)
    assert result.exit_code == (damage != "[1, 2]")
    assert "3 entries" in result.output
    assert "Removed 3 entries" in run("clear", folder, "--yes").output


def test_files_that_another_run_removes_meanwhile_are_skipped(folder, monkeypatch):
    found = caches.entries(folder)
    files, gone = caches._files, next(folder.rglob("000000.safetensors"))

    def then_gone(path):
        there = files(path)
        gone.unlink(missing_ok=True)
        return there

    monkeypatch.setattr(caches, "_files", then_gone)
    assert len(caches.entries(folder)) == 3
    checkpoint = folder / "t-0123456789abcdef.checkpoint"
    gone = checkpoint
    assert {entry.kind for entry in caches.entries(folder)} == {"t", "representations"}
    assert not [each for entry in found for each in caches.damaged_files(entry)]
    for entry in found + found:
        caches.remove(entry)


@pytest.mark.parametrize("end", [".safetensors", ".checkpoint", "-50.safetensors"])
@pytest.mark.parametrize("partial", [False, True])
def test_files_of_a_training_are_removed_only_after_it_has_ended(tmp_path, end, partial):
    name = f"t-0123456789abcdef{end}"
    file = tmp_path / (f".{name}.4711.partial" if partial else name)
    file.write_text("")
    (entry,) = caches.entries(tmp_path)
    remover = threading.Thread(target=caches.remove, args=[entry])
    with file_lock(tmp_path / "t-0123456789abcdef.safetensors"):  # as fit holds it
        remover.start()
        remover.join(0.3)
        assert file.exists()
    remover.join()
    assert not file.exists()


def test_entries_of_all_kinds_of_parts_are_listed(tmp_path, digits, tiny):
    explainer = Explainer(digits, settings=tiny, cache=tmp_path).fit()
    few = FitSettings(steps=1, batch_size=4, learning_rate=1e-3)
    trained_star_gan(explainer, "digit", few)
    trained_judge(explainer, settings=few)
    assert {entry.path for entry in caches.entries(tmp_path)} == set(tmp_path.glob("[!.]*"))
    assert {"stargan", "judge", "anchors"} < {entry.kind for entry in caches.entries(tmp_path)}


def test_an_unknown_kind_or_folder_is_an_error(folder):
    assert "Expected: checkpoint, representations, t" in run("clear", folder, "--kind", "z", "--yes").output
    assert "No such cache" in run("list", folder / "nowhere").output
