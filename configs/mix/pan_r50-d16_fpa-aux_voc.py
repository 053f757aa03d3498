# PAN with FPAHead as auxiliary head on the third stage.
_base_ = '../pan/pan_r50-d16_voc.py'
model = dict(
    auxiliary_head=dict(
        type='FPAHead',
        in_channels=1024,
        in_index=2,
        channels=128,
        pyramid_channels=64,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    )
)
