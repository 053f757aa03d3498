"""A summary of the run, logged before it starts."""

import os

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch.utils.data import DataLoader

from mmseg_pan.benchmarks.complexity import count_cost
from mmseg_pan.devices import device_name
from mmseg_pan.evaluation.label_map_files import single_datasets

from .acceleration import step_options
from .loop import learning_rates


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Log device, batch size, learning rate, data, cost and work dir when a run starts.

    ``tools/train.py`` and ``tools/test.py`` register it for any config; your
    config may name it under ``custom_hooks`` as well.

    Args:
        origin: One sentence on what the run starts from.
    """

    priority = 'LOWEST'  # after the hooks that load and change things

    def __init__(self, origin: str = ''):
        self.origin = origin

    def before_train(self, runner: Runner) -> None:
        """Print the summary of a training run."""
        loader = runner.train_dataloader
        total = _batch_size(loader) * get_world_size()
        rows = {
            'start': self.origin,
            'device': device_name(),
            'batch': self._batch(runner),
            'learning rate': learning_rates(runner),
            **step_options(runner),
            'iterations': f'{runner.iter} of {runner.max_iters} done',
            'training images': f'{len(loader.dataset):,}',
            'epochs': f'{runner.max_iters * total / len(loader.dataset):.1f}',
            'data loading': _loading(loader),
        }
        if runner.val_loop is not None:
            rows['validation images'] = f'{len(runner.val_dataloader.dataset):,}'
        print_rows('Training', {**rows, **self._cost(runner), 'results': runner.work_dir})
        if runner.val_loop is not None and is_main_process():
            warn_of_shared_images(runner)

    def after_train(self, runner: Runner) -> None:
        """Log how much of the time the training waited for its data."""
        scalars = runner.message_hub.log_scalars
        if {'train/time', 'train/data_time'} <= set(scalars):
            whole, waiting = (
                scalars[f'train/{key}'].data[0].sum() for key in ('time', 'data_time')
            )
            runner.logger.info(
                f'Of {whole:.0f} s of training, {waiting / whole:.1%} were spent waiting for data.'
            )

    def before_test(self, runner: Runner) -> None:
        """Print the summary of a test run."""
        rows = {
            'checkpoint': self.origin,
            'device': device_name(),
            'test images': f'{len(runner.test_dataloader.dataset):,}',
        }
        print_rows('Test', {**rows, **self._cost(runner), 'results': runner.log_dir})

    @staticmethod
    def _batch(runner: Runner) -> str:
        """The batch of a step, of a process, and that of the recipe where it is another one."""
        batch, processes = _batch_size(runner.train_dataloader), get_world_size()
        text = f'{batch * processes} ({processes} x {batch})'
        scaling = runner.cfg.get('auto_scale_lr') or {}
        recipe = scaling.get('base_batch_size', batch * processes)
        if recipe != batch * processes and not scaling.get('enable'):
            text += f'; the learning rate is meant for {recipe}'
        return text

    def _cost(self, runner: Runner) -> dict[str, str]:
        model_cfg = runner.cfg.get('model', {})
        model_cfg = model_cfg.get('module') or model_cfg  # test-time augmentation wraps it
        size = (model_cfg.get('data_preprocessor') or {}).get('size') or (512, 512)
        try:
            costs = count_cost(model_cfg, *size)
        except Exception:  # a summary must never stop a run
            return {'cost': f'could not be counted for {model_cfg.get("type")}'}
        return {
            name.replace('_', ' '): f'{cost.multiply_adds / 1e9:.2f} G multiply-adds at '
            f'{size[1]}x{size[0]}, {cost.parameters / 1e6:.2f} M parameters'
            for name, cost in costs.items()
            if name != 'total'
        }


def _batch_size(loader: DataLoader) -> int:
    """Images per process and step; a batch sampler knows them instead of the loader."""
    return loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 1)


def _loading(loader: DataLoader) -> str:
    """By how many processes, and how many cores there are for them and the training."""
    if not loader.num_workers:
        return 'in the training process'
    text = _counted(loader.num_workers, 'process', 'processes')
    cores = len(os.sched_getaffinity(0))
    if loader.num_workers > cores:
        text += f', but {_counted(cores, "CPU core", "CPU cores")}'
    return text


def _counted(number: int, one: str, several: str) -> str:
    return f'{number} {one if number == 1 else several}'


def print_rows(title: str, rows: dict[str, str]) -> None:
    """Print a title and one line a row, once for all processes."""
    if is_main_process():
        width = max(map(len, rows))
        lines = [f'  {key:<{width}}  {value}' for key, value in rows.items()]
        print('\n'.join(['', title, *lines, '']), flush=True)


def warn_of_shared_images(runner: Runner) -> None:
    """Log when the network is validated on images that it is trained on."""
    train, val = (
        _images(loader.dataset) for loader in (runner.train_dataloader, runner.val_dataloader)
    )
    shared = sorted(train & val)
    if shared:
        others = f' and {len(shared) - 1:,} other images' if len(shared) > 1 else ''
        runner.logger.warning(
            f'{shared[0]}{others}: in train and val, so the validation scores are too '
            'good; "python tools/verify_dataset.py CONFIG" names all of them.'
        )


def _images(dataset) -> set[str]:
    """Absolute paths, as far as the data set tells them."""
    samples = (
        part.get_data_info(index)
        for part in single_datasets(dataset)
        if hasattr(part, 'get_data_info')
        for index in range(len(part))
    )
    return {os.path.abspath(sample['img_path']) for sample in samples if 'img_path' in sample}
