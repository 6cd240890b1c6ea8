"""Loading of weights of other projects, with conversion of parameter names."""

from vislab.zoo.foreign import ForeignReport, add_converter, load_foreign

__all__ = ["ForeignReport", "add_converter", "load_foreign"]
