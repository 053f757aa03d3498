_base_ = [
    '../_base_/models/fcn_r50-d16.py',
    '../_base_/datasets/cityscapes_768x768.py',
    '../_base_/schedules/schedule_paper.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(768, 768)),
    backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c')),
    decode_head=dict(num_classes=19),
)
