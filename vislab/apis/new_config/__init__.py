"""Starting configs for one's own data, written from what a folder contains.

listing.py   files of a folder: split into training and validation, images paired with label files
surveys.py   what the labels of a task say: classes, values, sizes, odd files
text.py      the config
"""

from vislab.apis.new_config.text import TASKS, new_config

__all__ = ["TASKS", "new_config"]
