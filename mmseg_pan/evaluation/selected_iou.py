"""Mean IoU over selected classes, in addition to the mean over all."""

from collections.abc import Sequence

import numpy as np
from mmseg.registry import METRICS

from mmseg_pan.errors import UserError

from .fast_iou import FastIoUMetric


@METRICS.register_module()
class SelectedIoUMetric(FastIoUMetric):
    """MMSeg's ``IoUMetric`` that reports ``mIoU_selected`` too.

    For parts of a data set in which some classes have too few images to say anything.
    The union still counts every prediction, that of other classes included.

    Args:
        selected: Names of classes.
        **kwargs: Arguments of ``IoUMetric``.
    """

    def __init__(self, selected: Sequence[str], **kwargs):
        super().__init__(**kwargs)
        self.selected = selected

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return MMSeg's metrics and ``mIoU_selected``, all in per cent.

        Raises:
            UserError: If the data set has no class of a selected name.
        """
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        classes = list(self.dataset_meta['classes'])
        unknown = [name for name in self.selected if name not in classes]
        if unknown:
            raise UserError(
                f'SelectedIoUMetric has selected={unknown}, but the data set has no such class; '
                f'choose from {classes}.'
            )
        intersect, union = (np.sum([np.asarray(r[i]) for r in results], 0) for i in (0, 1))
        chosen = [classes.index(name) for name in self.selected]
        with np.errstate(invalid='ignore'):  # a class without any pixel
            iou = 100 * intersect[chosen] / union[chosen]
        metrics['mIoU_selected'] = round(float(np.nanmean(iou)), 2)
        return metrics
