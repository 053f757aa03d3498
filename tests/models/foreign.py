"""PANHead on the backbones of the configs that MMSegmentation ships.

    python -m tests.models.foreign

prints the table of docs/backbones.md. Families that are left out: DDRNet and PIDNet give
other things in training than in test and belong to their own heads; SAN (CLIP) is no
EncoderDecoder; VPD is a diffusion model for depth. DPT's and SETR's ViT has smaller kin here.
"""

import sys
from pathlib import Path

import mmseg
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmseg_pan.benchmarks.complexity import count_cost
from mmseg_pan.errors import UserError
from mmseg_pan.models.levels import backbone_levels

SHIPPED = Path(mmseg.__file__).parent / '.mim' / 'configs'
#: At least one for each family; several where variants differ in kind.
FOREIGN = [
    'pspnet/pspnet_r50-d8_4xb4-40k_voc12aug-512x512.py',
    'fcn/fcn-d6_r50-d16_4xb2-40k_cityscapes-512x1024.py',
    'fcn/fcn_r101-d8_4xb4-40k_voc12aug-512x512.py',
    'deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'deeplabv3/deeplabv3_r18b-d8_4xb2-80k_cityscapes-512x1024.py',
    'deeplabv3/deeplabv3_r50b-d8_4xb2-80k_cityscapes-512x1024.py',
    'upernet/upernet_r50_4xb4-40k_voc12aug-512x512.py',
    'sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py',
    'fastfcn/fastfcn_r50-d32_jpu_psp_4xb4-160k_ade20k-512x512.py',
    'icnet/icnet_r18-d8_4xb2-80k_cityscapes-832x832.py',
    'resnest/resnest_s101-d8_fcn_4xb4-160k_ade20k-512x512.py',
    'hrnet/fcn_hr18s_4xb4-40k_voc12aug-512x512.py',
    'hrnet/fcn_hr18_4xb4-40k_voc12aug-512x512.py',
    'hrnet/fcn_hr48_4xb4-40k_voc12aug-512x512.py',
    'mobilenet_v2/mobilenet-v2-d8_fcn_4xb4-160k_ade20k-512x512.py',
    'mobilenet_v3/mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024.py',
    'mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024.py',
    'unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py',
    'bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py',
    'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
    'cgnet/cgnet_fcn_4xb4-60k_cityscapes-680x680.py',
    'erfnet/erfnet_fcn_4xb4-160k_cityscapes-512x1024.py',
    'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py',
    'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py',
    'stdc/stdc2_4xb12-80k_cityscapes-512x1024.py',
    'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py',
    'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
    'swin/swin-base-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
    'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    'segformer/segformer_mit-b2_8xb2-160k_ade20k-512x512.py',
    'twins/twins_pcpvt-s_uperhead_8xb4-160k_ade20k-512x512.py',
    'twins/twins_pcpvt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512.py',
    'twins/twins_svt-s_uperhead_8xb2-160k_ade20k-512x512.py',
    'vit/vit_deit-s16_upernet_8xb2-160k_ade20k-512x512.py',
    'vit/vit_deit-s16-ln_mln_upernet_8xb2-160k_ade20k-512x512.py',
    'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py',
    'beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py',
    'mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py',
    'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py',
    'poolformer/fpn_poolformer_s12_8xb4-40k_ade20k-512x512.py',
]
NEEDS_MMPRETRAIN = ('convnext/', 'poolformer/')


def local(value):
    """Rewrite a config for one process without network: plain batch norm, no weights."""
    if isinstance(value, (list, tuple)):
        return type(value)(local(item) for item in value)
    if not isinstance(value, dict):
        return value
    kept = {k: local(v) for k, v in value.items() if k not in ('pretrained', 'init_cfg')}
    if kept.get('type') == 'SyncBN':
        kept['type'] = 'BN'
    return kept


def with_pan_head(name: str, side: int) -> dict:
    """Return the model of a shipped config with PANHead in place of its own heads.

    Args:
        name: Path of the config below the installed ``mmseg/.mim/configs``.
        side: Side of the square images it is for.
    """
    shipped = Config.fromfile(SHIPPED / name, import_custom_modules=False)
    model = local(shipped.model.to_dict())
    backbone, neck = model['backbone'], model.get('neck')
    if 'img_size' in backbone:  # attention with relative positions fits one size alone
        backbone['img_size'] = (side, side)
    levels = backbone_levels(backbone, neck, side)
    head = dict(
        type='PANHead',
        in_channels=levels.in_channels,
        in_index=levels.in_index,
        channels=128,
        pyramid_channels=64,
        num_classes=21,
    )
    parts = dict(type='EncoderDecoder', backbone=backbone, decode_head=head)
    return dict(parts, neck=neck) if neck else parts


def table_row(name: str) -> str:
    """One line of the table, for images of 512x512."""
    model = with_pan_head(name, 512)
    cost = count_cost(model, 512, 512)['decode_head']
    backbone = model['backbone']['type'] + (
        f' + {model["neck"]["type"]}' if 'neck' in model else ''
    )
    channels = ', '.join(map(str, model['decode_head']['in_channels']))
    return (
        f'| `{name.removesuffix(".py")}` | {backbone} | {channels} '
        f'| {cost.parameters / 1e6:.2f} | {cost.multiply_adds / 1e9:.2f} |'
    )


def main() -> None:
    """Print the table."""
    init_default_scope('mmseg')
    print(
        '| config | backbone | channels of the levels | head, M parameters '
        '| head, G multiply-adds |\n| --- | --- | --- | --- | --- |'
    )
    for name in FOREIGN:
        try:
            if name.startswith(NEEDS_MMPRETRAIN):
                import mmseg_pan.models.mmpretrain  # noqa: F401
            print(table_row(name), flush=True)
        except UserError as error:
            print(f'{name}: {error}', file=sys.stderr)


if __name__ == '__main__':
    main()
