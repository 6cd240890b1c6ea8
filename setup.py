"""Completes setup.cfg: the folder configs/ is installed as the package vislab.configs.

An editable install has one entry on the path instead, and vislab/configs/__init__.py finds the folder: with an entry
per package, `import vislab` in the folder that contains a clone named vislab would find this clone as an empty package.
"""

import sys
from pathlib import Path

from setuptools import find_packages, setup

packages = find_packages(include=["vislab*"])
if "editable_wheel" in sys.argv:
    setup(packages=packages, package_dir={"": "."})
else:
    folders = sorted({path.parent for path in Path("configs").rglob("*.py")})
    configs = {"vislab." + ".".join(folder.parts): str(folder) for folder in folders}
    setup(packages=[*packages, *configs], package_dir=configs)
