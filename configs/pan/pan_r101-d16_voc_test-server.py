# VOC's test list, which has no masks: for tools/test.py --out and the server's archive.
_base_ = './pan_r101-d16_voc.py'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in _base_.img_ratios],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='PackSegInputs')],
        ],
    ),
]
test_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/test.txt',
        data_prefix=dict(_delete_=True, img_path='JPEGImages'),
        pipeline=test_pipeline,
    )
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'], format_only=True)
