"""Test the rules of CONTRIBUTING.md that a program can check: imports between packages, duplicates, sizes, costs."""

import ast
import functools
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "vislab"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CODE = [
    p for folder in ("vislab", "tools", "benchmarks", "configs", "tests") for p in (REPOSITORY / folder).rglob("*.py")
]
MAX_LINES = 400

# Who imports whom, beside itself; exactly these arrows exist. errors and registry are for everyone.
EVERYONE = {"errors", "registry"}
IMPORTS = {
    "errors": set(),
    "registry": set(),
    "cli": set(),
    "configs": set(),
    "io": set(),
    "structures": set(),
    "ops": set(),
    "layers": {"ops"},
    "losses": {"structures", "ops"},
    "models": {"structures", "ops", "layers", "losses", "io"},
    "datasets": {"structures", "io"},
    "evaluation": {"structures", "ops"},
    "visualization": {"structures", "datasets", "io"},
    "engine": {"models", "datasets", "evaluation", "io", "cli", "configs"},
    "zoo": {"models", "io", "configs"},
    "report": {"io"},
    "apis": {"structures", "ops", "models", "datasets", "evaluation", "visualization", "engine", "io", "zoo", "report"},
    "commands": {
        "io",
        *("cli", "apis", "engine", "models", "report", "visualization", "zoo"),
        *("systems.cae", "systems.hnerv", "systems.mutdet"),
    },
    "__main__": {"cli"},  # and the commands, by name
}
# Imports inside functions: packages that cost seconds and that only some calls need.
LATE = {
    ("vislab.apis.testing", "vislab.engine.runner"),
    ("vislab.apis.training", "vislab.engine.runner"),
    ("vislab.apis.training", "vislab.report.page"),
    ("vislab.apis.training", "vislab.engine.first_step"),
    ("vislab.ops.ms_deform_attn", "vislab.ops.ms_deform_attn_triton"),
}


