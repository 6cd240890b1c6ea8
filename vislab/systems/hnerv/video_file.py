"""Hook that stores the video of a trained network as a .hnv file at the end of a run."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from vislab.engine.distributed import unwrap
from vislab.errors import ConfigError
from vislab.io.video import read_timing
from vislab.registry import HOOKS
from vislab.systems.hnerv.codec import HnvDecoder, VideoInfo, from_network, write_hnv
from vislab.systems.hnerv.codec.quality import mean_psnr
from vislab.systems.hnerv.model import HNeRV


@HOOKS.register_module()
class VideoFileHook(Hook):
    """Write WORK_DIR/`file` after training, decode it, and log its size, bits per pixel and PSNR.

    The network is quantized as it is; `tools/hnerv.py encode` trains with quantization, which gives smaller files.
    Models other than HNeRV, such as NeRV, are left out.

    Args:
        weight_bits: Bits per weight before entropy coding.
        embedding_bits: Bits per embedding value before entropy coding.
        file: Name of the file.
    """

    needs_whole_model = True  # not supported by FullyShard
    priority = "LOW"

    def __init__(self, *, weight_bits: int = 6, embedding_bits: int = 6, file: str = "video.hnv"):
        for name, bits in (("weight_bits", weight_bits), ("embedding_bits", embedding_bits)):
            if not 2 <= bits <= 15:
                raise ConfigError(f"{name}={bits}; choose 2 to 15")
        self.weight_bits = weight_bits
        self.embedding_bits = embedding_bits
        self.file = file

    def after_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        if runner.val_loop is None or not is_main_process() or not isinstance(model, HNeRV):
            return
        dataset = runner.val_dataloader.dataset
        training = model.training
        model.eval()
        embeddings = torch.cat(list(_embeddings(model, dataset)))  # (T, d, h, w)
        model.train(training)
        segment = from_network(
            model.decoder, embeddings, weight_bits=self.weight_bits, embedding_bits=self.embedding_bits
        )
        images = [sample["inputs"].permute(1, 2, 0).numpy() for sample in dataset]  # (H, W, 3) uint8
        path = Path(runner.work_dir, self.file)
        write_hnv(path, VideoInfo(images[0].shape[:2], 1 / _rate(dataset)), [segment])
        with HnvDecoder(path) as decoder:
            decoder.file.verify()
            psnr = mean_psnr(decoder.decode(range(len(decoder))), images)
            runner.logger.info(
                f"{path}: {decoder.file.size} bytes, {decoder.file.bits_per_pixel:.5f} bits per pixel, {psnr:.2f} dB "
                "PSNR (8-bit frames decoded from the file)"
            )


@torch.no_grad()
def _embeddings(model: HNeRV, dataset: torch.utils.data.Dataset) -> Iterator[torch.Tensor]:
    for number in range(len(dataset)):
        batch = model.data_preprocessor(pseudo_collate([dataset[number]]))
        yield model.encode(batch["inputs"]).float().cpu()


def _rate(dataset: torch.utils.data.Dataset) -> Fraction:
    """Return the frames per second of a VideoFrames dataset; 25 for images and for other datasets."""
    path = getattr(dataset, "path", None)
    rate = Fraction(25) if path is None or path.is_dir() else read_timing(path).rate
    return rate / getattr(dataset, "step", 1)
