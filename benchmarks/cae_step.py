"""Time and memory of a CAE training step compared to the official model and to transformers' ViTMAE, on the CPU.

Needs a checkout of the official repository (Atten4Vis/CAE on GitHub), which has no license and is not included here.

    python benchmarks/cae_step.py --peer-dir ../CAE [--quick] [--sizes ti s] [--images 112 224] [--batches 8 32]

A step is forward, cross-entropy of 8192 codes and alignment loss, backward and AdamW (fused here, torch's default for
the official model, as its script has it). Half of the patches are masked; the codes come from a fixed random tokenizer
and are computed beforehand. Both models have the same weights; the parity check compares predictions and latents.
"recompute" is ours with recompute=True in all parts. ViTMAE, with a decoder of the same width and depth, is another
task and serves as a yardstick.

"encoder" compares the encoder's forward pass on the visible half with that on all patches. Memory is the peak of a
process that makes two steps: the whole process, and without what a process that only builds the model has.

Completed cases are kept in work_dirs/cae_step, so that the measurement can be interrupted; delete the folder to repeat.

Targets: at most 0.75 of the time and 0.7 of the memory of the official step; visible encoder at most 0.56 of the full
one.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import _common

from vislab.io.atomic import write_text_atomically

REPOSITORY = Path(__file__).resolve().parents[1]
WORK_DIR = REPOSITORY / "work_dirs" / "cae_step"
WIDTHS = {"ti": 192, "s": 384}
CODES, DEPTH, HEADS, PATCH, SMALL = 8192, 12, 12, 16, 4


class Case:
    """One size of model, image and batch, with the inputs of both implementations."""

    def __init__(self, size: str, image: int, batch: int) -> None:
        import torch

        self.dim, self.image, self.batch = WIDTHS[size], image, batch
        self.name = f"{size} {image} px, batch {batch}"
        generator = torch.Generator().manual_seed(0)
        self.side = image // PATCH
        count = self.side**2
        self.images = torch.randn(batch, 3, image, image, generator=generator)
        self.masks = torch.rand(batch, count, generator=generator).argsort(dim=1).argsort(dim=1) < count // 2
        tokenizer = torch.randn(CODES, 3, PATCH, PATCH, generator=generator)
        scores = torch.nn.functional.conv2d(self.images, tokenizer, stride=PATCH)
        self.codes = scores.argmax(dim=1).flatten(1)  # (B, N)


def build_official(case: Case):
    from tests.helpers.cae_peer import build_peer

    return build_peer(
        classes=CODES,
        img_size=case.image,
        patch_size=PATCH,
        embed_dim=case.dim,
        depth=DEPTH,
        num_heads=HEADS,
        init_values=0.1,
        regressor_dim=case.dim,
        regressor_depth=SMALL,
        decoder_depth=SMALL,
    )


def build_ours(case: Case, recompute: bool = False):
    from torch.nn import functional as F

    from vislab.models.encoders.vit import ViT
    from vislab.systems.cae import CAE, Target

    class Codes(Target):
        def fit(self, encoder, latent_dim):
            return CODES

        def labels(self, batch):
            return case.codes.gather(1, batch.ids_masked)

        def loss(self, prediction, labels):
            return F.cross_entropy(prediction.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)

    again = {"recompute": recompute}
    sizes = {"img_size": case.image, "patch_size": PATCH, "dim": case.dim, "depth": DEPTH, "num_heads": HEADS}
    small = {"depth": SMALL, "num_heads": HEADS, **again}
    return CAE(
        encoder=ViT(**sizes, init_values=0.1, **again),
        regressor={"dim": case.dim, **small},
        decoder=small,
        target=Codes(),
        alignment_weight=2.0,
    )


def official_step(model, case: Case):
    import torch
    from torch.nn import functional as F

    from tests.helpers.cae_peer import run_peer

    adam = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, weight_decay=0.05)

    def step() -> None:
        adam.zero_grad()
        logits, latents, target = run_peer(model, case.images, case.masks)
        loss = F.cross_entropy(logits.float(), case.codes[case.masks])
        (loss + 2 * F.mse_loss(latents.float(), target.detach().float())).backward()
        adam.step()

    return step


def our_step(model, case: Case):
    import torch

    from vislab.structures import DataSample
    from vislab.systems.cae import patch_ids

    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05, fused=True)
    samples = [DataSample(patch_mask=mask.view(case.side, case.side)) for mask in case.masks]

    def step() -> None:
        adam.zero_grad()
        losses = model(case.images, samples, mode="loss", patch_ids=patch_ids(samples))
        sum(value for name, value in losses.items() if "loss" in name).backward()
        adam.step()

    return step


def mae_step(case: Case):
    import torch
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    decoder = {
        "decoder_hidden_size": case.dim,
        "decoder_num_hidden_layers": SMALL,
        "decoder_num_attention_heads": HEADS,
        "decoder_intermediate_size": 4 * case.dim,
    }
    model = ViTMAEForPreTraining(
        ViTMAEConfig(
            hidden_size=case.dim,
            num_hidden_layers=DEPTH,
            num_attention_heads=HEADS,
            intermediate_size=4 * case.dim,
            image_size=case.image,
            patch_size=PATCH,
            mask_ratio=0.5,
            **decoder,
        )
    )
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05, fused=True)

    def step() -> None:
        adam.zero_grad()
        model(case.images).loss.backward()
        adam.step()

    return step


def parity(ours, official, case: Case) -> float:
    """Copy the weights of the official model to ours; return the largest difference of predictions and latents."""
    import torch

    from tests.helpers.cae_peer import copy_weights, run_peer
    from vislab.structures import DataSample

    copy_weights(ours, official)
    samples = [DataSample(patch_mask=mask.view(case.side, case.side)) for mask in case.masks]
    with torch.no_grad():
        logits, latents, _ = run_peer(official, case.images, case.masks)
        found = ours(case.images, samples)
    pairs = ((found["prediction"].flatten(0, 1), logits), (found["latents"], latents))
    return max((a - b).abs().max().item() for a, b in pairs)


def encoder_pair(model, case: Case) -> dict:
    """Return forward passes of our encoder on all patches and on the visible half, without gradient."""
    import torch

    visible = torch.stack([(~mask).nonzero().flatten() for mask in case.masks])

    @torch.no_grad()
    def run(ids):
        return model.encoder(case.images, ids)

    return {"all patches": lambda: run(None), "visible half": lambda: run(visible)}


def peak(name: str, size: str, image: int, batch: int, steps: int) -> float:
    """Return the peak memory in MiB of a process that makes `steps` steps."""
    case = [size, str(image), str(batch), str(steps)]
    return _common.peak_rss([sys.executable, __file__, "--one", name, *case], env=dict(os.environ))


def run_one(name: str, size: str, image: str, batch: str, steps: str) -> None:
    """Build one model and make steps; the process that `peak` measures."""
    case = Case(size, int(image), int(batch))
    if name == "official":
        step = official_step(build_official(case), case)
    else:
        step = our_step(build_ours(case, recompute=name == "recompute"), case)
    for _ in range(int(steps)):
        step()


def measure(size: str, image: int, batch: int) -> dict[str, Any]:
    """Return table rows, ratios by name, and the largest difference of the two models, of one case."""
    import torch

    case = Case(size, image, batch)
    torch.manual_seed(0)
    official, ours = build_official(case), build_ours(case)
    difference = parity(ours, official, case)
    print(f"parity {case.name}: largest difference {difference:.2e}", flush=True)
    if difference > 1e-4:
        sys.exit("error: the two models differ, so their times are not comparable")
    steps = {
        "official": official_step(official, case),
        "vislab": our_step(ours, case),
        "recompute": our_step(build_ours(case, recompute=True), case),
        "ViTMAE": mae_step(case),
    }
    large = batch * case.side**2 * case.dim > 300_000
    times = _common.interleave(steps, pairs=5 if large else 9, warmup=1 if large else 2)
    passes = _common.interleave(encoder_pair(ours, case), pairs=7, warmup=1)
    memory = {
        name: [peak(name, size, image, batch, count) for count in (0, 2)]
        for name in ("official", "vislab", "recompute")
    }
    rows, results, key = [], {}, f"{size}_{image}_{batch}"
    for name in times:
        row = _common.timing_row(f"{name} {case.name}", times[name], times["official"])
        if name in memory:
            idle, busy = memory[name]
            row |= {"process MiB": f"{busy:.0f}", "step MiB": f"{busy - idle:.0f}"}
        rows.append(row)
    rows.append(_common.timing_row(f"encoder, visible {case.name}", passes["visible half"], passes["all patches"]))
    idle, busy = memory["official"]
    for name in ("vislab", "recompute"):
        results[f"{name}_time_{key}"] = _common.ratio(times[name]["cpu"], times["official"]["cpu"])
        results[f"{name}_memory_{key}"] = memory[name][1] / busy
        results[f"{name}_step_memory_{key}"] = (memory[name][1] - memory[name][0]) / (busy - idle)
    results[f"encoder_{key}"] = _common.ratio(passes["visible half"]["cpu"], passes["all patches"]["cpu"])
    return {"rows": rows, "results": results, "parity": difference}


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--peer-dir", default=os.environ.get("CAE_REPO"), help="checkout; default: env CAE_REPO")
    parser.add_argument("--sizes", nargs="+", choices=WIDTHS, default=None, help="default: ti s; --quick: ti")
    parser.add_argument("--images", nargs="+", type=int, default=None, help="default: 112 224; --quick: 112")
    parser.add_argument("--batches", nargs="+", type=int, default=None, help="default: 8 32; --quick: 8")
    parser.add_argument("--one", nargs=5, help="used by the script for its own processes")
    args = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY))
    os.environ["CAE_REPO"] = args.peer_dir or ""
    from tests.helpers.cae_peer import repository

    if repository() is None:
        _common.skip("the original repository, given by --peer-dir or CAE_REPO")
    import torch

    torch.set_num_threads(args.threads)
    if args.one:
        run_one(*args.one)
        return
    cases = [
        (size, image, batch)
        for size in args.sizes or (["ti"] if args.quick else list(WIDTHS))
        for image in args.images or ([112] if args.quick else [112, 224])
        for batch in args.batches or ([8] if args.quick else [8, 32])
    ]
    rows, results, worst = [], {}, 0.0
    for size, image, batch in cases:
        done = WORK_DIR / f"{size}_{image}_{batch}_threads{args.threads}.json"
        if args.quick or not done.exists():
            found = measure(size, image, batch)
            done.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomically(json.dumps(found), done)
        found = json.loads(done.read_text())
        _common.print_table(found["rows"])
        rows += found["rows"]
        results |= found["results"]
        worst = max(worst, found["parity"])
    table = _common.print_table(rows)
    if not args.no_record:
        _common.record(f"largest difference of predictions and latents: {worst:.2e}\n\n{table}", args.quick)
    _common.result(**results, parity=worst)


if __name__ == "__main__":
    main()
