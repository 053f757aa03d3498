"""What the processes of a job train on, for runs in processes of their own."""

import json
from itertools import chain
from pathlib import Path

from mmengine.dist import all_gather_object, all_reduce, is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class RecordSteps(Hook):
    """Write every step's samples, of all processes, and their mean loss to a file.

    A sample is its image's name and the sum of its pixels after the transforms.

    Args:
        file: JSON, a list of dicts with ``samples``, sorted, and ``loss``.
    """

    def __init__(self, file: str):
        self.file = Path(file)
        self.steps = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        own = [
            (Path(sample.img_path).name, int(image.sum()))
            for image, sample in zip(data_batch['inputs'], data_batch['data_samples'], strict=True)
        ]
        samples = chain(*all_gather_object(own))
        loss = outputs['loss'].detach().clone()
        all_reduce(loss, 'mean')
        self.steps.append(dict(samples=sorted(samples), loss=loss.item()))
        if is_main_process():
            self.file.write_text(json.dumps(self.steps))
