#!/usr/bin/env python
"""Train a segmentor.

python tools/train.py configs/pan/pan_r101-d16_voc.py
bash tools/dist_train.sh configs/pan/pan_r101-d16_voc.py 4
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_pan import cli
from mmseg_pan.engine import RunSummaryHook
from mmseg_pan.engine.resume import set_resume
from mmseg_pan.weights.trust import safe_loading


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = cli.ArgumentParser(description='Train a segmentor')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='newest',
        metavar='auto|PATH',
        help='continue from the newest checkpoint of the work dir (an error without one); '
        'auto: or start from scratch; PATH: from that file',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--fast',
        action='store_true',
        help='channels-last format, a fused optimizer, and bfloat16 where the processor or card '
        'has it',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--divide-batch',
        action='store_true',
        help='share auto_scale_lr.base_batch_size among the processes, as the launch scripts do; '
        'left alone where --auto-scale-lr or train_dataloader.batch_size is given',
    )
    parser.add_argument(
        '--only-check',
        action='store_true',
        help='end when config and batch are found right: before data, weights and results',
    )
    parser.add_argument('--no-validate', action='store_true', help='train without validation')
    cli.add_common_arguments(parser)
    return parser.parse_args(cli.parse_resume(sys.argv[1:]))


def main() -> None:
    """Train."""
    args = parse_args()
    cfg = cli.load_config(args.config, args.cfg_options, args.work_dir)
    cli.check_entries(cfg, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    told = args.auto_scale_lr or 'train_dataloader.batch_size' in (args.cfg_options or {})
    if args.divide_batch and not told:
        cli.divide_batch(cfg, int(os.environ.get('WORLD_SIZE', 1)))
    if args.divide_batch:
        cli.check_cards()
    if args.only_check:
        return
    if args.amp:
        cli.set_amp(cfg)
    if args.fast:
        cli.set_fast_training(cfg)
    if args.auto_scale_lr:
        cli.set_auto_scale_lr(cfg)
    if args.no_validate:
        cli.drop_validation(cfg)
    with safe_loading(args.unsafe_load):
        origin = set_resume(cfg, args.resume, args.unsafe_load)
        if cfg.load_from and not cfg.resume:
            cli.check_checkpoint(cfg.load_from, args.unsafe_load)
            origin = f'Starts from iteration 0 with the weights {cfg.load_from}.'
        cli.check_loop(cfg)
        cli.check_optimizer(cfg)
        cli.check_data(cfg, 'train', 'val', first_image=True)
        cli.check_channels(cfg)
        cli.check_pretrained(cfg)
        cli.set_devices(cfg, args.launcher, args.local_rank)
        with cli.training_lock(cfg):
            runner = cli.build_runner(cfg)
            runner.register_hook(RunSummaryHook(origin))
            runner.train()
    cli.print_after_training(runner)


if __name__ == '__main__':
    cli.run_tool(main)
