"""``mmkgc promote`` and ``mmkgc rollback``: change which registered version has the champion alias."""

import click


@click.command()
@click.argument("model")
@click.argument("version")
@click.option("--alias", default="champion", show_default=True, help="Alias to move.")
@click.option("--min-gain", default=0.0, show_default=True, help="Minimum gain in MRR (ε).")
@click.option(
    "--max-uncovered",
    default=0.0,
    show_default=True,
    help="Fraction of gate queries that may be skipped because the champion does not know their entities.",
)
def promote(model: str, version: str, alias: str, min_gain: float, max_uncovered: float) -> None:
    """Compare VERSION of MODEL with the champion, and move the alias to it if it passes the gate.

    Both versions answer the development queries of VERSION's dataset that neither was trained on. VERSION must gain
    significantly, and no slice may lose more than 0.05 MRR. The decision is stored as tags of the version and as a run
    in MLflow.
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from mmkgc.components.register.config import GateConfig, RegisterConfig
    from mmkgc.components.register.promote import promote as ask
    from mmkgc.components.runtime.files import write_json
    from mmkgc.components.runtime.tracking import start_run
    from mmkgc.feature_store.opening import open_storage

    gate = GateConfig(min_gain=min_gain, max_uncovered=max_uncovered)
    config = RegisterConfig(model=model, alias=alias, gate=gate)
    decision = ask(model, version, config, open_storage())
    name = f"promote version {version}"
    with start_run(model, name, {"mmkgc.step": "promote"}) as run, TemporaryDirectory() as scratch:
        write_json(Path(scratch) / "promotion.json", decision.record())
        run.log_artifact(Path(scratch) / "promotion.json")
        run.set_tags({"promoted": decision.promoted, "gate": decision.reason})
    if decision.promoted:
        click.secho(f"{model} version {version} is the {alias} now: {decision.reason}", fg="green")
        return
    click.secho(f"{model} version {version} does not become the {alias}:", fg="yellow")
    for objection in decision.objections:
        click.echo(f"  {objection}")
    raise SystemExit(1)


@click.command()
@click.argument("model")
@click.option("--alias", default="champion", show_default=True, help="Alias to move back.")
def rollback(model: str, alias: str) -> None:
    """Move the alias of MODEL back to the version that had it before, and log this as a run in MLflow."""
    from mmkgc.components.register.promote import rollback as give_back
    from mmkgc.components.runtime.tracking import start_run

    now, before = give_back(model, alias)
    with start_run(model, f"rollback to version {now}", {"mmkgc.step": "rollback", "from": before, "to": now}):
        pass
    click.echo(f"{model}: the {alias} is version {now} again (was version {before})")
