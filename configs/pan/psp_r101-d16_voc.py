_base_ = [
    '../_base_/models/psp_r50-d16.py',
    '../_base_/datasets/voc_aug_paper.py',
    '../_base_/schedules/schedule_paper.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c')))
