"""Loading of weights of other projects, with conversion of parameter names."""

from vislab.zoo.foreign import ForeignReport, load_foreign

__all__ = ["ForeignReport", "load_foreign"]
