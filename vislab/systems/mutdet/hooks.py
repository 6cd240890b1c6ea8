"""Start of fine-tuning from a pre-trained detector."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from vislab.registry import HOOKS

_OF_CLASSES = (".classes.weight", ".classes.bias", "denoising.labels.weight")


@HOOKS.register_module()
class StartFromPretraining(Hook):
    """Loads the detector of a MutDet checkpoint (`load_from`): without `pretext`, class heads and label embedding.

    The class heads start anew even if the number of classes is the same by chance. The head of the first stage has a
    name of its own, so that decoders of different depths have the same layers in common: those of a deeper one that the
    checkpoint lacks keep their initial values, with the runner's warning. A resumed run or a test is not changed.
    """

    priority = "VERY_LOW"  # after hooks that exchange weights

    def after_load_checkpoint(self, runner, checkpoint: dict[str, Any]) -> None:
        """Remove the weights from the checkpoint, before the runner loads it."""
        if runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        before = checkpoint["state_dict"]
        checkpoint["state_dict"] = after = detector_weights(before)
        runner.logger.info(
            f"start from a pre-trained detector: {len(after)} of {len(before)} tensors; the class heads start anew"
        )


def detector_weights(state: dict[str, Any]) -> dict[str, Any]:
    """Return the weights that fine-tuning keeps: no `pretext`, class heads and label embedding."""
    return {k: v for k, v in state.items() if not k.startswith("pretext.") and not k.endswith(_OF_CLASSES)}
