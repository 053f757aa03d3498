"""A pytest plugin that puts our classes instead of stock ones, under foreign tests.

``run_suites.py`` loads it; the environment says which substitution to make and where to write
what each test gave. Names are replaced before the test modules import them: in all modules of
mmengine and MMSegmentation, and in their registries.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import mmengine.hooks
import mmengine.registry
import mmengine.runner
import mmseg.datasets.transforms
import mmseg.evaluation
import mmseg.models
import mmseg.models.decode_heads.decode_head as decode_head
import mmseg.registry
from mmengine.registry import Registry
from torch import nn

import mmseg_pan.datasets.transforms
from mmseg_pan.engine.loop import ResumableTrainLoop
from mmseg_pan.engine.safe_checkpoint import SafeCheckpointHook
from mmseg_pan.engine.verified_checkpoint import VerifiedCheckpointHook
from mmseg_pan.evaluation.fast_iou import FastIoUMetric
from mmseg_pan.evaluation.fast_tta import FastTTAModel
from mmseg_pan.models.heads import FPAHead, PANHead
from mmseg_pan.models.levels import backbone_levels
from mmseg_pan.models.loss import applies_to, cross_entropy_by_image

#: The name of a substitution, and the file that gets a line for each test.
CHOSEN, RESULTS = 'MMSEG_PAN_SUBSTITUTION', 'MMSEG_PAN_RESULTS'


def put(ours, stock) -> None:
    """Replace a class wherever mmengine and MMSegmentation name it."""
    for name, module in list(sys.modules.items()):
        if name.split('.')[0] in ('mmengine', 'mmseg'):
            for key, value in list(vars(module).items()):
                if value is stock:
                    setattr(module, key, ours)
                elif isinstance(value, Registry):
                    for entry, kind in list(value.module_dict.items()):
                        if kind is stock:
                            value.module_dict[entry] = ours


def put_checkpoint_hooks() -> None:
    """VerifiedCheckpointHook for CheckpointHook, and SafeCheckpointHook in every Runner."""
    put(VerifiedCheckpointHook, mmengine.hooks.CheckpointHook)
    call_hook = mmengine.runner.Runner.call_hook

    def call_with_ours(self, name: str, **kwargs) -> None:
        if not any(isinstance(hook, SafeCheckpointHook) for hook in self._hooks):
            ours = SafeCheckpointHook()
            if name == 'after_load_checkpoint':
                ours.after_load_checkpoint(self, **kwargs)
            call_hook(self, name, **kwargs)
            if name == 'before_save_checkpoint':
                ours.before_save_checkpoint(self, **kwargs)
            return
        call_hook(self, name, **kwargs)

    mmengine.runner.Runner.call_hook = call_with_ours


class _Streamed(ResumableTrainLoop):
    """Our loop; a loader with mmengine's default sampler gets the endless one.

    The loop says so itself of another sampler, and a user writes it into the config.
    """

    def __init__(self, runner, dataloader, **kwargs):
        if isinstance(dataloader, dict):
            sampler = dict(dataloader.get('sampler') or {})
            if sampler.get('type') == 'DefaultSampler':
                dataloader = dict(dataloader, sampler=dict(sampler, type='InfiniteSampler'))
        super().__init__(runner, dataloader, **kwargs)


def put_loop() -> None:
    """ResumableTrainLoop for IterBasedTrainLoop."""
    put(_Streamed, mmengine.runner.IterBasedTrainLoop)


def put_transforms() -> None:
    """The fast transforms for those of which they have the name."""
    for name in ('RandomCrop', 'RandomFlip', 'PhotoMetricDistortion', 'PackSegInputs'):
        ours = getattr(mmseg_pan.datasets.transforms, f'Fast{name}')
        put(ours, mmseg.registry.TRANSFORMS.get(name))


def put_metric() -> None:
    """FastIoUMetric for IoUMetric."""
    put(FastIoUMetric, mmseg.evaluation.IoUMetric)


def put_tta() -> None:
    """FastTTAModel for SegTTAModel."""
    put(FastTTAModel, mmseg.models.SegTTAModel)


def _positional(kind: type[FPAHead]) -> type[FPAHead]:
    """A head that takes channels by position, as MMSegmentation's base class of heads does."""

    class Head(kind):
        def __init__(self, in_channels, channels, *, num_classes, **kwargs):
            super().__init__(
                in_channels=in_channels, channels=channels, num_classes=num_classes, **kwargs
            )

    return Head


