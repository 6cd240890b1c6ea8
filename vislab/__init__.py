"""vislab: published computer vision systems with shared datasets, tools and checkpoints, on torch and mmengine.

The package itself imports nothing; import parts from their modules.
"""

__version__ = "0.2.0"
