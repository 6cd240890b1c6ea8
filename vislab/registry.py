"""Registries of vislab, children of mmengine's root registries with scope "vislab".

With `locations`, names resolve without importing their module first, e.g. `dict(type="HNeRV")`. New packages with
registered classes must be added to the lists below, which is checked by tests/test_registry.py.
"""

from mmengine import registry as root
from mmengine.registry import Registry

_SYSTEMS = [f"vislab.systems.{name}" for name in ("hnerv", "tract", "timesnet", "eco_m2f", "cae", "mutdet")]


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope="vislab", locations=[*locations, *_SYSTEMS])


RUNNERS = _child(root.RUNNERS, "vislab.engine")
LOOPS = _child(root.LOOPS, "vislab.engine")
HOOKS = _child(root.HOOKS, "vislab.engine")
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS, "vislab.engine")
OPTIMIZERS = _child(root.OPTIMIZERS, "vislab.engine")
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, "vislab.engine")
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, "vislab.engine")
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS, "vislab.engine")
LOG_PROCESSORS = _child(root.LOG_PROCESSORS, "vislab.engine")

DATASETS = _child(root.DATASETS, "vislab.datasets")
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, "vislab.datasets")
TRANSFORMS = _child(root.TRANSFORMS, "vislab.datasets")
FUNCTIONS = _child(root.FUNCTIONS, "vislab.datasets")

MODELS = _child(root.MODELS, "vislab.models", "vislab.losses")
TASK_UTILS = _child(root.TASK_UTILS, "vislab.models")

METRICS = _child(root.METRICS, "vislab.evaluation")
EVALUATOR = _child(root.EVALUATOR, "vislab.evaluation")
VISUALIZERS = _child(root.VISUALIZERS, "vislab.visualization")
VISBACKENDS = _child(root.VISBACKENDS, "vislab.visualization")
