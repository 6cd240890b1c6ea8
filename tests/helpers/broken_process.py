"""Train on two processes without torchrun, let one of them fail, and print how both end.
    python tests/helpers/broken_process.py OUT

The last line is a dict in JSON: for each deed the exit codes (negative: the signal), the seconds from the deed to the
end of the last process, what each printed to stderr, and the names of the checkpoints. The processes are forked after
the imports, so that a start costs little.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402

from tests.helpers.processes import free_port  # noqa: E402
from tests.helpers.toy_run import ToyMetric  # noqa: E402
from vislab import apis, cli  # noqa: E402
from vislab.engine import process_watch  # noqa: E402, F401  everything a run needs, before the forks
from vislab.errors import DataError  # noqa: E402
from vislab.registry import HOOKS, METRICS, TRANSFORMS  # noqa: E402

AFTER = 8  # iterations; an epoch has three
LIMIT = 90  # seconds after which a process hangs: a start takes long on a busy machine


def note_time() -> None:
    Path(os.environ["DEED_TIME"]).write_text(str(time.time()))


@HOOKS.register_module()
class Deed(Hook):
    """At iteration AFTER this happens to the processes `ranks`."""

    def __init__(self, *, kind: str, ranks: tuple = (1,)) -> None:
        self.kind, self.ranks = kind, ranks

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter != AFTER or runner.rank not in self.ranks:
            return
        note_time()
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "bug":
            raise KeyError("no such entry")
        elif self.kind == "hang":
            time.sleep(60)


@TRANSFORMS.register_module()
class Damaged:
    """An image that cannot be read; one process comes upon it."""

    def __call__(self, results: dict) -> dict:
        if os.environ["RANK"] == "1" and results["sample_idx"] == 5:
            note_time()
            raise DataError("broken.png cannot be decoded")
        return results


@METRICS.register_module()
class Unmeasurable(ToyMetric):
    """Fails where metrics are computed: on process 0 alone."""

    def compute_metrics(self, results):
        note_time()
        raise DataError("nothing to measure")


DEEDS = {
    "killed": {"custom_hooks": [{"type": "Deed", "kind": "kill"}]},
    "first killed": {"custom_hooks": [{"type": "Deed", "kind": "kill", "ranks": (0,)}]},
    "damaged image": {"damaged": True},
    "bug": {"custom_hooks": [{"type": "Deed", "kind": "bug"}]},
    "no metric": {"val_evaluator.type": "Unmeasurable"},
    "slow": {"custom_hooks": [{"type": "Deed", "kind": "hang"}], "env_cfg.dist_cfg.timeout": 5},
}


def start(rank: int, port: str, work_dir: Path, changes: dict) -> int:
    """Fork process `rank` of 2; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    output = os.open(work_dir / f"stderr_{rank}", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "DEED_TIME": str(work_dir / "time")}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    cli.run(lambda: apis.train(configuration(changes), work_dir=work_dir, launcher="pytorch") and None)
    raise AssertionError  # `run` leaves the process


def configuration(changes: dict) -> Config:
    from vislab.engine.config.load import load_config

    changes = dict(changes)
    cfg = load_config(HERE / "toy_config.py")
    if changes.pop("damaged", False):
        cfg.train_dataloader.dataset.pipeline.insert(0, {"type": "Damaged"})
        cfg.train_dataloader.update(num_workers=1)
    cfg.merge_from_dict({"custom_hooks": [], **changes})
    cfg.log_level = "WARNING"
    return cfg


def ends(pids: list[int]) -> list[int | None]:
    """Exit codes; None for a process that hangs, which is killed."""
    codes: dict[int, int] = {}
    limit = time.monotonic() + LIMIT
    while len(codes) < len(pids) and time.monotonic() < limit:
        for pid in set(pids) - set(codes):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[pid] = os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    for pid in set(pids) - set(codes):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return [codes.get(pid) for pid in pids]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=list(DEEDS))
    parser.add_argument("--torchrun", choices=list(DEEDS), help="be one process of a run that torchrun has started")
    args = parser.parse_args()
    if args.torchrun:
        os.environ["DEED_TIME"] = str(args.out / "time")
        changes = DEEDS[args.torchrun]
        cli.run(lambda: apis.train(configuration(changes), work_dir=args.out, launcher="pytorch") and None)
    found = {}
    for deed in [args.only] if args.only else DEEDS:
        folder = args.out / deed.replace(" ", "_")
        folder.mkdir(parents=True)
        port = free_port()
        codes = ends([start(rank, port, folder, DEEDS[deed]) for rank in range(2)])
        found[deed] = {
            "codes": codes,
            "seconds": time.time() - float((folder / "time").read_text()),
            "printed": [(folder / f"stderr_{rank}").read_text() for rank in range(2)],
            "checkpoints": sorted(path.name for path in folder.glob("epoch_*.pth")),
        }
    print(json.dumps(found))
