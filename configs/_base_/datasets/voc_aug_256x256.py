# VOC 2012 + SBD at half the side, for machines without a GPU.
_base_ = './voc_aug.py'
crop_size = (256, 256)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=(1024, 256),
        ratio_range=(0.5, 2.0),
        keep_ratio=True,
    ),
    dict(type='FastRandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='FastRandomFlip', prob=0.5),
    dict(type='FastPhotoMetricDistortion'),
    dict(type='FastPackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 256), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
_base_.dataset_train.pipeline = train_pipeline
_base_.dataset_aug.pipeline = train_pipeline
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(datasets=[_base_.dataset_train, _base_.dataset_aug]),
)
val_dataloader = dict(num_workers=2, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# Beside mIoU over all classes, mIoU over the nine that have enough images in the part of
# VOC on which this repository's own results were measured.
val_evaluator = dict(
    type='SelectedIoUMetric',
    iou_metrics=['mIoU'],
    selected=(
        'background',
        'cat',
        'chair',
        'cow',
        'dog',
        'horse',
        'person',
        'sheep',
        'sofa',
    ),
)
test_evaluator = val_evaluator
