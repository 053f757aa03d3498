# Person or background with one logit a pixel. Pixels of the other classes are ignored.
_base_ = '../pan/pan_r50-d16_voc.py'
metainfo = dict(classes=('background', 'person'), palette=[[0, 0, 0], [192, 128, 128]])
_base_.dataset_train.metainfo = metainfo
_base_.dataset_aug.metainfo = metainfo
train_dataloader = dict(dataset=dict(datasets=[_base_.dataset_train, _base_.dataset_aug]))
val_dataloader = dict(dataset=dict(metainfo=metainfo))
test_dataloader = val_dataloader
model = dict(
    decode_head=dict(
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        loss_decode=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True),
    )
)
