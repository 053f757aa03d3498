"""Training runs on a linear model, which take a tenth of a second."""

import random
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.visualization import Visualizer
from mmseg.registry import DATASETS, METRICS, MODELS
from torch.utils.data import Dataset

from mmseg_pan import cli
from mmseg_pan.engine.resume import set_resume
from tests.engine.runs import InterruptHook, release_signals, train_until


@DATASETS.register_module()
class PlaneData(Dataset):
    """Eight points of a plane, and their heights."""

    METAINFO = dict()

    def __init__(self):
        self.points = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        return dict(inputs=self.points[index], data_samples=self.points[index].sum())


@MODELS.register_module()
class PlaneModel(BaseModel):
    """A linear layer."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        y = self.layer(torch.stack(list(inputs))).sum(1)
        if mode == 'loss':
            return dict(loss=(y - torch.stack(list(data_samples))).square().mean())
        return [y]


@METRICS.register_module()
class ScriptedMetric(BaseMetric):
    """Gives the score that a test has set for the iteration."""

    scores: dict[int, float] = {}
    iteration = 0

    def process(self, *args, **kwargs):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=self.scores[self.iteration])


class TellIteration(Hook):
    """Tell ScriptedMetric how many iterations are done."""

    def before_val_epoch(self, runner):
        ScriptedMetric.iteration = runner.iter


def linear_cfg(folder: Path, steps: int = 6, validate: int = 0, **changes) -> Config:
    """Return a config with the project's loop and hooks, and a checkpoint at every second step.

    Args:
        folder: Work dir.
        steps: Length of the run.
        validate: Iterations between validations, with ``ScriptedMetric``; 0: none.
        **changes: More keys; two underscores stand for a dot.
    """
    loader = dict(dataset=dict(type='PlaneData'), batch_size=2, num_workers=0)
    cfg = Config(
        dict(
            default_scope='mmseg',
            work_dir=str(folder),
            model=dict(type='PlaneModel'),
            train_dataloader=dict(loader, sampler=dict(type='InfiniteSampler', shuffle=True)),
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)
            ),
            param_scheduler=[],
            train_cfg=dict(type='ResumableTrainLoop', max_iters=steps),
            default_hooks=dict(
                checkpoint=dict(type='VerifiedCheckpointHook', interval=2, by_epoch=False)
            ),
            custom_hooks=[],
            randomness=dict(seed=0),
            log_processor=dict(by_epoch=False),
            log_level='ERROR',
        )
    )
    if validate:
        cfg.train_cfg.val_interval = validate
        cfg.val_cfg = dict()
        cfg.val_dataloader = dict(loader, sampler=dict(type='DefaultSampler', shuffle=False))
        cfg.val_evaluator = dict(type='ScriptedMetric')
    for key, value in changes.items():
        if '__' in key:
            cfg.merge_from_dict({key.replace('__', '.'): value})
        else:
            cfg[key] = value
    return cfg


def run_linear(cfg: Config, resume: str | None = None, stop_after: int | None = None, hooks=()):
    """Train as tools/train.py does; ``stop_after`` ends it after that iteration.

    Returns:
        The runner.
    """
    for kind in (MMLogger, MessageHub, Visualizer):
        kind._instance_dict.clear()
    cfg = cfg.copy()
    cfg.experiment_name = f'run{random.SystemRandom().getrandbits(60)}'
    set_resume(cfg, resume)
    runner = cli.build_runner(cfg)
    for hook in (TellIteration(), *hooks, *([InterruptHook(stop_after)] if stop_after else [])):
        runner.register_hook(hook)
    try:
        train_until(runner, stop_after)
    finally:
        release_signals(runner)
    return runner


def scalars(runner, name: str = 'train/lr') -> list[float]:
    """Return the logged values, one for each step."""
    return runner.message_hub.get_scalar(name).data[0].tolist()
