"""How a network's time grows with image size, batch, loader workers and processes."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from mmseg_pan.devices import default_device

from . import timing
from .contenders import from_config, segmentor_loss


def time_by_size(models: dict[str, Config], sides: Sequence[int], rounds: int) -> dict[str, list]:
    """Seconds of one square image, by its side, for each model: inference to the logits."""
    return _inference(models, [(side, 1) for side in sides], rounds)


def by_batch(models: dict[str, Config], batches: Sequence[int], side: int, rounds: int) -> dict:
    """Seconds of an image in a batch of square images, by the size of the batch."""
    found = _inference(models, [(side, batch) for batch in batches], rounds)
    return {
        name: [seconds / batch for seconds, batch in zip(times, batches, strict=True)]
        for name, times in found.items()
    }


def _inference(models: dict[str, Config], cases: list[tuple[int, int]], rounds: int) -> dict:
    actions = {}
    for name, cfg in models.items():
        contender = from_config(name, cfg.model)
        contender.prepare()
        for side, batch in cases:
            image = torch.randn(batch, 3, side, side, device=default_device())
            actions[name, side, batch] = timing.inference(contender, image)
    times = timing.interleave(actions, rounds)
    return {
        name: [statistics.median(times[(name, *case)]['whole']) for case in cases]
        for name in models
    }


def by_workers(cfg: Config, workers: Sequence[int], samples: int) -> list[float]:
    """Training samples a second that a loader gives while nothing else runs."""
    found = []
    for count in workers:
        loader = Config(dict(cfg.train_dataloader))
        loader.update(num_workers=count, persistent_workers=count > 0)
        batches = iter(Runner.build_dataloader(loader.to_dict(), seed=0))
        next(batches)  # the start of the workers
        steps = max(samples // loader.batch_size, 1)
        start = time.perf_counter()
        for _ in range(steps):
            next(batches)
        found.append(steps * loader.batch_size / (time.perf_counter() - start))
        del batches
    return found


def by_processes(cfg: Config, batch: int, side: int, rounds: int) -> dict[str, float]:
    """Training images a second of one process with all threads, and of as many with one each.

    They compute on the CPU, also where there is a GPU: it is the cores that are shared. They
    share the batch and average gradients by gloo.
    """
    threads = torch.get_num_threads()
    cases = {f'1 process, {threads} threads': 1}
    if threads > 1:
        cases[f'{threads} processes, 1 thread each'] = threads
    return {
        name: batch / _in_processes(_train, count, cfg, batch // count, side, rounds)
        for name, count in cases.items()
    }


def _in_processes(work: Callable, count: int, *args) -> float:
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, (count, folder, torch.get_num_threads(), *args), count)
        return float(Path(folder, 'seconds').read_text())


def _train(
    rank: int, count: int, folder: str, threads: int, cfg: Config, batch: int, side: int, rounds
) -> None:
    """Measure training steps in one of several processes."""
    import mmseg_pan  # noqa: F401  a new process, where nothing is registered yet

    init_default_scope('mmseg')
    torch.set_num_threads(threads // count)
    torch.manual_seed(rank)
    dist.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=count)
    contender = from_config('', cfg.model)
    contender.prepare(train=True, device='cpu')
    if count > 1:
        wrapped = DistributedDataParallel(contender.model)
        contender = contender._replace(loss=partial(segmentor_loss, wrapped), model=wrapped)
    images = torch.randn(batch, 3, side, side)
    labels = torch.randint(contender.classes, (batch, side, side))
    step = timing.training_step(contender, images, labels)
    step()
    seconds = statistics.median(step()['whole'] for _ in range(rounds))
    if rank == 0:
        Path(folder, 'seconds').write_text(str(seconds))
    dist.destroy_process_group()
