# To choose by, without looking at val: every third of VOC's own training images is kept out.
# 437 images in the part of VOC that these results were measured on; 1464 in the whole.
_base_ = './voc_aug_256x256.py'
train_images = 437
kept_out = list(range(0, train_images, 3))
_base_.dataset_train.indices = [i for i in range(train_images) if i % 3]
train_dataloader = dict(dataset=dict(datasets=[_base_.dataset_train, _base_.dataset_aug]))
val_dataloader = dict(dataset=dict(ann_file='ImageSets/Segmentation/train.txt', indices=kept_out))
test_dataloader = val_dataloader
