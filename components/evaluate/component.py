"""Model → filtered ranks, metrics, figures and a report on the test split."""

from kfp import dsl

from mmkgc.components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    graph: dsl.Input[dsl.Dataset],
    bundle: dsl.Input[dsl.Model],
    config: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.Markdown],
) -> None:
    """Model → filtered ranks, metrics, figures and a report on the test split."""
    from mmkgc.components.evaluate.evaluate import EvaluateConfig, evaluate, show
    from mmkgc.components.runtime.artifacts import stored_uri
    from mmkgc.feature_store.storage import open_storage

    settings = EvaluateConfig.model_validate_json(config)
    storage = open_storage()
    stored = evaluate(stored_uri(graph), stored_uri(bundle), settings, storage)
    stored.describe(evaluation)
    show(storage.fetch(stored.uri), metrics, report)
