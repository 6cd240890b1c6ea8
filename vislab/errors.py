"""The errors a user can mend. Tools print them as one message, without a traceback, and exit with status 2.

Each takes one text: what was given, what was expected, and what to do. One positional argument only, so that the message
survives the trip out of a data-loader worker and through mmengine's builders, which re-create exceptions from their text.
"""


class VislabError(Exception):
    """Something in the user's reach is wrong: an input, a file, a setting."""


class ConfigError(VislabError):
    """The configuration cannot work: unknown key, wrong type name, missing file."""


class DataError(VislabError):
    """A dataset, image, annotation or video is missing, broken, or contradicts itself."""


class CheckpointError(VislabError):
    """A checkpoint is missing, truncated, unsafe, or belongs to another model."""


class TrainingError(VislabError):
    """Training cannot go on: the loss or the weights are no longer finite."""
