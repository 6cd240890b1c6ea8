"""Imported once by the server of `warm.py`: what commands import, so that the processes it forks have it already."""

import gc

import matplotlib.backends.backend_agg  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

import vislab.apis
import vislab.engine.runner
import vislab.report.page
import vislab.systems.hnerv
import vislab.visualization  # noqa: F401

gc.freeze()  # as in tests/conftest.py
