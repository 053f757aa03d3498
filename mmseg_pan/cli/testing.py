"""How the flags of ``tools/test.py`` change a config."""

from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from mmseg.evaluation import CityscapesMetric, IoUMetric
from mmseg.evaluation.metrics import citys_metric
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import METRICS, MODELS

from mmseg_pan.configs.contents import single_entries
from mmseg_pan.errors import UserError
from mmseg_pan.evaluation import FastIoUMetric, SelectedIoUMetric
from mmseg_pan.evaluation.label_maps import FLIPPED_DIMS
from mmseg_pan.weights.fit import check_class_names, load_fitting
from mmseg_pan.weights.tensors import named_tensors

from .labels import entries, registered

#: Metrics that only read the label maps of the predictions.
LABEL_METRICS = (IoUMetric, FastIoUMetric, SelectedIoUMetric, CityscapesMetric)

#: Transforms that move pixels without a record that would allow undoing it for a prediction.
_NOT_UNDONE = ('RandomCrop', 'RandomRotate', 'RandomRotFlip', 'RandomMosaic', 'CenterCrop')


def check_evaluators(cfg: Config) -> None:
    """Stop where the test's metric needs a package that is not installed.

    Raises:
        UserError: Naming the package.
    """
    for evaluator in entries(cfg.get('test_evaluator')):
        if registered(evaluator.get('type'), METRICS) is CityscapesMetric:
            if citys_metric.CSEval is None:
                raise UserError(
                    'CityscapesMetric knows the official ids from the package cityscapesscripts, '
                    'which is not installed; type "pip install cityscapesscripts".'
                )


def set_visualization(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Paint predictions while testing.

    Raises:
        UserError: If the config has no visualization hook to do it.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise UserError(
            f'--show and --show-dir need a SegVisualizationHook, but {cfg.filename} has none; add '
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
    for _, dataset in single_entries('test_dataloader.dataset', cfg.test_dataloader.dataset):
        dataset['pipeline'] = cfg.tta_pipeline
    wrapper = dict(cfg.tta_model, module=cfg.model)
    if registered(wrapper['type'], MODELS) is SegTTAModel:
        wrapper['type'] = (
            'FastTTAModel'  # it also undoes diagonal flips, and applies the sigmoid once
        )
    # mmengine gives the wrapper the config's data_preprocessor instead of the model's own.
    if 'data_preprocessor' in cfg.model:
        wrapper['data_preprocessor'] = cfg.model.data_preprocessor
    cfg.model = wrapper


def check_test_pipeline(cfg: Config) -> None:
    """Refuse a test pipeline whose predictions cannot be mapped back to the labels.

    Raises:
        UserError: Naming the transform.
    """
    for place, dataset in single_entries('test_dataloader.dataset', cfg.test_dataloader.dataset):
        loaded = False
        for step in _steps(dataset.get('pipeline') or []):
            name = step['type'] if isinstance(step['type'], str) else step['type'].__name__
            name = name.split('.')[-1]
            loaded = loaded or name == 'LoadAnnotations'
            fault = _fault(name, step, loaded)
            if fault:
                raise UserError(f'A test cannot undo {fault} (pipeline of {place}).')


def _fault(name: str, step: dict, loaded: bool) -> str | None:
    """Describe what a transform does that cannot be undone, and what to write instead."""
    if name in _NOT_UNDONE:
        return f'{name}; leave it out'
    if name != 'RandomFlip' or not step.get('prob'):
        return None
    directions = step.get('direction', 'horizontal')
    for direction in [directions] if isinstance(directions, str) else directions:
        if direction not in FLIPPED_DIMS:
            return f'a {direction!r} flip; RandomFlip may be {", ".join(FLIPPED_DIMS)}'
    if step.get('swap_seg_labels'):
        return 'swap_seg_labels of RandomFlip; leave it out'
    if loaded:
        return 'a flip of the labels; put LoadAnnotations after RandomFlip'
    return None


def _steps(pipeline) -> Iterator[dict]:
    """The transforms of a pipeline in their order, those of TestTimeAug's lists included."""
    for step in pipeline:
        if isinstance(step, (list, tuple)):
            yield from _steps(step)
        else:
            yield step
            yield from _steps(step.get('transforms', []))


def is_exported(path: str) -> bool:
    """Whether a file was written by tools/deployment/export.py."""
    return Path(path).suffix in ('.onnx', '.xml')


def set_exported(cfg: Config, file: str, fast: bool = False, amp: bool = False) -> None:
    """Test an exported network instead of the config's model.

    Raises:
        UserError: If options would change an exported network.
    """
    if fast or amp:
        raise UserError(f'{file} is tested as it is; omit --fast and --amp.')
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

    Changes that keep results bit-identical are always made: pixels are counted in one
    pass, and logits at full resolution are not kept where no metric reads them.

    Args:
        cfg: Config, changed in place.
        fast: Fold batch norms and use channels-last format too: differs by rounding.
        amp: Run the network in bfloat16.
    """
    count_fast(cfg)
    kinds = [registered(e.get('type'), METRICS) for e in entries(cfg.get('test_evaluator'))]
    labels_only = all(kind in LABEL_METRICS for kind in kinds)
    hook = dict(type='FastTestHook', fast=fast, amp=amp, labels_only=labels_only)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def count_fast(cfg: Config) -> None:
    """Replace MMSegmentation's ``IoUMetric`` by ``FastIoUMetric``."""
    for split in ('val', 'test'):
        for evaluator in entries(cfg.get(f'{split}_evaluator')):
            if registered(evaluator.get('type'), METRICS) is IoUMetric:
                evaluator['type'] = 'FastIoUMetric'


class FittingCheckpointHook(Hook):
    """Refuse to test a checkpoint that does not fit the network and the data set.

    mmengine loads what fits, leaves the rest randomly initialised, and tests that.

    Args:
        source: What to call the checkpoint in an error.
    """

    priority = 'HIGHEST'  # before EMAHook, which loads it as well

    def __init__(self, source: str):
        self.source = source

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rename the weights to the network's names.

        Raises:
            UserError: If they do not fit.
        """
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        state = checkpoint.get('state_dict')
        state = state if isinstance(state, dict) else named_tensors(checkpoint, self.source)
        known = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
        checkpoint['state_dict'] = load_fitting(model, state, self.source)
        metainfo = getattr(runner.test_loop.dataloader.dataset, 'metainfo', {})
        if metainfo.get('classes'):
            check_class_names(known.get('classes'), metainfo['classes'], self.source)
