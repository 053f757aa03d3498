"""Shared by the tools: arguments, checks before a run, error messages."""

from .arguments import (
    ArgumentParser,
    ConfigOptions,
    add_common_arguments,
    parse_resume,
    share,
    whole_number,
)
from .checks import (
    check_channels,
    check_checkpoint,
    check_data,
    check_entries,
    check_loop,
    check_pretrained,
    check_shown,
    check_test_set,
)
from .config import (
    build_runner,
    check_cards,
    check_datasets,
    check_network,
    load_config,
    set_devices,
    training_lock,
)
from .next_steps import print_after_test, print_after_training
from .run import run_tool, sentence
from .testing import (
    FittingCheckpointHook,
    check_evaluators,
    check_test_pipeline,
    is_exported,
    set_exported,
    set_fast_test,
    set_tta,
    set_visualization,
    use_test_pipeline,
)
from .training import (
    divide_batch,
    drop_validation,
    set_amp,
    set_auto_scale_lr,
    set_fast_training,
)
from .values import check_optimizer
