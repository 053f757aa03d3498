"""Training with a second network's predictions beside the annotations."""

import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import load_checkpoint
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import Tensor

from mmseg_pan.errors import UserError


@MODELS.register_module()
class DistilledEncoderDecoder(EncoderDecoder):
    """``EncoderDecoder`` that also learns from a teacher's soft labels (Hinton et al. 2015).

    The loss is the decode head's own plus the Kullback-Leibler divergence of the class
    probabilities from the teacher's, at the resolution of the head's logits; pixels without an
    annotation count there as well, padding does not. The teacher is no part of the state dict:
    checkpoints are those of an ``EncoderDecoder``, and load into one.

    Args:
        teacher: Config of an ``EncoderDecoder`` with the same classes.
        teacher_checkpoint: Its weights; None: those that its ``init_cfg`` gives.
        weight: Weight of the divergence.
        flip: Average the teacher over the image and its mirror image.
        scales: Smallest and largest scale at which the teacher sees a batch, drawn evenly for each
            of its forward passes: over many batches its soft labels are those of multi-scale
            testing. None: 1. Sides are rounded to 16k + 1 where ``align_corners`` is True, else
            to 16k.
        **kwargs: Arguments of ``EncoderDecoder``.
    """

    def __init__(
        self,
        teacher: dict,
        teacher_checkpoint: str | None = None,
        weight: float = 1.0,
        flip: bool = False,
        scales: tuple[float, float] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if scales is not None and not (len(scales) == 2 and 0 < scales[0] <= scales[1]):
            raise UserError(
                f'DistilledEncoderDecoder has scales={scales}; it takes the smallest and the '
                'largest scale of the teacher, (0.5, 1.5) for instance.'
            )
        classes = teacher['decode_head']['num_classes']
        if classes != self.num_classes:
            raise UserError(
                f'The teacher has num_classes={classes}, the decode head {self.num_classes}; both '
                'must have the same classes.'
            )
        self.weight = weight
        self.flip = flip
        self.scales = scales
        self._source = teacher, teacher_checkpoint
        self._teacher: tuple[EncoderDecoder, ...] = ()

    def init_weights(self) -> None:
        """Initialise the network and build its teacher, which only a training needs."""
        super().init_weights()
        cfg, checkpoint = self._source
        teacher = MODELS.build(cfg)
        if checkpoint is None:
            teacher.init_weights()
        else:
            load_checkpoint(teacher, checkpoint, map_location='cpu', strict=True)
        # In a tuple: neither in the state dict nor switched to training mode.
        self._teacher = (teacher.eval().requires_grad_(False),)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Compute the losses of images (N, 3, H, W); 'decode.loss_soft' is the divergence."""
        x = self.extract_feat(inputs)
        logits = self.decode_head(x)
        losses = self.decode_head.loss_by_feat(logits, data_samples)
        losses['loss_soft'] = self.weight * self._divergence(logits, inputs, data_samples)
        losses = add_prefix(losses, 'decode')
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(x, data_samples))
        return losses

    def _divergence(self, logits: Tensor, inputs: Tensor, data_samples: list) -> Tensor:
        expected = self.soft_labels(inputs, logits.shape[2:])
        ours = logits.float().log_softmax(1)
        each = F.kl_div(ours, expected, reduction='none').sum(1)
        inside = torch.zeros_like(each)
        cells, pixels = each.shape[1:], inputs.shape[2:]
        for mask, sample in zip(inside, data_samples, strict=True):
            sides = sample.metainfo.get('img_shape', pixels)[:2]
            # Without what the images were padded by, right and below.
            rows, columns = (round(s * c / p) for s, c, p in zip(sides, cells, pixels, strict=True))
            mask[:rows, :columns] = 1
        return (each * inside).sum() / inside.sum().clamp_min(1)

    @torch.no_grad()
    def soft_labels(self, inputs: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the teacher's class probabilities (N, classes, *size) of images (N, 3, H, W).

        Raises:
            RuntimeError: If ``init_weights`` was not called.
        """
        if not self._teacher:
            raise RuntimeError('DistilledEncoderDecoder has no teacher yet: call init_weights().')
        (teacher,) = self._teacher
        teacher.to(inputs.device)
        views = []
        for flip in (False, True)[: 1 + self.flip]:
            view = inputs.flip(3) if flip else inputs
            if self.scales:
                view = _rescale(view, float(torch.empty(()).uniform_(*self.scales)), teacher)
            labels = _probabilities(teacher, view, size)
            views.append(labels.flip(3) if flip else labels)
        return sum(views[1:], views[0]) / len(views)


def network_alone(model: dict) -> dict:
    """Return the config of a model without its teacher; other models as they are."""
    if model['type'] not in ('DistilledEncoderDecoder', DistilledEncoderDecoder):
        return model
    taught = ('teacher', 'teacher_checkpoint', 'weight', 'flip', 'scales')
    return {**{k: v for k, v in model.items() if k not in taught}, 'type': 'EncoderDecoder'}


def _probabilities(network: EncoderDecoder, inputs: Tensor, size: tuple[int, int]) -> Tensor:
    logits = network.decode_head(network.extract_feat(inputs)).float()
    return F.interpolate(
        logits, size, mode='bilinear', align_corners=network.align_corners
    ).softmax(1)


def _rescale(images: Tensor, scale: float, network: EncoderDecoder) -> Tensor:
    extra = int(network.align_corners)
    size = [max(round(side * scale / 16), 1) * 16 + extra for side in images.shape[2:]]
    return F.interpolate(images, size, mode='bilinear', align_corners=network.align_corners)
