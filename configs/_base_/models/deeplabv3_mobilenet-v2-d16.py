# DeepLabV3 on MobileNetV2 as Google published it (arXiv 1801.04381, section 6.3): no atrous
# branches.
# Its geometry is sides of 16k + 1 and align_corners=True.
dilated_mobilenet_v2_d16 = dict(
    type='DilatedMobileNetV2',
    strides=(1, 2, 2, 2, 1, 1, 1),
    dilations=(1, 1, 1, 1, 1, 2, 2),
    out_indices=(1, 2, 4, 6),
    norm_cfg=dict(type='BN', requires_grad=True),
    norm_eval=True,  # the norms are folded into the convs and hold no statistics of real data
    act_cfg=dict(type='ReLU6', inplace=False),
)
image_pooling = dict(type='ImagePoolingNeck', in_channels=(24, 32, 96, 320), channels=256)
deeplabv3_head = dict(
    type='FCNHead',
    in_channels=256,
    in_index=3,
    channels=256,
    num_convs=0,
    concat_input=False,
    dropout_ratio=0,
    num_classes=21,
    align_corners=True,
    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
)
