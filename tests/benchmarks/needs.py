"""What did each step of a recipe's last run need? A Markdown table, from the run's metrics in MLflow.

    mmkgc run countries --no-serve --no-cache && python tests/benchmarks/needs.py countries

Memory is that of the largest process of the step, processor time that of all its processes, both with what their
imports take. `package` writes nothing to MLflow and is left out.
"""

import sys

from mmkgc.components.runtime import tracking


def needs(recipe: str) -> list[tuple[str, float, float]]:
    """Step, peak memory in GiB and processor seconds, in the order in which the steps began."""
    api = tracking.client()
    experiment = api.get_experiment_by_name(recipe)
    if experiment is None:
        sys.exit(f"MLflow knows no run of '{recipe}': mmkgc run {recipe} --no-serve --no-cache")
    runs = api.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=1000)
    newest = next(run.info.run_id for run in runs if tracking.PARENT_TAG not in run.data.tags)
    steps = [run for run in reversed(runs) if run.data.tags.get(tracking.PARENT_TAG) == newest]
    measured = [(run.data.tags["mmkgc.step"], run.data.metrics) for run in steps if "mmkgc.step" in run.data.tags]
    return [
        (step, metrics["process/peak_memory_gib"], metrics["process/cpu_seconds"])
        for step, metrics in measured
        if "process/cpu_seconds" in metrics
    ]


if __name__ == "__main__":
    print("| step | peak memory | processor time |\n|---|---|---|")
    for name, memory, seconds in needs(sys.argv[1]):
        print(f"| {name} | {memory:.2f} GiB | {seconds:.0f} s |")
