# Cityscapes' test images, whose masks are not public: tools/test.py writes label maps with the
# official ids, which cityscapes-dataset.com takes as one archive.
_base_ = './pan_r101-d16_cityscapes.py'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
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
        data_prefix=dict(_delete_=True, img_path='leftImg8bit/test'),
        pipeline=test_pipeline,
    )
)
test_evaluator = dict(
    _delete_=True,
    type='CityscapesMetric',
    output_dir='work_dirs/cityscapes_test-server',
    format_only=True,
    keep_results=True,
)
