"""The top-level keys of a config."""

# What Runner.__init__ takes, what it reads from `cfg` itself, and what test-time augmentation reads.
_KEYS = """
model work_dir train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg auto_scale_lr optim_wrapper
param_scheduler val_evaluator test_evaluator default_hooks custom_hooks data_preprocessor load_from resume launcher
env_cfg log_processor log_level visualizer default_scope randomness experiment_name model_wrapper_cfg sync_bn
find_unused_parameters activation_checkpointing efficient_conv_bn_eval compile tta_model tta_pipeline
"""
RUNNER_KEYS = frozenset(_KEYS.split())
