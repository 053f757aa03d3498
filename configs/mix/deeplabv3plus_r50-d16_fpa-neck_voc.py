# DeepLabV3+'s head after FPA on the deepest level.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/datasets/voc_aug_paper.py',
    '../_base_/schedules/schedule_paper.py',
    '../_base_/default_runtime.py',
]
model = dict(
    neck=dict(
        type='FPANeck',
        in_channels=(256, 512, 1024, 2048),
        channels=512,
        pyramid_channels=64,
        norm_cfg=_base_.norm_cfg,
    ),
    decode_head=dict(in_channels=512),
)
