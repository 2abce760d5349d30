"""Model → filtered ranks, metrics, figures and a report on the test split."""

from kfp import dsl

from components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    graph: dsl.Input[dsl.Dataset], bundle: dsl.Input[dsl.Model], config: str, evaluation: dsl.Output[dsl.Artifact]
) -> None:
    """Model → filtered ranks, metrics, figures and a report on the test split."""
    from components.evaluate.evaluate import EvaluateConfig, evaluate
    from feature_store.storage import open_storage

    evaluate(graph.uri, bundle.uri, EvaluateConfig.model_validate_json(config), open_storage()).describe(evaluation)
