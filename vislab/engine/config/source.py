"""Static analysis of a config file: its bases, its imports, the names it sets and the names it reads.

`scan` parses the file and its bases without executing or importing anything. It reports invalid files with the line:
syntax errors, missing bases, imports of the standard library (which mmengine's lazy imports do not support).
"""

import ast
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vislab import configs
from vislab.errors import ConfigError, did_you_mean, nearest


@dataclass
class Base:
    """One `from x import ...` within `read_base()`; `names` maps names to aliases, None for `*`."""

    file: "ConfigFile"
    names: dict[str, str] | None
    line: int


@dataclass
class ConfigFile:
    """A parsed config. `imports`: name -> (module or modules, attribute or None, line). `sets`: name -> line."""

    path: Path
    bases: list[Base] = field(default_factory=list)
    imports: dict[str, tuple[str | list[str], str | None, int]] = field(default_factory=dict)
    body: list[ast.stmt] = field(default_factory=list)
    sets: dict[str, int] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)

    def at(self, line: int) -> str:
        return f"{relative(self.path)}, line {line}"

    def all_bases(self) -> Iterator["ConfigFile"]:
        for base in self.bases:
            yield base.file
            yield from base.file.all_bases()

    def variables(self) -> set[str]:
        """Return all names set by this file or a base."""
        return {name for file in [self, *self.all_bases()] for name in file.sets}

    def names_without_effect(
        self, keys: frozenset[str], read_later: frozenset[str] = frozenset()
    ) -> Iterator[tuple["ConfigFile", str, int]]:
        """Yield names that are set, not in `keys`, and read neither in their file nor in a file based on it."""
        read = self.reads | read_later
        for base in self.bases:
            yield from base.file.names_without_effect(keys, frozenset(read))
        for name, line in self.sets.items():
            if name not in keys and name not in read:
                yield self, name, line

    @staticmethod
    def targets(node: ast.stmt) -> set[str]:
        """Return the names assigned by a statement."""
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        return {n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name) and _stores(n)}

    def find_attribute(self, name: str) -> str:
        """Return the place of `something.name`, for errors about attributes of imported modules."""
        for file in [self, *self.all_bases()]:
            for node in (n for statement in file.body for n in ast.walk(statement)):
                if isinstance(node, ast.Attribute) and node.attr == name:
                    return file.at(node.lineno)
        return relative(self.path)


def scan(path: Path, importer: str = "") -> ConfigFile:
    """Parse the config at `path` and, recursively, its bases.

    Raises:
        ConfigError: Missing file (with similar names), not a `.py` file, syntax error, forbidden import.
    """
    path = Path(os.path.abspath(path.expanduser()))
    if not path.is_file():
        if path.is_dir():
            raise ConfigError(f"{importer}{relative(path)} is a folder; a config is a .py file")
        shipped = f"; {path.stem!r} alone names the shipped config" if path.stem in shipped_configs() else ""
        raise ConfigError(f"{importer}there is no config {relative(path)}{shipped or _similar_files(path)}")
    if path.suffix != ".py":
        raise ConfigError(f"{importer}{relative(path)}: a config is a .py file")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{relative(path)}, line {line}" if line else relative(path)
        raise ConfigError(f"{place}: {getattr(error, 'msg', error)}") from error

    file = ConfigFile(path)
    for node in tree.body:
        if isinstance(node, ast.With):
            _read_bases(file, node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            _read_import(file, node)
        else:
            _read_statement(file, node)
            file.body.append(node)
    return file


def shipped_configs() -> dict[str, Path]:
    """Return the paths of the shipped configs by name."""
    return {file.stem: file for root in configs.__path__ for file in Path(root).glob("[!_]*/*.py")}


def is_name(config: object) -> bool:
    """Return whether `config` is a text or path without folder and suffix, and not an existing file."""
    if not isinstance(config, (str, Path)):
        return False
    path = Path(config)
    return not (path.suffix or path.parent != Path() or path.exists())


def find(path: Path) -> Path:
    """Return the path, or that of the shipped config of this name, such as Path("hnerv_bunny_160x320_cpu").

    Raises:
        ConfigError: A name without folder and suffix that is neither a file nor a shipped config.
    """
    if not is_name(path):
        return path
    shipped = shipped_configs()
    if path.name not in shipped:
        hint = did_you_mean(path.name, shipped)
        raise ConfigError(f"there is no config {path}: neither a file nor the name of a shipped config{hint}")
    return shipped[path.name]


def renamed(path: Path) -> Path:
    """Return the path, or with a warning the new name of a config that formerly had "-" in its name."""
    new = path.with_name(path.name.replace("-", "_"))
    if path.is_file() or not new.is_file():
        return path
    warnings.warn(f"{relative(path)} is called {new.name} now: names of configs are names that Python can import")
    return new


def _read_bases(file: ConfigFile, node: ast.With) -> None:
    call = node.items[0].context_expr
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "read_base"):
        raise ConfigError(f"{file.at(node.lineno)}: the only `with` of a config is `with read_base():`")
    for statement in node.body:
        if not (isinstance(statement, ast.ImportFrom) and statement.module):
            raise ConfigError(
                f"{file.at(statement.lineno)}: a base is read by `from .folder.name import *` or, a shipped one, by "
                "`from vislab.configs.folder.name import *`"
            )
        importer = f"{file.at(statement.lineno)}: "
        if statement.level:
            path = file.path.parent.joinpath(*[".."] * (statement.level - 1), *statement.module.split("."))
        else:
            path = _installed(statement.module, importer)
        base = scan(path.with_name(path.name + ".py"), importer=importer)
        star = statement.names[0].name == "*"
        names = None if star else {alias.name: alias.asname or alias.name for alias in statement.names}
        file.bases.append(Base(base, names, statement.lineno))
        if names:  # an imported name counts as read; its alias is a name of this file
            file.reads |= set(names)
            file.sets |= {alias: statement.lineno for name, alias in names.items() if alias != name}


