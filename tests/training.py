"""One training step of a config, as the runner would take it."""

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


def train_a_step(cfg: Config, side: int = 65) -> tuple[BaseSegmentor, dict[str, torch.Tensor]]:
    """Build a config's model and optimizer and take one step on two random images.

    Checks that the loss is finite, that every parameter outside the backbone gets a
    gradient, and that the classifier moves.

    Returns:
        The model after the step, and the losses by name.
    """
    cfg.model.data_preprocessor.size = (side, side)  # what training pads to
    distilled = cfg.model.type == 'DistilledEncoderDecoder'
    if distilled:
        cfg.model.teacher_checkpoint = None
    model = MODELS.build(cfg.model)
    if distilled:
        model.init_weights()  # builds the teacher
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    images = [torch.randint(256, (3, side, side)).byte() for _ in range(2)]
    labels = torch.randint(model.num_classes, (2, 1, side, side))
    labels[:, :, 0] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    losses = model(**data, mode='loss')
    loss, _ = model.parse_losses(losses)
    assert loss.isfinite()
    loss.backward()
    ours = [(n, p) for n, p in model.named_parameters() if not n.startswith('backbone')]
    assert [n for n, p in ours if p.grad is None] == []
    before = model.decode_head.conv_seg.weight.clone()
    optim_wrapper.step()
    assert not torch.equal(model.decode_head.conv_seg.weight, before)
    return model, losses
