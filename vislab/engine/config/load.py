"""Read a config file into an mmengine `Config` that contains the Runner's arguments and nothing else.

A config is a Python file: bases are read by `with read_base(): from .x import *`, components are named by class
(`type=HNeRV`), and a top-level name is an argument of the Runner or a variable that is read later (`data_root`,
`train_pipeline`). A name that is neither has no effect and raises an error. The result contains no variables.
`cfg_options` on a variable sets it where it is defined, so that values computed from it change too.
"""

import ast
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject

from vislab.engine.config.check import find_problems
from vislab.engine.config.components import accepted_arguments
from vislab.engine.config.defaults import TEST_KEYS, set_test_defaults
from vislab.engine.config.keys import OLD_KEYS, RUNNER_KEYS
from vislab.engine.config.merge import merge_bases
from vislab.engine.config.source import ConfigFile, find, relative, renamed, scan
from vislab.errors import ConfigError, did_you_mean, nearest

_IMPORTABLE: list[str] = []  # folders of the config that was loaded last


def load_config(path: str | Path, cfg_options: dict[str, Any] | None = None) -> Config:
    """Read the config at `path` with its bases and apply `cfg_options`.

    The folder of the config and the current folder become importable, after all others, so that configs can use
    classes in files of the user's own.

    Args:
        path: A `.py` config: one from configs/, or one that a run wrote to its work_dir; or the name of a config in
            configs/ without folder and suffix.
        cfg_options: New values by dotted key, which may include list indices: `{"optim_wrapper.optimizer.lr": 0.1,
            "train_pipeline.0.size": 32}`. A dict value is merged into the existing dict.

    Raises:
        ConfigError: If the file is missing or invalid, sets a name without effect or has a failing import, or if the
                key of an option neither exists nor is an argument of the component at that place.

    An option inside a test section that the config leaves out changes a copy of validation's, in which every other
    option already counts.
    """
    options = dict(_flatten(cfg_options or {}))
    path = renamed(find(Path(path)))
    _make_importable([str(path.resolve().parent), os.getcwd()])
    source = scan(path)
    variables = source.variables()
    useless = [_no_effect(source, *found, variables) for found in source.names_without_effect(RUNNER_KEYS)]
    if useless:
        raise ConfigError("\n".join(useless))

    overrides = _Overrides({k: v for k, v in options.items() if k.split(".")[0] in variables - RUNNER_KEYS})
    with _lazy():
        namespace = _execute(source, overrides, {})
        cfg_dict = ConfigDict({k: v for k, v in namespace.items() if k in RUNNER_KEYS and k not in source.imports})
        created = []
        for key, value in _defaulted_last(options, cfg_dict):
            if key in overrides.options:
                continue
            section = key.split(".")[0]
            if section in TEST_KEYS and section != key:
                set_test_defaults(cfg_dict, [section])
            if key.split(".")[0] not in RUNNER_KEYS:
                hint = _suggest(key, cfg_dict, variables)
                raise ConfigError(f"--cfg-options: {relative(path)} has no {key.split('.')[0]!r}{hint}")
            created += _set(cfg_dict, key.split("."), value, key)
        config = Config(_fresh(cfg_dict), filename=str(path))
    _check_imports(source)
    _check_attributes(source, config._cfg_dict)
    _check_created(config, created)
    return config


def _make_importable(folders: list[str]) -> None:
    """Let `import` find files in the folders, after all others; those of the config before are no longer searched."""
    sys.path[:] = [place for place in sys.path if place not in _IMPORTABLE]
    _IMPORTABLE[:] = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    sys.path.extend(_IMPORTABLE)


@contextmanager
def _lazy() -> Iterator[None]:
    """Keep imported objects lazy while dicts are read and copied, so that the config can be printed and saved."""
    ConfigDict.lazy = True
    try:
        yield
    finally:
        ConfigDict.lazy = False


def _defaulted_last(options: dict[str, Any], cfg: dict) -> list[tuple[str, Any]]:
    """Return the options, with those of a missing test section last, since it starts as a copy of validation."""
    return sorted(options.items(), key=lambda option: option[0].split(".")[0] in set(TEST_KEYS) - set(cfg))


def _fresh(value: Any) -> Any:
    """Return a copy in which every dict is a separate ConfigDict. Only valid within `_lazy`."""
    return Config._dict_to_config_dict_lazy(value)


