# Cityscapes, fine annotations, 768x768 crops: the paper's recipe (40k is our choice).
_base_ = [
    '../_base_/models/pan_r50-d16.py',
    '../_base_/datasets/cityscapes_768x768.py',
    '../_base_/schedules/schedule_paper.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(768, 768)),
    backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c')),
    decode_head=dict(num_classes=19),
)
