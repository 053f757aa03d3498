# Multi-scale testing with flips at sides of 16k + 1: what the packaged model learns to do in
# one pass.
_base_ = './deeplabv3_mobilenet-v2-d16_voc12aug-513x513.py'
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(side, side), keep_ratio=True)
                for side in (257, 385, 513, 641, 769)
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
