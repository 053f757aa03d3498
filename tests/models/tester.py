"""The tester that every head inherits: what any decode head must be able to do."""

import copy
import io

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from tests.models.reference import Reference, randomize

CHANNELS = (8, 10, 12, 16)
STRIDES = (4, 8, 16, 16)


def feature_maps(height, width, batch=2):
    """Maps as a backbone of output stride 16 gives them for an image of this size."""
    sizes = [(-(-height // s), -(-width // s)) for s in STRIDES]
    return [torch.rand(batch, c, *size) for c, size in zip(CHANNELS, sizes, strict=True)]


def samples(height, width, batch=2, num_classes=5):
    """Data samples with random labels, one pixel ignored."""
    found = []
    for _ in range(batch):
        label = torch.randint(num_classes, (1, height, width))
        label[0, 0, 0] = 255
        found.append(SegDataSample(gt_sem_seg=PixelData(data=label)))
    return found


class HeadTester:
    """Subclasses name the head: ``head_cfg`` without the arguments given here."""

    head_cfg: dict
    levels: int

    def build(self, **options):
        """Build the head with random weights."""
        cfg = dict(self.head_cfg, channels=6, num_classes=5, dropout_ratio=0)
        cfg.update(options)
        return randomize(MODELS.build(cfg))

    def segmentor_cfg(self, **options):
        """Config of a small segmentor around the head, its backbone of output stride 16."""
        channels = (64, 128, 256, 512)
        in_channels = channels if self.levels > 1 else channels[-1]
        return dict(
            type='EncoderDecoder',
            data_preprocessor=dict(
                type='SegDataPreProcessor', size_divisor=1, pad_val=0, seg_pad_val=255
            ),
            backbone=dict(
                type='ResNetV1c',
                depth=18,
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 2),
                contract_dilation=True,
            ),
            decode_head=dict(
                self.head_cfg, in_channels=in_channels, channels=6, num_classes=5, **options
            ),
            test_cfg=ConfigDict(mode='whole'),
        )

    def segmentor(self, **options):
        """Build that segmentor."""
        return MODELS.build(self.segmentor_cfg(**options))

    def loss(self, head, maps, size=(32, 32), batch=2):
        """All losses of the head on random labels."""
        return head.loss(maps, samples(*size, batch), train_cfg={})

    @pytest.mark.parametrize('align_corners', [False, True])
    @pytest.mark.parametrize('pooling', ['avg', 'max'])
    @pytest.mark.parametrize('size', [(64, 64), (37, 90), (1, 1)])
    def test_equals_the_equations(self, size, pooling, align_corners):
        head = self.build(pooling=pooling, align_corners=align_corners).eval()
        reference = Reference(head.state_dict(), False, pooling, align_corners)
        maps = feature_maps(*size)
        expected = reference.head(maps if self.levels > 1 else maps[-1:])
        torch.testing.assert_close(head(maps), expected, rtol=1e-5, atol=1e-5)

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors],  # inherited on purpose
    )
    @given(st.integers(1, 130), st.integers(1, 130), st.integers(1, 2), st.booleans())
    def test_any_size(self, height, width, batch, training):
        head = self.build().train(training)
        maps = feature_maps(height, width, batch)
        finest = maps[0 if self.levels > 1 else -1]
        assert head(maps).shape == (batch, 5, *finest.shape[2:])

    @pytest.mark.parametrize(('size', 'batch'), [((64, 64), 2), ((64, 64), 1), ((1, 1), 1)])
    def test_every_parameter_gets_a_gradient(self, size, batch):
        head = self.build().train()
        self.loss(head, feature_maps(*size, batch), batch=batch)['loss_ce'].backward()
        assert not [name for name, p in head.named_parameters() if p.grad is None]

    def test_save_and_load(self):
        head, other = self.build().eval(), self.build().eval()
        maps = feature_maps(40, 40)
        assert not torch.equal(head(maps), other(maps))
        file = io.BytesIO()
        torch.save(head.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert torch.equal(head(maps), other(maps))

    def test_same_result_twice(self):
        head = self.build(dropout_ratio=0.5).train()
        maps, results = feature_maps(40, 40), []
        for _ in range(2):
            twin = copy.deepcopy(head)
            torch.manual_seed(3)
            loss = self.loss(twin, maps)['loss_ce']
            loss.backward()
            results.append([loss, *(p.grad for p in twin.parameters())])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))

    def test_autocast(self):
        head = self.build().train()
        maps = feature_maps(64, 64)
        with torch.autocast('cpu', torch.bfloat16):
            logits = head(maps)
            self.loss(head, maps)['loss_ce'].backward()
        assert logits.dtype == torch.bfloat16
        assert all(torch.isfinite(p.grad).all() for p in head.parameters())
        # eval: the same function to bfloat16's 8 bits
        head.eval()
        with torch.autocast('cpu', torch.bfloat16):
            half = head(maps).float()
        whole = head(maps)
        assert (half - whole).abs().max() < 0.05 * whole.abs().max()

    def test_compile_of_the_segmentor(self):
        model = self.segmentor().eval()
        compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
        image = torch.rand(1, 3, 65, 97)
        with torch.no_grad():
            torch.testing.assert_close(compiled(image, mode='tensor'), model(image, mode='tensor'))

    def test_compile_of_training(self):
        head = self.build().train()
        maps = feature_maps(64, 64)
        twin = copy.deepcopy(head)
        compiled = torch.compile(twin, fullgraph=True, backend='aot_eager')
        for network in (head, compiled):
            network(maps).square().mean().backward()
        for p, q in zip(head.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)

    def test_export_of_the_segmentor(self):
        model = self.segmentor().eval()

        class Tensors(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, image):
                return self.model(image, mode='tensor')

        batch, height, width = (torch.export.Dim(n, min=1, max=4096) for n in 'bhw')
        program = torch.export.export(
            Tensors(),
            (torch.rand(2, 3, 256, 288),),
            dynamic_shapes={'image': {0: batch, 2: 16 * height, 3: 16 * width}},
        )
        # torch.export treats a side of 1 apart, so every pyramid level stays above it.
        for size in [(2, 3, 256, 288), (1, 3, 144, 400), (3, 3, 160, 144)]:
            image = torch.rand(size)
            torch.testing.assert_close(
                program.module()(image), model(image, mode='tensor'), rtol=1e-4, atol=1e-5
            )

    @pytest.mark.parametrize('size', [(1, 1), (1, 7), (33, 2), (31, 65)])
    def test_segmentor_predicts_any_image(self, size):
        model = self.segmentor().eval()
        image = torch.randint(256, (3, *size), dtype=torch.uint8)
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
        (result,) = model.test_step(dict(inputs=[image], data_samples=[sample]))
        assert result.pred_sem_seg.data.shape == (1, *size)
        assert result.seg_logits.data.shape == (5, *size)

    @pytest.mark.parametrize('batch', [1, 2])
    def test_segmentor_trains(self, batch):
        model = self.segmentor().train()
        data = dict(
            inputs=[torch.randint(256, (3, 65, 65), dtype=torch.uint8) for _ in range(batch)],
            data_samples=samples(65, 65, batch),
        )
        data = model.data_preprocessor(data, training=True)
        losses = model(**data, mode='loss')
        assert losses['decode.loss_ce'].isfinite()

    def test_several_losses(self):
        head = self.build(
            loss_decode=[
                dict(type='CrossEntropyLoss', loss_name='loss_ce'),
                dict(type='DiceLoss', loss_name='loss_dice', loss_weight=3.0),
            ]
        ).train()
        assert {'loss_ce', 'loss_dice', 'acc_seg'} == set(self.loss(head, feature_maps(32, 32)))

    def test_hard_example_mining(self):
        options = dict(loss_decode=dict(type='CrossEntropyLoss', reduction='none'))
        plain = self.build(**options).eval()
        hard = self.build(
            sampler=dict(type='OHEMPixelSampler', thresh=0.2, min_kept=20), **options
        ).eval()
        hard.load_state_dict(plain.state_dict())
        maps = feature_maps(32, 32)
        torch.manual_seed(0)
        every = self.loss(plain, maps)['loss_ce']
        torch.manual_seed(0)
        hardest = self.loss(hard, maps)['loss_ce']
        assert 0 < (hardest > 0).sum() < (every > 0).sum()

    def test_ignored_pixels_do_not_count(self):
        head = self.build().eval()
        maps, data = feature_maps(32, 32), samples(32, 32)
        for sample in data:
            sample.gt_sem_seg.data[:] = 255
        assert head.loss(maps, data, {})['loss_ce'] == 0
        other = self.build(ignore_index=3).eval()
        for sample in data:
            sample.gt_sem_seg.data[:] = 3
        assert other.loss(maps, data, {})['loss_ce'] == 0

    def test_dropout(self):
        head = self.build(dropout_ratio=0.9).train()
        maps = feature_maps(64, 64)
        assert not torch.equal(head(maps), head(maps))
        assert torch.equal(head.eval()(maps), head(maps))

    def test_one_channel_with_threshold(self):
        binary = dict(num_classes=2, out_channels=1, threshold=0.4)
        loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
        cfg = self.segmentor_cfg(loss_decode=loss)
        cfg['decode_head'].update(binary)
        model = MODELS.build(cfg).eval()
        size = (24, 40)
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
        (result,) = model.test_step(
            dict(inputs=[torch.randint(256, (3, *size)).byte()], data_samples=[sample])
        )
        expected = result.seg_logits.data > 0.4  # mmseg stores them after the sigmoid
        assert result.seg_logits.data.shape == (1, *size)
        assert torch.equal(result.pred_sem_seg.data.bool(), expected)

    def test_as_auxiliary_head(self):
        cfg = self.segmentor_cfg()
        cfg['auxiliary_head'] = cfg['decode_head']
        cfg['decode_head'] = dict(
            type='FCNHead', in_channels=512, in_index=3, channels=8, num_classes=5
        )
        model = MODELS.build(cfg).train()
        data = dict(
            inputs=[torch.randint(256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)],
            data_samples=samples(64, 64),
        )
        losses = model(**model.data_preprocessor(data, training=True), mode='loss')
        assert {'decode.loss_ce', 'aux.loss_ce'} <= set(losses)
        losses['aux.loss_ce'].backward()
        assert all(p.grad is not None for p in model.auxiliary_head.parameters())
