"""Mistakes that users make in configs, by kind, and unusual settings that are none.

Each is one change to a shipped config, beside a few words of what it is and what a good message about it contains.
`test_planted_mistakes.py` tries them.
"""

from tests.fuzz.planted import data, details, files, legal, names, runs, values
from tests.fuzz.planted.edits import Case

MISTAKES: dict[str, list[Case]] = {
    "unknown setting": names.SETTINGS,
    "misspelled argument": names.MODEL_ARGUMENTS + names.DATA_ARGUMENTS + names.RUN_ARGUMENTS,
    "missing": names.MISSING,
    "wrong kind of value": values.KINDS,
    "wrong number": values.NUMBERS,
    "wrong choice": values.CHOICES,
    "wrong type": values.TYPES,
    "environment": values.ENVIRONMENT,
    "optimizer": runs.OPTIMIZERS,
    "schedule": runs.SCHEDULES,
    "hook": runs.HOOKS,
    "sampler and loop": runs.LOOPS,
    "classes and metrics": runs.CLASSES_AND_METRICS,
    "transform": data.TRANSFORMS,
    "path": data.PATHS,
    "details of models": details.MODELS,
    "details of data": details.DATA,
    "details of runs": details.RUNS,
    "flag": data.FLAGS,
    "option": files.OPTIONS,
    "file": files.FILES,
}
LEGAL: dict[str, list[Case]] = {"config": legal.CONFIGS, "run": legal.RUNS}
