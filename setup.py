"""Completes setup.cfg: the folder configs/ is installed as the package vislab.configs."""

from pathlib import Path

from setuptools import find_packages, setup

folders = sorted({path.parent for path in Path("configs").rglob("*.py")})
packages = {"vislab." + ".".join(folder.parts): str(folder) for folder in folders}
setup(packages=[*find_packages(include=["vislab*"]), *packages], package_dir=packages)
