# voc_aug_256x256 for networks with align_corners=True: a side of 16k + 1 puts every value of a map
# at output stride 16 back where it was computed.
_base_ = './voc_aug_256x256.py'
crop_size = (257, 257)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(1028, 257), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='FastRandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='FastRandomFlip', prob=0.5),
    dict(type='FastPhotoMetricDistortion'),
    dict(type='FastPackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1028, 257), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
_base_.dataset_train.pipeline = train_pipeline
_base_.dataset_aug.pipeline = train_pipeline
train_dataloader = dict(dataset=dict(datasets=[_base_.dataset_train, _base_.dataset_aug]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