def _installed(module: str, importer: str) -> Path:
    """Return the path of a config in an installed package, without suffix. Imports its parent packages only.

    Raises:
        ConfigError: If there is no such package.
    """
    package, _, name = module.rpartition(".")
    try:
        spec = importlib.util.find_spec(package) if package else None
    except ModuleNotFoundError:
        spec = None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    places = [Path(folder, name) for folder in folders]
    if not places:
        hint = "" if package.startswith("vislab.configs") else "; shipped ones begin with vislab.configs"
        raise ConfigError(f"{importer}there is no package {package!r} that contains the config {name!r}{hint}")
    return next((place for place in places if place.with_name(place.name + ".py").is_file()), places[-1])


def _read_import(file: ConfigFile, node: ast.Import | ast.ImportFrom) -> None:
    place = file.at(node.lineno)
    if isinstance(node, ast.ImportFrom):
        if node.level:
            raise ConfigError(f"{place}: a base is imported inside `with read_base():`")
        if node.module == "mmengine.config" and [alias.name for alias in node.names] == ["read_base"]:
            return
        _refuse_standard_library(place, node.module)
        for alias in node.names:
            if alias.name == "*":
                raise ConfigError(f"{place}: `import *` is for bases only; name what is taken from {node.module}")
            file.imports[alias.asname or alias.name] = (node.module, alias.name, node.lineno)
        return
    for alias in node.names:
        _refuse_standard_library(place, alias.name)
        if alias.asname:
            file.imports[alias.asname] = (alias.name, None, node.lineno)
        else:
            root = alias.name.split(".")[0]
            earlier = file.imports[root][0] if root in file.imports else []
            file.imports[root] = ([*earlier, alias.name], None, node.lineno)


def _refuse_standard_library(place: str, module: str) -> None:
    if module.split(".")[0] in sys.stdlib_module_names:
        raise ConfigError(f"{place}: a config imports no standard library ({module}); write the value itself")


def _read_statement(file: ConfigFile, node: ast.stmt) -> None:
    changed = _changed_in_place(node)
    if changed is not None:
        file.sets.setdefault(changed.id, node.lineno)
    for part in ast.walk(node):
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            raise ConfigError(f"{file.at(part.lineno)}: imports must be at the top of a config")
        if isinstance(part, ast.Name) and not _stores(part) and part is not changed:
            file.reads.add(part.id)
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        raise ConfigError(f"{file.at(node.lineno)}: a config contains values; put code into the package and import it")
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and _stores(part) and not _in_comprehension(node, part):
            file.sets.setdefault(part.id, part.lineno)


def _changed_in_place(node: ast.stmt) -> ast.Name | None:
    """Return `x` of `x.update(...)`, `x.a.b = 1`, `x[0] = 1` and `del x.a`: the name is modified, not read."""
    target: ast.expr | None = None
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        target = node.value.func
    elif isinstance(node, (ast.Assign, ast.Delete)):
        target = node.targets[0]
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        target = node.target
    if not isinstance(target, (ast.Attribute, ast.Subscript)):
        return None
    while isinstance(target, (ast.Attribute, ast.Subscript)):
        target = target.value
    return target if isinstance(target, ast.Name) else None


def _stores(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _in_comprehension(statement: ast.stmt, name: ast.Name) -> bool:
    loops = (n for n in ast.walk(statement) if isinstance(n, ast.comprehension))
    return any(part is name for loop in loops for part in ast.walk(loop.target))


def relative(path: str | Path) -> str:
    """Return the path relative to the current directory if it is inside of it, else unchanged."""
    path = Path(path)
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _similar_files(path: Path) -> str:
    """Return a hint with similar names of configs in the same folder, else below the nearest existing folder."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    here = sorted(p.name for p in folder.glob("*.py")) if folder == path.parent else []
    close = nearest(path.name, here, count=3)
    if close:
        return "; did you mean " + " or ".join(relative(folder / name) for name in close) + "?"
    if folder.parent == folder or folder == Path.home():
        return ""
    below = {p.name: p for p, _ in zip(sorted(folder.glob("*/*.py")), range(2000), strict=False)}
    close = nearest(path.name, below, count=3)
    if close:
        return "; did you mean " + " or ".join(relative(below[name]) for name in close) + "?"
    return did_you_mean(path.name, here)
