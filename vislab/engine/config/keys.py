"""Top-level keys of a config, and hints for the keys of older styles."""

# Arguments of Runner.__init__, keys it reads from `cfg`, and keys of test-time augmentation.
_KEYS = """
model work_dir train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg auto_scale_lr optim_wrapper
param_scheduler val_evaluator test_evaluator default_hooks custom_hooks data_preprocessor load_from resume launcher
env_cfg log_processor log_level visualizer default_scope randomness experiment_name model_wrapper_cfg sync_bn
find_unused_parameters activation_checkpointing efficient_conv_bn_eval compile tta_model tta_pipeline
"""
RUNNER_KEYS = frozenset(_KEYS.split())

# Names in older config styles -> hint
OLD_KEYS = {
    "_base_": "Bases are read by `from mmengine.config import read_base`, then `with read_base():` and in it "
    "`from .folder.name import *`",
    "custom_imports": "Import the class at the top of the config and name it, as in `type=MyModel`",
    "optimizer": "Set it in: optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.1))",
    "optimizer_config": "Gradient clipping is optim_wrapper.clip_grad, accumulation optim_wrapper.accumulative_counts",
    "fp16": "Mixed precision is optim_wrapper = dict(type=AmpOptimWrapper, ...), or --amp",
    "lr_config": "Schedules are param_scheduler = [dict(type=CosineAnnealingLR, ...)]",
    "momentum_config": "Schedules are param_scheduler = [dict(type=CosineAnnealingMomentum, ...)]",
    "runner": "The length of the run is train_cfg = dict(by_epoch=True, max_epochs=...)",
    "total_epochs": "The length of the run is train_cfg = dict(by_epoch=True, max_epochs=...)",
    "data": "Each split has its own: train_dataloader, val_dataloader, test_dataloader",
    "evaluation": "Metrics are val_evaluator, how often is train_cfg.val_interval, the best checkpoint is "
    "default_hooks.checkpoint.save_best",
    "checkpoint_config": "Checkpoints are default_hooks.checkpoint = dict(type=CheckpointHook, interval=1)",
    "log_config": "Logs are default_hooks.logger = dict(type=LoggerHook, interval=50), other places to write them "
    "visualizer.vis_backends",
    "dist_params": "It is env_cfg.dist_cfg",
    "cudnn_benchmark": "It is env_cfg.cudnn_benchmark",
    "seed": "It is randomness = dict(seed=...)",
    "workflow": "Training and validation are train_cfg and val_cfg",
    "resume_from": "It is resume: a path, or True for the newest checkpoint in the work folder",
    "gpu_ids": "Devices are chosen by CUDA_VISIBLE_DEVICES and --launcher",
}
