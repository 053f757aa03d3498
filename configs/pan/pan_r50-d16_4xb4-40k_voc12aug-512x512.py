_base_ = [
    '../_base_/models/pan_r50-d16_aux.py',
    '../_base_/datasets/voc_aug.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]
