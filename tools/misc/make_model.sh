#!/usr/bin/env bash
# Make the model in the package, from the public TFLite file to the published one.
#
#     VOC_ROOT=... bash tools/misc/make_model.sh deeplabv3_mnv2_pascal_quant.tflite pan.safetensors
#
# It writes its starts to weights/, its runs to work_dirs/model_deeplabv3 and its record to
# work_dirs/model_deeplabv3.jsonl. Run it again to continue where it was stopped.
set -euo pipefail
if [ $# -ne 2 ]; then
    echo 'Usage: make_model.sh TFLITE_FILE OUT.safetensors' >&2
    exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tflite=$(realpath "$1")
out=$(realpath -m "$2")
cd "$root"
python=${PYTHON:-python}
convert=tools/model_converters
pan=configs/pan/pan_mobilenet-v2-d16_deeplabv3-start_1xb6-1400_voc12aug-385x513.py
spec=model_deeplabv3
mkdir -p weights
if [ ! -f weights/pan_mobilenet-v2_deeplabv3-start.pth ]; then
    "$python" $convert/tflite2mmseg.py "$tflite" weights/backbone.pth weights/head.pth
    "$python" $convert/deeplab2mmseg.py configs/pan/deeplabv3_mobilenet-v2-d16_voc12aug-513x513.py \
        weights/backbone.pth weights/head.pth weights/deeplabv3_mobilenet-v2_coco-voc.pth
    "$python" $convert/deeplab2mmseg.py $pan \
        weights/backbone.pth weights/head.pth weights/pan_mobilenet-v2_deeplabv3-start.pth
fi
"$python" tools/run_experiments.py configs/pan/results/$spec.yaml --results work_dirs/$spec.jsonl
run=$(echo "work_dirs/$spec/PAN from DeepLabV3, multi-scale soft labels_seed0_"*)
metrics=$("$python" - work_dirs/$spec.jsonl <<'END'
import json, sys
line = json.loads(open(sys.argv[1]).readline())
print(*(f'{k}={v}' for k, v in line.items() if k.startswith('mIoU') or k == 'aAcc'))
END
)
# shellcheck disable=SC2086  # the metrics are words of their own
"$python" tools/misc/publish_model.py "$run/iter_1400.pth" --half --out "$out" --metrics $metrics \
    --provenance "config=$pan" seed=0 "commit=$(git rev-parse --short=12 HEAD)" \
    "command=bash tools/misc/make_model.sh deeplabv3_mnv2_pascal_quant.tflite pan.safetensors" \
    "data=3,131 photographs of PASCAL VOC 2012 and SBD (trainaug), from DeepLabV3 on COCO and VOC" \
    "licence=Apache-2.0 code and start; photographs under Flickr's terms, for research"
