# VOC 2012 + SBD in crops of 320x320 from images near the size that they are tested at: what a
# model for images of any size can learn on a CPU.
_base_ = './voc_aug_256x256.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 1.25), keep_ratio=True),
    dict(type='FastRandomCrop', crop_size=(320, 320), cat_max_ratio=0.75),
    dict(type='FastRandomFlip', prob=0.5),
    dict(type='FastPhotoMetricDistortion'),
    dict(type='FastPackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
_base_.dataset_train.pipeline = train_pipeline
_base_.dataset_aug.pipeline = train_pipeline
train_dataloader = dict(dataset=dict(datasets=[_base_.dataset_train, _base_.dataset_aug]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
