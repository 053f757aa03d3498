# VOC 2012 + SBD with the paper's augmentation: flip, scale and crop, no colour.
_base_ = './voc_aug.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=(2048, 512),
        ratio_range=(0.5, 2.0),
        keep_ratio=True,
    ),
    dict(type='FastRandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='FastRandomFlip', prob=0.5),
    dict(type='FastPackSegInputs'),
]
_base_.dataset_train.pipeline = train_pipeline
_base_.dataset_aug.pipeline = train_pipeline
train_dataloader = dict(
    batch_size=16,
    dataset=dict(datasets=[_base_.dataset_train, _base_.dataset_aug]),
)
