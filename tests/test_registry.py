"""Test that registered names are found after importing only the registry."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vislab"


def registered() -> list[tuple[str, str, str]]:
    """(registry, name, module) of every `@REGISTRY.register_module()` in the package, read from the source."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(["vislab", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            for call in getattr(node, "decorator_list", ()):
                function = call.func if isinstance(call, ast.Call) else call
                if isinstance(function, ast.Attribute) and function.attr == "register_module":
                    given = {k.arg: k.value for k in getattr(call, "keywords", ())}
                    name = given["name"].value if isinstance(given.get("name"), ast.Constant) else node.name
                    found.append((ast.unparse(function.value), name, module))
    return found


SCRIPT = """
import json, sys
from vislab import registry
missing = []
for name, key, module in json.load(sys.stdin):
    try:
        found = getattr(registry, name).get(key)
    except RuntimeError:
        found = None
    if getattr(found, "__module__", None) != module:
        missing.append([name, key, module, str(found)])
json.dump(missing, sys.stdout)
"""


@pytest.fixture(scope="module")
def missing() -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(registered()), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_something_is_registered():
    names = {name for _, name, _ in registered()}
    assert {"Runner", "CheckpointHook", "EpochSampler", "HNeRV", "VideoFrames"} <= names


def test_registries_are_ours():
    """Registering in mmengine's roots would leak our names into every other project."""
    from mmengine.registry import Registry

    from vislab import registry

    ours = {name for name, value in vars(registry).items() if isinstance(value, Registry)}
    assert {name for name, _, _ in registered()} <= ours


def test_every_name_is_found_from_an_empty_interpreter(missing):
    """Fails when a module with registered parts is not imported by its package: add it to the package's __init__."""
    assert missing == []


def test_names_are_unique():
    keys = [(registry, name) for registry, name, _ in registered()]
    assert len(keys) == len(set(keys))
