"""Import mmengine's optimizers without transformers; importing this module before `mmengine.optim` has the effect.

mmengine imports transformers, where it is installed, to register its Adafactor, which takes most of a second at each
start. The name `TorchAdafactor` is torch's; transformers' class can be given itself, as `type=Adafactor`.
"""

import sys

if "transformers" not in sys.modules:
    sys.modules["transformers"] = None  # type: ignore[assignment]  # an import of it raises ImportError
    try:
        import mmengine.optim  # noqa: F401
    finally:
        del sys.modules["transformers"]
