# PAN on EfficientNet-B0 of timm, through mmpretrain: needs requirements/mmpretrain.txt. timm
# downloads its own weights; "--cfg-options model.backbone.pretrained_cfg_overlay.file=FILE" takes
# a local file of timm's, model.backbone.pretrained=False trains from scratch.
_base_ = '../pan/pan_r50-d16_voc.py'
custom_imports = dict(imports=['mmseg_pan', 'mmseg_pan.models.mmpretrain'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.TIMMBackbone',
        model_name='efficientnet_b0',
        features_only=True,
        pretrained=True,
        output_stride=16,
        out_indices=(1, 2, 3, 4),
    ),
    decode_head=dict(in_channels=(24, 40, 112, 320)),
)
