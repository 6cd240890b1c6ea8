"""Collect versions and devices for the log; mmengine's function needs distutils, removed in Python 3.12."""

import os
import platform
import sys
from importlib import metadata

import torch

_PACKAGES = ("vislab", "torchvision", "mmengine", "timm", "albumentations", "opencv-python", "numpy")


def collect_environment() -> dict[str, str]:
    """Return versions and devices by name, without starting processes or importing packages."""
    report = {
        "platform": platform.platform(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "accelerators": "none",
    }
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        report["accelerators"] = ", ".join(names)
        report["CUDA"] = str(torch.version.cuda)
        report["cuDNN"] = str(torch.backends.cudnn.version())
    for package in _PACKAGES:
        try:
            report[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return report
