# PAN on MobileNetV2 that starts with the logits of DeepLabV3 and learns from the annotations and
# from the soft labels of its start, averaged over an image and its mirror image at many scales: at
# 513 the start gains 2.4 points from testing that way, which this network learns to do in one pass.
#     python tools/model_converters/deeplab2mmseg.py THIS_FILE backbone.pth head.pth start.pth
_base_ = './deeplabv3_mobilenet-v2-d16_voc12aug-513x513.py'
norm_cfg = dict(type='BN', requires_grad=True)
iterations = 1400
model = dict(
    type='DistilledEncoderDecoder',
    teacher=_base_.model,
    teacher_checkpoint='checkpoints/deeplabv3_mobilenet-v2_coco-voc.pth',
    weight=2.0,
    flip=True,
    scales=(0.5, 1.5),
    decode_head=dict(
        _delete_=True,
        type='PANHead',
        in_channels=(24, 32, 96, 256),
        in_index=(0, 1, 2, 3),
        channels=64,
        pyramid_channels=32,
        dropout_ratio=0,
        num_classes=21,
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
load_from = 'checkpoints/pan_mobilenet-v2_deeplabv3-start.pth'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='FrozenNormHook', modules=['decode_head.fpa.main']),  # the start's logits pass there
    dict(type='EMAHook', momentum=0.005),
]
# Weights from DeepLabV3 get a hundredth of the learning rate of the new ones.
slowly = dict(lr_mult=0.01)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={
            'backbone': slowly,
            'neck': slowly,
            'decode_head.fpa.main': slowly,
            'decode_head.conv_seg': slowly,
        },
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=20, end=iterations, by_epoch=False),
]
train_dataloader = dict(batch_size=6)
train_cfg = dict(max_iters=iterations, val_interval=350)
auto_scale_lr = dict(base_batch_size=6)
