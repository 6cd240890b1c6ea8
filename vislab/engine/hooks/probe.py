"""Hook that adds the accuracy of a small probe of the encoder to the validation metrics."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from vislab.datasets.base import seeded
from vislab.engine.distributed import unwrap
from vislab.engine.features import Extractor, Features, check_features, extract
from vislab.errors import ConfigError, DataError, check_choice
from vislab.evaluation.knn import knn_accuracy
from vislab.evaluation.linear_probe import linear_probe
from vislab.models.encoders.tokens import encoder_preprocessor, find_encoder
from vislab.registry import DATASETS, HOOKS


@HOOKS.register_module()
class ProbeHook(Hook):
    """Adds `probe/knn` or `probe/linear`, in percent, to the metrics of a validation, so that it is logged and drawn.

    Images are read once, at the start of training, and kept in memory; the features of the current encoder are computed
    at each probe, on the main process. Random states are not changed.

    Args:
        train_dataset: Config of a labeled dataset whose pipeline does not augment.
        test_dataset: The same of the test images.
        train, test: Number of images, evenly spaced over the dataset.
        kind: "knn" (20 neighbors) or "linear" (logistic regression, C = 0.01).
        feature: "class" token or "mean" of the patch tokens.
        interval: Probe at every `interval`-th validation, the first one included. Hooks that read the accuracy after
            each validation, such as CheckpointHook with save_best="probe/knn", need 1.
        part: Name of the encoder in the model; see `find_encoder`.
        batch_size: Images per forward pass.

    Raises:
        ConfigError: At the start of training: a model without encoder, or another hook needs the accuracy more often.
    """

    needs_whole_model = True  # not supported by FullyShard
    priority = "HIGHEST"  # before the metrics are logged, and with averaged weights in place

    def __init__(
        self,
        *,
        train_dataset: dict,
        test_dataset: dict,
        train: int = 2000,
        test: int = 1000,
        kind: Literal["knn", "linear"] = "knn",
        feature: Literal["class", "mean"] = "mean",
        interval: int = 1,
        part: str | None = None,
        batch_size: int = 256,
    ) -> None:
        check_choice("ProbeHook: kind", kind, ("knn", "linear"))
        check_choice("ProbeHook: feature", feature, ("class", "mean"))
        if min(train, test, interval, batch_size) < 1:
            raise ConfigError("ProbeHook: train, test, interval and batch_size must be at least 1")
        self.datasets = (train_dataset, test_dataset)
        self.counts, self.batch_size = (train, test), batch_size
        self.kind, self.feature, self.interval, self.part = kind, feature, interval, part
        self._validations = 0
        self._sets: list[Samples] = []

    @staticmethod
    def result_names(config: Mapping[str, Any]) -> list[str]:
        """Return the metric that a hook with this config adds; read by the config check."""
        return [f"probe/{config.get('kind', 'knn')}"]

    def state_dict(self) -> dict[str, int]:
        return {"validations": self._validations}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self._validations = state["validations"]

    def before_train(self, runner: Runner) -> None:
        find_encoder(unwrap(runner.model), self.part)
        self._check_readers(runner.hooks)
        if is_main_process():
            self._sets = [
                Samples(config, count, which)
                for config, count, which in zip(self.datasets, self.counts, ("train", "test"), strict=True)
            ]

    def _check_readers(self, hooks: Sequence[Hook]) -> None:
        """Raise ConfigError if a hook reads the accuracy at validations without a probe."""
        for hook in hooks if self.interval > 1 else ():
            read = [getattr(hook, key, None) or () for key in ("save_best", "monitor")]
            names = [name for one in read for name in ([one] if isinstance(one, str) else one)]
            if f"probe/{self.kind}" in names:
                raise ConfigError(
                    f"{type(hook).__name__} reads probe/{self.kind} after each validation, which ProbeHook with "
                    f"interval={self.interval} adds to every {self.interval}-th only: set interval=1, and a larger "
                    "train_cfg.val_interval if that is too often"
                )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._validations += 1
        if metrics is None or (self._validations - 1) % self.interval:
            return
        found = [self._accuracy(unwrap(runner.model)) if self._sets and is_main_process() else None]
        broadcast_object_list(found)
        if found[0] is not None:  # validation alone has no probe
            metrics[f"probe/{self.kind}"] = found[0]

    def _accuracy(self, model: torch.nn.Module) -> float:
        place, encoder = find_encoder(model, self.part)
        preprocessor = encoder_preprocessor(model.data_preprocessor, encoder, place or type(model).__name__)
        extractor = Extractor(encoder, preprocessor.to(next(encoder.parameters()).device))
        train, test = (extract(extractor, samples, batch_size=self.batch_size) for samples in self._sets)
        check_features(train, test)
        first, second = (self._vectors(features) for features in (train, test))
        if self.kind == "linear":
            return linear_probe(first, train.labels, second, test.labels, Cs=(0.01,)).accuracy
        tensors = [torch.from_numpy(x) for x in (first, train.labels, second, test.labels)]
        return next(iter(knn_accuracy(*tensors, ks=[20]).values()))

    def _vectors(self, features: Features) -> np.ndarray:
        if self.feature not in features.arrays:
            raise ConfigError("ProbeHook: feature='class': this encoder has no class token; use 'mean'")
        return features.arrays[self.feature]


class Samples:
    """Samples of a dataset in memory, evenly spaced over it. They are copied when read, since batches change them."""

    def __init__(self, config: dict, count: int, which: str) -> None:
        dataset = DATASETS.build(config) if isinstance(config, dict) else config
        total = len(dataset)
        if not total:
            raise DataError(f"ProbeHook: {which}_dataset has no images")
        count = min(count, total)
        with seeded(0):
            self.samples = [dataset[i * total // count] for i in range(count)]
        if any(sample is None for sample in self.samples):
            raise DataError(f"ProbeHook: the pipeline of {which}_dataset rejects images")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.samples[index]
        return {**sample, "data_samples": sample["data_samples"].clone()}
