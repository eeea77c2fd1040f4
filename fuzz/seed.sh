#!/bin/sh
# First inputs for the fuzz targets: the files that the tests read.
set -e
cd "$(dirname "$0")"
weights=../crates/danlu-weights/tests
data=../crates/danlu-data/golden
for target in fuzz_targets/*.rs; do
    mkdir -p "corpus/$(basename "$target" .rs)"
done
cp $weights/golden/*.pth $weights/hostile/*.pth corpus/pth/
cp $weights/golden/*.safetensors $weights/hostile/*.safetensors corpus/safetensors/
cp $data/archives/*.tar corpus/data_tar/
cp $data/archives/*.zip corpus/data_zip/
cp $data/images/* corpus/data_image/
printf 'path,label,split,g,w\n"a, b.jpg",cat,train,p1,1.5\nb.jpg,dog,val,p2,0\n' >corpus/data_list/csv
printf 'path\tlabel\na.jpg\tcat\n' >corpus/data_list/tsv
printf '{"image": "a.png", "label": 3, "g": "x", "w": 2}\n' >corpus/data_list/jsonl
printf 'path,label,split\ncat/1.jpg,cat,train\n"d,2.jpg",d,test\n' >corpus/data_split/csv
printf '*/{}_*.jpg\ncat/p7_03.jpg' >corpus/data_pattern/one
# IDX: the length of the images' part, 2 images of 1 x 2, 2 labels.
printf '\0\024\0\0\010\003\0\0\0\002\0\0\0\001\0\0\0\002\005\006\007\010\0\0\010\001\0\0\0\002\0\001' >corpus/data_idx/pair
head -c 6146 /dev/zero >corpus/data_cifar/two
printf '%s' '{"architecture": "resnet18", "num_classes": 2, "label_names": ["a", "b"], "pretrained_cfg": {"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2], "input_size": [3, 64, 64], "crop_pct": 0.9, "interpolation": "bicubic"}}' >corpus/config_json/timm
