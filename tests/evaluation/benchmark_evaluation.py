"""Images a second of stock testing and of ours, taking turns in one process.

VOC_ROOT=VOCdevkit/VOC2012 python tests/evaluation/benchmark_evaluation.py \
    configs/pan/pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py CHECKPOINT --images 40 --rounds 5

Each contender runs mmengine's whole test loop (data, network, label maps, metric) over the
same images in every round. Other work on the machine affects all equally: compare the ratios. With
--workers 0, the default, the process time holds all the work, loading included.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.runner import Runner

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan import cli
from mmseg_pan.weights.trust import safe_loading

#: Flags of tools/test.py; None: MMSegmentation's own loop.
CONTENDERS = {
    'stock': None,
    'default': dict(),
    'fast': dict(fast=True),
    'amp': dict(amp=True),
    'fast+amp': dict(fast=True, amp=True),
    'exported': dict(),
}


def build(args: argparse.Namespace, name: str, work_dir: str) -> Runner:
    """Build one contender's runner, quiet and with its weights."""
    cfg = cli.load_config(args.config, args.cfg_options, work_dir)
    loader = cfg.test_dataloader
    loader.num_workers, loader.persistent_workers = args.workers, args.workers > 0
    if args.images:
        loader.dataset.indices = args.images
    for part in ('train', 'val'):
        for key in (f'{part}_cfg', f'{part}_dataloader', f'{part}_evaluator'):
            cfg[key] = None
    cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.load_from, cfg.log_level = args.checkpoint, 'ERROR'
    cfg.experiment_name = f'benchmark_{list(CONTENDERS).index(name)}'
    if args.tta:
        cli.set_tta(cfg)
        if CONTENDERS[name] is None:
            cfg.model.type = 'SegTTAModel'
    if CONTENDERS[name] is None and cfg.test_evaluator.type == 'SelectedIoUMetric':
        cfg.test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])  # ours counts faster
    if name == 'exported':
        cli.set_exported(cfg, args.exported)
    if CONTENDERS[name] is not None:
        cli.set_fast_test(cfg, **CONTENDERS[name])
    runner = cli.build_runner(cfg)
    runner.test()  # loads the checkpoint and writes the config: once, and not measured
    return runner


def run(runner: Runner) -> tuple[float, float, dict]:
    """Test once: seconds, process seconds, metrics."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    wall, process = time.perf_counter(), time.process_time()
    metrics = runner.test_loop.run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - process, metrics


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--images', type=int, default=40, help='0: the whole list')
    parser.add_argument('--rounds', type=int, default=5, help='after one of each to warm up')
    parser.add_argument('--workers', type=int, default=0, help='of each data loader')
    parser.add_argument('--tta', action='store_true', help='multi-scale and flip')
    parser.add_argument('--exported', help='.onnx or .xml, for the contender of that name')
    parser.add_argument('--only', nargs='+', choices=list(CONTENDERS))
    parser.add_argument('--cfg-options', nargs='+', action=cli.ConfigOptions)
    args = parser.parse_args()
    args.only = args.only or [n for n in CONTENDERS if n != 'exported' or args.exported]
    with safe_loading():
        results = {name: [] for name in args.only}
        with tempfile.TemporaryDirectory() as work_dir:
            with contextlib.redirect_stdout(io.StringIO()):
                runners = {name: build(args, name, work_dir) for name in args.only}
            for _ in range(args.rounds):
                for name, runner in runners.items():
                    with contextlib.redirect_stdout(io.StringIO()):
                        result = run(runner)
                    results[name].append(result)
        images = len(next(iter(runners.values())).test_dataloader.dataset)
        print(
            f'{images} images, {args.rounds} rounds, {args.workers} workers, '
            f'{torch.get_num_threads()} threads, torch {torch.__version__}'
        )
        first = results[args.only[0]]
        print(f'{"":13} images/s (range)        ratio (range)        process time  mIoU')
        for name, rows in results.items():
            rates = sorted(images / wall for wall, _, _ in rows)
            ratios = sorted(a[0] / b[0] for a, b in zip(first, rows, strict=True))
            process = statistics.median(a[1] / b[1] for a, b in zip(first, rows, strict=True))
            print(
                f'{name:13} {statistics.median(rates):6.2f} ({rates[0]:.2f}-{rates[-1]:.2f})    '
                f'{statistics.median(ratios):5.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})    '
                f'1/{process:.2f}    {rows[-1][2]["mIoU"]}'
            )


if __name__ == '__main__':
    cli.run_tool(main)
