# Google's DeepLabV3 on MobileNetV2, for testing: the teacher of the packaged model.
#     python tools/model_converters/deeplab2mmseg.py THIS_FILE backbone.pth head.pth deeplabv3.pth
_base_ = [
    '../_base_/models/deeplabv3_mobilenet-v2-d16.py',
    '../_base_/datasets/voc_aug_385x513.py',
    '../_base_/schedules/schedule_1k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(385, 513),
    ),
    backbone=_base_.dilated_mobilenet_v2_d16,
    neck=_base_.image_pooling,
    decode_head=_base_.deeplabv3_head,
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