@dataclass
class _Overrides:
    """`cfg_options` on variables, applied right after each statement that assigns the variable."""

    options: dict[str, Any]
    names: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = {key.split(".")[0] for key in self.options}

    def apply(self, name: str, current: Any) -> Any:
        holder = {name: current}
        for key, value in self.options.items():
            if key.split(".")[0] == name:
                _set(holder, key.split("."), value, key, check=True)
        return holder[name]


def _execute(source: ConfigFile, overrides: _Overrides, executed: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """Execute a file after its bases. Imported objects remain LazyObjects; dicts become separate ConfigDicts.

    `executed` collects the names of each executed file.
    """
    taken = []
    for base in source.bases:
        names, chosen = _execute(base.file, overrides, executed), {}
        for name, alias in base.names.items() if base.names else {n: n for n in names}.items():
            if name not in names:
                hint = did_you_mean(name, names)
                raise ConfigError(f"{source.at(base.line)}: {relative(base.file.path)} has no {name!r}{hint}")
            chosen[alias] = names[name]
        taken.append((base, chosen))
    namespace = merge_bases(source, taken, executed, RUNNER_KEYS)
    for name, (module, attribute, line) in source.imports.items():
        namespace[name] = LazyObject(module, attribute, f"{source.path}, line {line}")

    body = []
    for node in source.body:
        body.append(node)
        for name in sorted(source.targets(node) & overrides.names):
            body += ast.parse(f"{name} = __override__({name!r}, {name})").body
    run = {**namespace, "__override__": overrides.apply}
    try:
        exec(compile(ast.fix_missing_locations(ast.Module(body, [])), str(source.path), "exec"), run)
    except ConfigError:
        raise
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(source.path)]
        place = source.at(lines[-1]) if lines else relative(source.path)
        if isinstance(error, NameError) and error.name:
            hint = did_you_mean(error.name, {*run, *RUNNER_KEYS} - {"__override__", "__builtins__", error.name})
            if error.name in TEST_KEYS:
                used = error.name.replace("test", "val")
                hint = (
                    f": no base sets it, so testing uses {used}. Change that, or set {error.name} = dict({used}, ...)"
                )
            raise ConfigError(f"{place}: {error.name!r} is not defined{hint}") from error
        if type(error) is RuntimeError and not str(error):  # calling a LazyObject
            raise ConfigError(
                f"{place}: an imported object is called; a config only names it, as `type=...`"
            ) from error
        given = ", ".join(f"{key}={value!r}" for key, value in overrides.options.items())
        hint = f"; --cfg-options set {given}: is that the kind of value that stood there?" if given else ""
        raise ConfigError(f"{place}: {type(error).__name__}: {error}{hint}") from error
    names = {k: v for k, v in run.items() if not k.startswith("__") and k != "read_base"}
    executed[source.path.resolve()] = dict(dict.items(_fresh(names)))
    return dict(dict.items(_fresh(names)))


def _check_imports(source: ConfigFile) -> None:
    """Execute the imports of the file, so that a wrong name is reported with its line."""
    for base in source.bases:
        _check_imports(base.file)
    for modules, attribute, line in source.imports.values():
        for name in [modules] if isinstance(modules, str) else modules:
            try:
                module = importlib.import_module(name)
                _refuse_namesakes(module, name)
            except ConfigError as error:
                raise ConfigError(f"{source.at(line)}: {error}") from error
            except Exception as error:
                missing = isinstance(error, ModuleNotFoundError) and error.name and name.startswith(error.name)
                text = f"there is no module {error.name!r}" if missing else f"importing {name} failed: {error}"
                raise ConfigError(f"{source.at(line)}: {text}") from error
            if attribute is not None and not hasattr(module, attribute):
                try:
                    importlib.import_module(f"{name}.{attribute}")
                except ImportError as error:
                    hint = did_you_mean(attribute, dir(module))
                    raise ConfigError(f"{source.at(line)}: {name} has no {attribute!r}{hint}") from error


def _refuse_namesakes(module: ModuleType, name: str) -> None:
    """Raise an error if a module was imported for another config, and this config has a file of the same name.

    Modules of installed packages come first and are left alone.
    """
    file = Path(getattr(module, "__file__", None) or "")
    if not file.name or any(file.is_relative_to(place) for place in sys.path if place and place not in _IMPORTABLE):
        return
    for folder in _IMPORTABLE:
        own = Path(folder, *name.split(".")).with_suffix(".py")
        if own.is_file() and not file.samefile(own):
            raise ConfigError(
                f"{name} is {own} here, but {file} was imported before under the same name: rename one of the files, "
                "or use another process"
            )


