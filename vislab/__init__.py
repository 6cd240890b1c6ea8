"""vislab: six published vision systems on one set of data, tools and checkpoints.

Importing the package costs nothing: every part is imported from its own module.
"""

__version__ = "0.1.0"
