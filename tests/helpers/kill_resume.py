"""Kill a run with SIGKILL repeatedly, resume it each time, and compare it with an uninterrupted run.
    python tests/e2e/kill_resume.py CONFIG --kills 10 [--work-dir D] [--seed N] [--cfg-options K=V ...]

Half of the kills wait for a checkpoint that is just being written. After each kill every `.pth` in the folder must be
complete. At the end model, EMA, optimizer, schedulers and log history must be equal bit for bit. Exits with 1 if not.
The last line is `RESULT kills=... while_saving=... equal=... `.

Runs are forked from this process after the imports, so that a start costs little; they are killed as processes.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from vislab.cli import add_cfg_options, parse_cfg_options  # noqa: E402


def start(config: str, work_dir: Path, log: Path, **options) -> int:
    """Fork a process that trains; returns its id. Nothing may have used torch's threads before."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from vislab import apis

        apis.train(config, work_dir=str(work_dir), **options)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def running(pid: int) -> bool:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done and status != 0:
        raise SystemExit(f"the run failed by itself with status {status}: see its log")
    return not done


def wait(pid: int, log: Path) -> None:
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise SystemExit(f"the run failed with status {status}\n{log.read_text()[-3000:]}")


def newest_step(folder: Path) -> int:
    steps = [int(p.stem.split("_")[1]) for p in folder.glob("*.pth") if p.stem.split("_")[0] in ("epoch", "iter")]
    return max(steps, default=0)


def kill_somewhere(pid: int, folder: Path, saving: bool, pause: float, dice: random.Random) -> str | None:
    """Kill the run after it has got further; returns where, or None when it ended before."""
    first, ahead = newest_step(folder), dice.randint(1, 2)
    while newest_step(folder) < first + ahead:
        if not running(pid):
            return None
        time.sleep(0.002)
    if not saving:
        until = time.monotonic() + dice.uniform(0, pause)
        while time.monotonic() < until:
            if not running(pid):
                return None
            time.sleep(0.001)
    else:
        while not any(".pth." in name for name in os.listdir(folder)):
            if not running(pid):
                return None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    half = [name for name in os.listdir(folder) if name.endswith(".tmp")]
    return f"step {newest_step(folder)}" + (f", while writing {half[0]}" if half else "")


def incomplete(folder: Path) -> list[str]:
    """Checkpoints of a folder that cannot be read; looked for in a process of its own."""
    from vislab.errors import CheckpointError
    from vislab.io.checkpoint import load_checkpoint

    bad = []
    for path in folder.glob("*.pth"):
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            bad.append(str(error))
    return bad


def differences(one: Path, other: Path) -> list[str]:
    """Names of everything in two checkpoints that is not equal; wall times and folders aside."""
    import torch

    from vislab.io.checkpoint import load_checkpoint

    def flat(value, name: str) -> dict:
        if isinstance(value, dict):
            return {k: v for key, item in value.items() for k, v in flat(item, f"{name}.{key}").items()}
        if isinstance(value, (list, tuple)):
            return {k: v for i, item in enumerate(value) for k, v in flat(item, f"{name}[{i}]").items()}
        return {name: value}

    def content(path: Path) -> dict:
        checkpoint = load_checkpoint(path)
        log = checkpoint["message_hub"]["log_scalars"]
        checkpoint["message_hub"] = {k: v for k, v in log.items() if "time" not in k}
        del checkpoint["meta"]
        return flat(checkpoint, "")

    first, second = content(one), content(other)
    names = sorted(set(first) ^ set(second))
    for name in set(first) & set(second):
        a, b = first[name], second[name]
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        names += [] if same else [name]
    return names


def main(args: argparse.Namespace) -> int:
    import mmengine.runner  # noqa: F401  (imported before forking)
    import torch

    import vislab.apis
    import vislab.datasets
    import vislab.engine  # noqa: F401

    torch.set_num_threads(1)  # no thread pool exists yet, and none must before the last fork
    options = {"seed": args.seed, "cfg_options": parse_cfg_options(args.cfg_options)}
    root = Path(args.work_dir or tempfile.mkdtemp(prefix="kill_resume_"))
    whole, broken = root / "whole", root / "broken"
    root.mkdir(parents=True, exist_ok=True)
    broken.mkdir(exist_ok=True)

    began = time.monotonic()
    wait(start(args.config, whole, root / "whole.log", **options), root / "whole.log")
    seconds = time.monotonic() - began
    final = Path(json.loads((whole / "metrics.json").read_text())["checkpoint"])
    pause = seconds / max(newest_step(whole), 1)
    print(f"uninterrupted: {seconds:.1f} s, {final.name}", flush=True)

    dice, kills, while_saving = random.Random(args.dice), 0, 0
    for attempt in range(args.kills * 3):
        if kills == args.kills:
            break
        pid = start(args.config, broken, root / "broken.log", resume=True, **options)
        where = kill_somewhere(pid, broken, attempt % 2 == 0, pause, dice)
        if where is None:
            print("the run ended before it could be killed", flush=True)
            break
        bad = incomplete(broken)
        if bad:
            print(f"half-written checkpoints after a kill: {bad}")
            return 1
        kills += 1
        while_saving += "writing" in where
        print(f"kill {kills} at {where}", flush=True)
    wait(start(args.config, broken, root / "broken.log", resume=True, **options), root / "broken.log")

    names = differences(final, broken / final.name)
    leftovers = [name for name in os.listdir(broken) if name.endswith(".tmp")]
    print(f"different: {', '.join(names[:10])}" if names else "equal bit for bit")
    print(f"RESULT kills={kills} while_saving={while_saving} equal={not names} leftovers={len(leftovers)}")
    return 0 if not names and not leftovers and kills else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--work-dir", help="kept; by default a temporary folder")
    parser.add_argument("--seed", type=int, default=0, help="of the run")
    parser.add_argument("--dice", type=int, default=None, help="seed of the moments to kill at (default: random)")
    add_cfg_options(parser)
    sys.exit(main(parser.parse_args()))