def _check_attributes(source: ConfigFile, node: Any) -> None:
    """Resolve attributes of imported modules, such as `torch.optim.AdamW`."""
    if isinstance(node, LazyAttr):
        try:
            node.build()
        except Exception as error:
            try:
                hint = did_you_mean(node.name, dir(node.source.build()))
            except Exception:
                hint = ""
            place = source.find_attribute(node.name)
            raise ConfigError(f"{place}: {node.module} has no {node.name!r}{hint}") from error
    elif isinstance(node, dict):
        for value in dict.values(node):
            _check_attributes(source, value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _check_attributes(source, value)


def _set(node: Any, keys: list[str], value: Any, option: str, check: bool = False, done: int = 0) -> list[str]:
    """Set a dotted key in `node`, in place. Returns the parts of the key that did not exist before.

    With `check`, a new key must be an argument of its component; without, the caller checks the returned keys against
    the whole config.
    """
    key, place = keys[done], ".".join(keys[:done])
    if isinstance(node, dict):
        exists = dict.__contains__(node, key)
        if not exists and check:
            _check_new_argument(node, key, place, option)
        child = dict.get(node, key)
    elif isinstance(node, list):
        if not key.lstrip("-").isdigit() or not -len(node) <= int(key) < len(node):
            expected = f"a position 0..{len(node) - 1} after it" if node else "nothing after it, since it is empty"
            raise ConfigError(f"--cfg-options {option}: {place!r} is a list; expected {expected}, got {key!r}")
        key, exists = int(key), True
        child = node[key]
    else:
        raise ConfigError(f"--cfg-options {option}: {place!r} is {node!r} and has no {key!r} inside")

    if done + 1 == len(keys):
        node[key] = value
        return [] if exists else [option]
    if child is None:  # a new section
        child, exists = ConfigDict(), False
    elif isinstance(child, tuple):
        child = list(child)
        created = _set(child, keys, value, option, check, done + 1)
        node[key] = tuple(child)
        return created
    created = _set(child, keys, value, option, check, done + 1)
    if not exists:
        node[key] = child
        return [".".join(keys[: done + 2])]
    return created


def _check_new_argument(node: dict, key: str, place: str, option: str) -> None:
    names = {*dict.keys(node), *accepted_arguments(node)} if "type" in node else set(dict.keys(node))
    if key not in names:
        raise ConfigError(f"--cfg-options {option}: {place!r} has no {key!r}{did_you_mean(key, names)}")


def _check_created(config: Config, created: list[str]) -> None:
    if not created:
        return
    problems = [
        problem
        for problem in find_problems(config, files=False, build=False)
        if any(problem.place == key or problem.place.startswith(key + ".") for key in created)
    ]
    if problems:
        raise ConfigError("--cfg-options: " + "; ".join(f"{p.place}: {p.text}" for p in problems))


def _flatten(options: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _suggest(key: str, cfg: dict, variables: set[str]) -> str:
    """Return a hint with the most similar top-level name, or with the keys of the config that end in the same name."""
    leaf = key.split(".")[-1]
    close = nearest(key.split(".")[0], {*RUNNER_KEYS, *variables})
    inside = [path for path in _paths(cfg) if path == key or path.endswith("." + key)]
    inside = inside or ([] if close else [path for path in _paths(cfg) if path.split(".")[-1] == leaf])
    names = inside[:3] or close
    return f"; did you mean {' or '.join(repr(n) for n in names)}?" if names else ""


def _paths(node: Any, prefix: str = "") -> Iterator[str]:
    items = dict.items(node) if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in items:
        yield f"{prefix}{key}"
        yield from _paths(value, f"{prefix}{key}.")


def _no_effect(source: ConfigFile, file: ConfigFile, name: str, line: int, variables: set[str]) -> str:
    reader = next((f for f in file.all_bases() if name in f.reads), None)
    if reader is not None:
        return (
            f"{file.at(line)}: {name!r} is set here but not read after this, so it has no effect: "
            f"{relative(reader.path)} has already used its own. Set the place that should change as well, "
            f"e.g. `train_dataloader.dataset.pipeline = train_pipeline`"
        )
    hint = f". {OLD_KEYS[name]}" if name in OLD_KEYS else did_you_mean(name, RUNNER_KEYS | (variables - {name}))
    return f"{file.at(line)}: {name!r} is neither an argument of the Runner nor read anywhere in the config{hint}"
