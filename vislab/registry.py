"""One child registry for each mmengine root, in scope "vislab".

`locations` lets a name resolve without importing its module first: `dict(type="HNeRV")` works in an empty interpreter.
A new package with registered parts is added to the lists below; tests/test_registry.py checks that each is found.
"""

from mmengine import registry as root
from mmengine.registry import Registry

_SYSTEMS = ["vislab.systems.hnerv", "vislab.systems.tract", "vislab.systems.timesnet", "vislab.systems.eco_m2f"]


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
