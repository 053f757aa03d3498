# PAN on Swin-T.
_base_ = [
    '../_base_/models/pan_r50-d16.py',
    '../_base_/datasets/voc_aug_paper.py',
    '../_base_/schedules/schedule_paper_adamw.py',
    '../_base_/default_runtime.py',
]
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/swin_tiny_patch4_window7_224_20220317-1cdeb081.pth'
model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        embed_dims=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=(96, 192, 384, 768)),
)
