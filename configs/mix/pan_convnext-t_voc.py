# PAN on ConvNeXt-T of mmpretrain: needs requirements/mmpretrain.txt.
_base_ = [
    '../_base_/models/pan_r50-d16.py',
    '../_base_/datasets/voc_aug_paper.py',
    '../_base_/schedules/schedule_paper_adamw.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmseg_pan', 'mmseg_pan.models.mmpretrain'])
checkpoint = 'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        out_indices=(0, 1, 2, 3),
        gap_before_final_norm=False,
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
    decode_head=dict(in_channels=(96, 192, 384, 768)),
)
