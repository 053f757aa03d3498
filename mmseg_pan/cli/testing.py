"""How the flags of ``tools/test.py`` change a config."""

from pathlib import Path

from mmengine.config import Config

from mmseg_pan.errors import UserError

#: Metrics that read label maps and nothing else of the predictions.
LABEL_METRICS = ('IoUMetric', 'FastIoUMetric', 'SelectedIoUMetric')


def set_visualization(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Paint predictions while testing.

    Raises:
        UserError: If the config has no visualization hook to do it.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise UserError(
            f'--show and --show-dir need a SegVisualizationHook, and {cfg.filename} has none; add '
            '"--cfg-options default_hooks.visualization.type=SegVisualizationHook".'
        )
    # OpenMMLab's release draws every 50th image unless told otherwise.
    hook.update(draw=True, show=show, wait_time=wait_time, interval=1)
    if show_dir:
        cfg.visualizer.save_dir = show_dir


def set_tta(cfg: Config) -> None:
    """Wrap the model and its pipeline for test-time augmentation.

    Raises:
        UserError: If the config does not define it.
    """
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise UserError(f'--tta needs {" and ".join(missing)} in {cfg.filename}.')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def is_exported(path: str) -> bool:
    """Whether a file is one of tools/deployment/export.py."""
    return Path(path).suffix in ('.onnx', '.xml')


def set_exported(cfg: Config, file: str, fast: bool = False, amp: bool = False) -> None:
    """Test an exported network in the place of the config's.

    Raises:
        UserError: If options ask for changes of a network that is finished.
    """
    if fast or amp:
        raise UserError(f'{file} is tested as it is; leave out --fast and --amp.')
    cfg.model = dict(type='ExportedSegmentor', file=file)
    cfg.load_from = None


def use_test_pipeline(dataset: dict, pipeline: list) -> None:
    """Give a data set's config, wrapped or not, another pipeline."""
    if 'pipeline' in dataset:
        dataset.pipeline = pipeline
    for part in dataset.get('datasets', [dataset['dataset']] if 'dataset' in dataset else []):
        use_test_pipeline(part, pipeline)


def set_fast_test(cfg: Config, fast: bool = False, amp: bool = False) -> None:
    """Make testing faster.

    What gives the same results bit for bit is always done: pixels are counted in one
    pass, and logits at full resolution are not kept where no metric reads them.

    Args:
        cfg: Config, changed in place.
        fast: Fold batch norms and use channels-last format too: differs by rounding.
        amp: Run the network in bfloat16.
    """
    evaluators = cfg.get('test_evaluator') or []
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    labels_only = all(e.get('type') in LABEL_METRICS for e in evaluators)
    for evaluator in evaluators:
        if evaluator.get('type') == 'IoUMetric':
            evaluator.type = 'FastIoUMetric'
    hook = dict(type='FastTestHook', fast=fast, amp=amp, labels_only=labels_only)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]
