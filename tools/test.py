#!/usr/bin/env python
"""Test a segmentor.

python tools/test.py configs/pan/pan_r101-d16_voc.py work_dirs/pan_r101-d16_voc/iter_40000.pth
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.dist import is_main_process

from mmseg_pan import cli
from mmseg_pan.engine import RunSummaryHook
from mmseg_pan.reports.preparation import plan_report, write_label_maps
from mmseg_pan.weights.trust import safe_loading


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = cli.ArgumentParser(description='Test a segmentor')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file, or an exported .onnx or .xml')
    parser.add_argument('--out', metavar='DIR', help='write predicted label maps here')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='write painted images here')
    parser.add_argument(
        '--wait-time', type=float, default=2, metavar='SECONDS', help='pause of --show'
    )
    parser.add_argument(
        '--report', metavar='DIR', help='write DIR/index.html: plots, worst and best images'
    )
    parser.add_argument('--compare', metavar='DIR', help='compare with another --report')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--fast',
        action='store_true',
        help='fold batch norms into convolutions and use channels-last format: same results up '
        'to rounding',
    )
    parser.add_argument('--amp', action='store_true', help='run the network in bfloat16')
    cli.add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Test."""
    args = parse_args()
    cfg = cli.load_config(args.config, args.cfg_options, args.work_dir)
    cli.check_entries(cfg, 'model')
    cli.check_test_set(cfg)
    cli.check_evaluators(cfg)
    with safe_loading(args.unsafe_load):
        if cli.is_exported(args.checkpoint):
            cli.set_exported(cfg, args.checkpoint, args.fast, args.amp)
        else:
            cli.check_checkpoint(args.checkpoint, args.unsafe_load)
            cfg.load_from = args.checkpoint
            cfg.resume = False
        if args.show or args.show_dir:
            cli.set_visualization(cfg, args.show, args.show_dir, args.wait_time)
        if args.tta:
            cli.set_tta(cfg)
        cli.check_test_pipeline(cfg)
        cli.check_data(cfg, 'test', first_image=True)
        cli.check_shown(cfg, args.show_dir)
        report = plan_report(cfg, args.checkpoint, args.report, args.out, args.compare)
        maps = report.predictions if report else args.out
        if maps:
            write_label_maps(cfg, maps)
        cli.set_fast_test(cfg, args.fast, args.amp)
        cli.set_devices(cfg, args.launcher, args.local_rank)
        runner = cli.build_runner(cfg)
        runner.register_hook(cli.FittingCheckpointHook(args.checkpoint))
        runner.register_hook(RunSummaryHook(args.checkpoint))
        runner.test()
        if report and is_main_process():
            print(f'Report: {report.write()}')
    if is_main_process():
        config = None if args.cfg_options or cli.is_exported(args.checkpoint) else args.config
        cli.print_after_test(runner, sys.argv, args.checkpoint, config, bool(report))


if __name__ == '__main__':
    cli.run_tool(main)
