# For choosing hyperparameters without val: every third of VOC's own training images is held out.
_base_ = './voc_aug_256x256.py'
_base_.dataset_train.folds = dict(count=3, used=(1, 2))
train_dataloader = dict(dataset=dict(datasets=[_base_.dataset_train, _base_.dataset_aug]))
val_dataloader = dict(
    dataset=dict(ann_file='ImageSets/Segmentation/train.txt', folds=dict(count=3, used=(0,)))
)
test_dataloader = val_dataloader
