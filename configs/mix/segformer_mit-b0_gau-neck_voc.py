# SegformerHead on levels of MiT-B0 fused by GAU.
_base_ = './pan_mit-b0_voc.py'
model = dict(
    neck=dict(
        type='GAUNeck',
        in_channels=(32, 64, 160, 256),
        channels=128,
        norm_cfg=_base_.norm_cfg,
    ),
    decode_head=dict(
        _delete_=True,
        type='SegformerHead',
        in_channels=(128, 128, 128, 128),
        in_index=(0, 1, 2, 3),
        channels=256,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
