# MobileNetV2 at output stride 16, to replace another backbone:
#     model = dict(backbone=_base_.mobilenet_v2_d16, decode_head=dict(in_channels=...))
mobilenet_v2_d16 = dict(
    _delete_=True,
    type='MobileNetV2',
    widen_factor=1.0,
    strides=(1, 2, 2, 2, 1, 1, 1),
    dilations=(1, 1, 1, 1, 1, 2, 2),
    out_indices=(1, 2, 4, 6),
    norm_cfg=dict(type='BN', requires_grad=True),
    # torch copies the input of an in-place ReLU6 for the backward pass: without in-place, the
    # numbers are the same, in less time and memory.
    act_cfg=dict(type='ReLU6', inplace=False),
    init_cfg=dict(type='Pretrained', checkpoint='mmcls://mobilenet_v2'),
)
