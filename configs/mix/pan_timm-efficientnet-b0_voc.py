# PAN on EfficientNet-B0 of timm, through mmpretrain: needs requirements/mmpretrain.txt. timm loads
# its own weights; "model.backbone.pretrained=False model.backbone.checkpoint_path=FILE" takes a
# file of timm's instead.
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
