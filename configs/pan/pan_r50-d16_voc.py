_base_ = [
    '../_base_/models/pan_r50-d16.py',
    '../_base_/datasets/voc_aug_paper.py',
    '../_base_/schedules/schedule_paper.py',
    '../_base_/default_runtime.py',
]
