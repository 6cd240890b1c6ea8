"""Run Python commands in new processes that have imported torch and vislab already, which takes others four seconds.

A process is forked from a server that has done nothing but import, one for each process of the tests. Arguments,
environment, folder, output and status are those of a process of its own. What depends on the start of the interpreter
(time, imports, options of Python, variables that libraries read when they are imported) needs a real one.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.helpers.warm_imports"])


def run_warm(
    command: Sequence[object], *, cwd: str | Path, env: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess:
    """Run `python COMMAND` (a script or `-m module` with arguments) and return its status and output as text.

    Raises:
        AssertionError: It takes longer than `timeout` seconds.
    """
    words = [str(word) for word in command]
    environment = dict(os.environ if env is None else env)
    with tempfile.TemporaryDirectory() as folder:
        out, err = (os.path.join(folder, name) for name in ("out", "err"))
        process = CONTEXT.Process(target=_work, args=(words, str(cwd), environment, out, err))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"{words} has not ended after {timeout} s")
        texts = [Path(path).read_text() if os.path.exists(path) else "" for path in (out, err)]
    return subprocess.CompletedProcess(words, process.exitcode, *texts)


def _work(words: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    status: object = 0
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            sys.path.insert(0, cwd)
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            sys.path.insert(0, os.path.dirname(words[0]))
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(status or 0))
