_base_ = [
    '../_base_/models/fcn_r50-d16_aux.py',
    '../_base_/datasets/voc_aug.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/default_runtime.py',
]
