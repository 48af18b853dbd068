"""`invkit cache list | verify | clear`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from invkit.cli.reported import reported

__all__ = ["cache"]

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))


@click.group()
def cache() -> None:
    """List, verify and clear a folder of trained parts and latents."""


@cache.command("list")
@_FOLDER
@click.option("--json", "as_json", is_flag=True)
@reported
def list_(folder: Path, as_json: bool) -> None:
    """List the entries of FOLDER, for instance explanation/cache: kind, size, age, content."""
    from invkit.utils.cache import entries
    from invkit.utils.progress import format_bytes, format_time

    found = entries(folder)
    if as_json:
        click.echo(json.dumps([{**vars(entry), "path": str(entry.path)} for entry in found], indent=2))
        return
    for entry in found:
        age = format_time(time.time() - entry.changed)
        click.echo(
            f"{entry.kind:<16} {format_bytes(entry.size):>9} {age:>8}  {entry.path.name}  {entry.about}".rstrip()
        )
    click.echo(f"{len(found)} entries, {format_bytes(sum(entry.size for entry in found))}")


@cache.command()
@_FOLDER
@reported
def verify(folder: Path) -> None:
    """Compare all files in FOLDER with their checksums; the exit code is 1 if one is damaged."""
    from invkit.utils.cache import damaged_files, entries

    found = entries(folder)
    bad = [(file, why) for entry in found for file, why in damaged_files(entry)]
    for file, why in bad:
        click.echo(f"{file}: {why}")
    click.echo(f"{len(found)} entries, {len(bad)} damaged files" + ("; the next run creates them again" if bad else ""))
    if bad:
        raise SystemExit(1)


@cache.command()
@_FOLDER
@click.option("--kind", "kinds", multiple=True, help="Only this kind, for instance representations.")
@click.option("--older-than", "days", type=float, default=0.0, help="Only older entries, in days.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reported
def clear(folder: Path, kinds: tuple[str, ...], days: float, yes: bool) -> None:
    """Remove the files of invkit in FOLDER, and no others; the next run creates them again."""
    from invkit.errors import SettingsError
    from invkit.utils.cache import entries, remove
    from invkit.utils.progress import format_bytes

    found = entries(folder)
    unknown = set(kinds) - {entry.kind for entry in found}
    if unknown:
        known = ", ".join(sorted({entry.kind for entry in found})) or "nothing, the folder is empty"
        raise SettingsError("No entries of that kind", expected=known, got=", ".join(sorted(unknown)))
    latest = time.time() - 86_400 * days
    chosen = [entry for entry in found if (not kinds or entry.kind in kinds) and entry.changed <= latest]
    size = format_bytes(sum(entry.size for entry in chosen))
    if chosen and not yes:
        click.confirm(f"Remove {len(chosen)} entries, {size}?", abort=True)
    for entry in chosen:
        remove(entry)
    click.echo(f"Removed {len(chosen)} entries, {size}")