def module_of(path: Path) -> str:
    return ".".join(["vislab", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Absolute names of everything a file imports, lazily inside functions too."""
    package = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def tier_of(module: str) -> str:
    """`systems.hnerv` for systems, else the folder or file right below vislab."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if parts[:1] == ["systems"] else (parts or [""])[0]


def ours(path: Path) -> set[str]:
    names = {name for name in imports_of(path) if name.split(".")[0] == "vislab"}
    return {tier_of(name) for name in names} - {"", "__version__"}


MODULES = {module_of(path) for path in SOURCES if path.name != "__init__.py"}


@pytest.mark.parametrize("tier", IMPORTS)
def test_arrows(tier):
    """Shared tiers never know a system, and no arrow is granted that nobody needs."""
    found = {
        other: module_of(path)
        for path in SOURCES
        if tier_of(module_of(path)) == tier
        for other in ours(path) - EVERYONE - {tier}
    }
    assert not {f"{module} imports vislab.{other}" for other, module in found.items() if other not in IMPORTS[tier]}
    assert not IMPORTS[tier] - set(found), "granted, but not used"


def test_every_folder_has_its_rule():
    tiers = {tier_of(module_of(path)) for path in SOURCES}
    assert {t for t in tiers if t and not t.startswith("systems")} == set(IMPORTS)


@pytest.mark.parametrize("tier", ["errors", "cli", "io"])
def test_ground_floor_does_without_mmengine(tier):
    paths = [path for path in SOURCES if tier_of(module_of(path)) == tier]
    assert paths and not [module_of(p) for p in paths for n in imports_of(p) if n.split(".")[0] == "mmengine"]


def test_systems_do_not_know_each_other():
    wrong = []
    for path in SOURCES:
        own = tier_of(module_of(path))
        if own.startswith("systems."):
            wrong += [f"{module_of(path)} imports {o}" for o in ours(path) if o.startswith("systems") and o != own]
            wrong += [f"{module_of(path)} imports apis" for o in ours(path) if o == "apis"]
    assert not wrong


def test_no_circles():
    """The graph of imports has no circle, imports inside functions included."""
    graph = {module_of(p): {_existing(n) for n in imports_of(p)} - {None, module_of(p)} for p in SOURCES}
    done: set[str] = set()
    for start in graph:
        _visit(start, graph, [], done)


def test_imports_stand_at_the_top():
    """Except in commands, whose help and errors are instant."""
    paths = [path for path in SOURCES if tier_of(module_of(path)) != "commands"]
    assert {(module_of(p), name) for p in paths for name in _late_imports(p)} == LATE


def _late_imports(path: Path) -> Iterator[str]:
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vislab":
                    yield node.module


def _visit(module: str, graph: dict[str, set], path: list[str], done: set[str]) -> None:
    assert module not in path, "imports in a circle: " + " -> ".join([*path[path.index(module) :], module])
    if module not in done:
        for other in sorted(graph.get(module, ())):
            _visit(other, graph, [*path, module], done)
        done.add(module)


def _existing(name: str) -> str | None:
    """The module that `from a import b` reads: `a.b` if it is a module, else `a`; packages are left out."""
    return name if name in MODULES else next((m for m in [name.rpartition(".")[0]] if m in MODULES), None)


# -------------------------------------------------------------------------------------------------- in one place only


@pytest.mark.parametrize(
    "what, pattern, where",
    [
        ("albumentations", r"^\s*(import|from) albumentations\b", {"vislab/datasets/transforms/albu.py"}),
        ("torch.load", r"\btorch\.load\(", {"vislab/io/checkpoint.py"}),
        (
            "pickle",
            r"\bpickle\.(_?loads?|_?Unpickler)\b|^\s*from pickle import .*\b(loads?|Unpickler)\b",
            {"vislab/io/array_pickle.py"},
        ),
        ("CheckpointLoader", r"CheckpointLoader\.register_scheme\(", {"vislab/engine/loaders.py"}),
    ],
)
def test_one_place(what, pattern, where):
    found = {
        str(path.relative_to(REPOSITORY))
        for path in [*SOURCES, *(REPOSITORY / "tools").glob("*.py")]
        if re.search(pattern, _code(path), re.MULTILINE)
    }
    assert found <= where, f"{what} belongs into {where or 'no file'}"


@functools.cache
def _code(path: Path) -> str:
    """The text of a file without docstrings and comments."""
    return ast.unparse(_Undocumented().visit(ast.parse(path.read_text())))


class _Undocumented(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Expr(ast.Constant(None)) if text else node


def test_torch_load_is_weights_only():
    calls = re.findall(r"torch\.load\(.*", _code(PACKAGE / "io/checkpoint.py"))
    assert calls and all("weights_only=True" in call for call in calls)


def test_no_other_frameworks():
    banned = {"mmcv", "mmdet", "mmseg", "mmpretrain", "mmrotate", "detectron2", "skvideo"}
    wrong = [(module_of(p), n) for p in SOURCES for n in imports_of(p) if n.split(".")[0] in banned]
    assert not wrong


def test_same_names_everywhere():
    """A system is vislab/systems/X with docs/X.md and tests; configs/X contains configs of a system, or
    of plain classifiers, or combinations of systems."""
    systems = {p.parent.name for p in PACKAGE.glob("systems/*/__init__.py")}
    folders = {p.name for p in (REPOSITORY / "configs").iterdir() if p.is_dir() and any(p.glob("*.py"))} - {"_base_"}
    assert folders - {"classification", "combinations"} <= systems


# --------------------------------------------------------------------------------------------- tests mirror the package

TESTS = REPOSITORY / "tests"
# Folders of tests that are about more than one module, or about none of the package; so are files right below tests/.
ACROSS = {"benchmarks", "e2e", "fuzz", "helpers", "tools"}
# Commands are tested as processes, in tests/tools.
BY_PROCESS = {"commands"}
# Modules that are tested as parts of the config check, through test_check.py: their problems have one form and order.
THROUGH_CHECK = {f"engine/config/{name}.py" for name in ("components", "hooks", "problems", "run", "source")}


def test_every_module_has_its_tests():
    """`vislab/a/b.py` is tested in `tests/a/test_b.py`, or in files by aspect: `tests/a/test_b_<aspect>.py`."""
    lacking = []
    for path in SOURCES:
        module = path.relative_to(PACKAGE)
        names = {test.name for test in (TESTS / module.parent).glob("test_*.py")}
        own = [n for n in names if n == f"test_{path.stem}.py" or n.startswith(f"test_{path.stem}_")]
        elsewhere = str(module) in THROUGH_CHECK or module.parts[0] in BY_PROCESS
        if path.name != "__init__.py" and _has_code(path) and not own and not elsewhere:
            lacking.append(f"{module} has no tests/{module.parent / f'test_{path.name}'}")
    assert not lacking


def test_every_test_file_belongs_to_a_module():
    """Or to the package of its folder, as tests/apis/test_apis.py."""
    astray = []
    for test in sorted(TESTS.glob("*/**/test_*.py")):
        folder = test.parent.relative_to(TESTS)
        modules = {path.stem for path in (PACKAGE / folder).glob("*.py")} | {folder.name}
        name = test.stem.removeprefix("test_")
        if folder.parts[0] not in ACROSS and not any(name == m or name.startswith(f"{m}_") for m in modules):
            astray.append(f"tests/{test.relative_to(TESTS)} belongs to no module of vislab/{folder}")
    assert not astray


def _has_code(path: Path) -> bool:
    """Whether a file defines functions or classes; constants are tested where they are used."""
    return any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.parse(path.read_text()).body)


# ------------------------------------------------------------------------------------------------------ sizes and costs


def test_no_file_is_too_long():
    long = {str(p.relative_to(REPOSITORY)): n for p in CODE if (n := len(p.read_text().splitlines())) > MAX_LINES}
    assert not long


def test_every_file_states_its_job():
    silent = [
        str(p.relative_to(REPOSITORY))
        for p in CODE
        if p.stat().st_size and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert not silent


def test_import_is_cheap():
    """`import vislab` under 50 ms of CPU time beyond the bare interpreter, without torch, mmengine, numpy or cv2."""
    code = (
        "import sys, time; before = set(sys.modules); began = time.process_time(); import vislab, vislab.cli;"
        "print(time.process_time() - began); print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    seconds, modules = [], set()
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
        time, names = done.stdout.splitlines()
        seconds.append(float(time))
        modules |= set(names.split())
    assert not modules & {"torch", "mmengine", "numpy", "cv2", "timm", "albumentations"}
    assert min(seconds) < 0.05, f"median {statistics.median(seconds):.3f} s"
