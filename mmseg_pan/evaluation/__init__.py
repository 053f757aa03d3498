"""What MMSeg's metrics lack: chosen classes, cost, comparisons in one run."""

from .selected_iou import SelectedIoUMetric

__all__ = ['SelectedIoUMetric']