def put_fpa_head() -> None:
    """FPAHead for BaseDecodeHead: what the tests' own heads inherit from."""
    put(_positional(FPAHead), decode_head.BaseDecodeHead)


def put_pan_head() -> None:
    """PANHead for BaseDecodeHead: what the tests' own heads inherit from."""
    put(_positional(PANHead), decode_head.BaseDecodeHead)


def put_pan_in_configs() -> None:
    """PANHead for the decode heads of the configs that are built."""
    build = mmseg.models.build_segmentor

    def build_with_pan(cfg, *args, **kwargs):
        stock = cfg['decode_head']
        stock = stock[-1] if isinstance(stock, (list, tuple)) else stock
        levels = backbone_levels(cfg['backbone'], cfg.get('neck'), 64)
        cfg['decode_head'] = dict(
            type='PANHead',
            in_channels=levels.in_channels,
            in_index=levels.in_index,
            channels=32,
            num_classes=stock['num_classes'],
            norm_cfg=stock.get('norm_cfg', dict(type='BN')),
            align_corners=stock['align_corners'],
            loss_decode=stock['loss_decode'],
        )
        if cfg['type'] == 'CascadeEncoderDecoder':
            cfg['type'] = 'EncoderDecoder'
            cfg.pop('num_stages')
        return build(cfg, *args, **kwargs)

    mmseg.models.build_segmentor = build_with_pan


def put_loss() -> None:
    """Our heads' cross entropy for CrossEntropyLoss, where our heads would take it."""
    stock = mmseg.models.losses.CrossEntropyLoss

    class Head(nn.Module):
        sampler, align_corners = None, False

        def __init__(self, loss, ignore_index):
            super().__init__()
            self.loss_decode, self.ignore_index = loss, ignore_index

    class Loss(nn.Module):
        def __init__(self, *args, **kwargs):
            super().__init__()
            self.stock = stock(*args, **kwargs)

        def forward(self, logits, labels, ignore_index=-100, **kwargs):
            head = Head(self.stock, ignore_index)
            if kwargs or not applies_to(head):
                return self.stock(logits, labels, ignore_index=ignore_index, **kwargs)
            return cross_entropy_by_image(head, logits, labels)[self.stock.loss_name]

    put(Loss, stock)


#: Name -> what makes the substitution; None is the control.
SUBSTITUTIONS: dict[str, Callable | None] = {
    'stock': None,
    'checkpoint hooks': put_checkpoint_hooks,
    'loop': put_loop,
    'transforms': put_transforms,
    'metric': put_metric,
    'tta': put_tta,
    'FPAHead': put_fpa_head,
    'PANHead': put_pan_head,
    'PANHead in configs': put_pan_in_configs,
    'loss': put_loss,
}


def pytest_configure(config) -> None:
    """Make the substitution that the environment names."""
    substitute = SUBSTITUTIONS[os.environ[CHOSEN]]
    if substitute is not None:
        substitute()


def pytest_runtest_logreport(report) -> None:
    """Write down what a test gave."""
    if report.when == 'call' or report.outcome != 'passed':
        crash = getattr(report.longrepr, 'reprcrash', None)
        line = dict(
            test=report.nodeid.rpartition('/')[2],
            outcome=report.outcome,
            why=str(crash.message if crash else report.longrepr or '').strip()[:400],
        )
        with Path(os.environ[RESULTS]).open('a') as file:
            file.write(json.dumps(line) + '\n')


def pytest_collectreport(report) -> None:
    """Write down a module that cannot be imported."""
    if report.failed:
        line = dict(test=report.nodeid.rpartition('/')[2], outcome='failed', why='')
        line['why'] = str(report.longrepr).strip().splitlines()[-1][:400]
        with Path(os.environ[RESULTS]).open('a') as file:
            file.write(json.dumps(line) + '\n')
