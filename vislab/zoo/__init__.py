"""Models of the catalogue with their weights, and loading of weights of other projects."""

from vislab.zoo.catalogue import Entry, catalogue_page, find_entry, list_models, read_catalogue
from vislab.zoo.foreign import ForeignReport, add_converter, load_foreign

__all__ = [
    "Entry",
    "ForeignReport",
    "add_converter",
    "catalogue_page",
    "find_entry",
    "list_models",
    "load_foreign",
    "read_catalogue",
]
