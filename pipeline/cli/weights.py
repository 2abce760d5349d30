"""``mmkgc weights``: pretrained weights of the encoders, added once and found by every run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkgc.components.runtime.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from mmkgc.components.encoders.base import Encoder


@click.group()
def weights() -> None:
    """List and add pretrained weights of the encoders."""


@weights.command("list")
def list_() -> None:
    """Show which weights each encoder uses where a recipe names none, and whether they are here."""
    from mmkgc.components.encoders.registry import encoders

    names = {encoders.normalize_cls(found): found for found in sorted(encoders, key=lambda found: found.__name__)}
    for name, encoder in names.items():
        if encoder.Config.model_fields["weights"].is_required():
            click.echo(f"{name:<18}those that the recipe names, a hub name or a folder")
        else:
            click.echo(f"{name:<18}{_state(name, encoder)}")


@weights.command()
@click.argument("encoder")
@click.argument("source", type=click.Path(path_type=Path))
def add(encoder: str, source: Path) -> None:
    """Store the pretrained weights SOURCE of ENCODER under the project's home; every later run uses them.

    \b
      mmkgc weights add vgg16 ~/Downloads/vgg16-397923af.pth     torchvision's file
      mmkgc weights add beit path/to/folder                      config, preprocessor and model.safetensors of the hub

    The weights are first loaded. A file that torchvision has released is checked against the digest in its name.
    """
    from mmkgc.components.encoders.added import add as store
    from mmkgc.components.encoders.registry import encoders

    if encoders.normalize(encoder) not in encoders.lookup_dict:
        raise UserError(encoder, "no such encoder", did_you_mean(encoder, encoders.lookup_dict))
    stored = store(encoders.lookup(encoder), source)
    click.echo(f"{encoder} uses {stored.label} (SHA-256 {stored.sha256[:12]}…) from now on: {stored.path}")


def _state(name: str, encoder: "type[Encoder]") -> str:
    """Default weights of an encoder: their name, and where they come from."""
    from mmkgc.components.encoders.registry import create
    from mmkgc.components.encoders.weights import RANDOM, find_local

    if encoder.released and not find_local(encoder.released):
        instead = encoder.Config.model_validate({}).weights
        used = "random weights are used" if instead == RANDOM else "downloaded from the hub when first used"
        return f"{encoder.released}: not here, {used} — mmkgc weights add {name} FILE"
    found = create(encoder.Config.model_validate({})).weights
    return f"{found.label}  SHA-256 {found.sha256[:12]}…  {found.path}" if found.path else found.label
