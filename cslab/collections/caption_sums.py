"""SHA-256 of the caption files that were fetched when this was written, as their hosts serve them: path → checksum.

Files that are not in the table (Multi30K's lists of images, xFlickr&CO, WIT, XM3600, Karpathy's zip) have no published
checksum; readers still refuse captions that are not as many as the images. Reads and writes nothing.
"""

SUMS = {
    "adobe-research/Cross-lingual-Test-Dataset-XTD10/main/MIC/test_1kcaptions_de.txt": (
        "51f1e9fe05d85b7cd33543676ed2fea51b05399cc403a5fca557ca7ecdb9a207"
    ),
    "adobe-research/Cross-lingual-Test-Dataset-XTD10/main/MIC/test_1kcaptions_fr.txt": (
        "84aa16954706a0f654b59788ffb6a3bcb1b1d9d12dc9d7a3de26730bc04664b5"
    ),
    "adobe-research/Cross-lingual-Test-Dataset-XTD10/main/STAIR/test_1kcaptions_jp.txt": (
        "20908aa5763ee7b1bacc1f29aa507532d3dc6a7e6a8c43e6acd2ec72d1e80c10"
    ),
    "adobe-research/Cross-lingual-Test-Dataset-XTD10/main/XTD10/test_1kcaptions_en.txt": (
        "ac5531b6842c1d469fba80aa6f44e2af054e84a41da8f9eaf01d831e943039b9"
    ),
    "adobe-research/Cross-lingual-Test-Dataset-XTD10/main/XTD10/test_1kcaptions_it.txt": (
        "b4095d3550eb1accf8c9c78314b4bef45847a3929b5c5fe15a1264ea31dec7cc"
    ),
    "adobe-research/Cross-lingual-Test-Dataset-XTD10/main/XTD10/test_1kcaptions_ru.txt": (
        "7d93631ff85b53592091b3cbfd9ca963397e77038fb3d0fdd9374b1b02ae98a3"
    ),
    "adobe-research/Cross-lingual-Test-Dataset-XTD10/main/XTD10/test_1kcaptions_zh.txt": (
        "17229ff02ac85dd2d165f8316515a24fbe5100dbf486c22aaa12105dfb3353bf"
    ),
    "adobe-research/Cross-lingual-Test-Dataset-XTD10/main/XTD10/test_image_names.txt": (
        "504a472dfd40e44f2d0facd6320b9dc1c7d64c58aac9840f0b1da4807cb3a30a"
    ),
    "multi30k/dataset/master/data/task1/raw/test_2016_flickr.cs.gz": (
        "200a4a74cc9560f051924abb9803be008d1908d77f747e9141aeb86dfd2797f1"
    ),
    "multi30k/dataset/master/data/task1/raw/test_2016_flickr.de.gz": (
        "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"
    ),
    "multi30k/dataset/master/data/task1/raw/test_2016_flickr.en.gz": (
        "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"
    ),
    "multi30k/dataset/master/data/task1/raw/test_2016_flickr.fr.gz": (
        "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90"
    ),
    "multi30k/dataset/master/data/task1/raw/train.cs.gz": (
        "a65adb8b32e3bc664f21ecba7a6e7f6950fd1f405e135f7c312faabdb6255077"
    ),
    "multi30k/dataset/master/data/task1/raw/train.de.gz": (
        "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"
    ),
    "multi30k/dataset/master/data/task1/raw/train.en.gz": (
        "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"
    ),
    "multi30k/dataset/master/data/task1/raw/train.fr.gz": (
        "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c"
    ),
    "multi30k/dataset/master/data/task1/raw/val.cs.gz": (
        "b63226e05c4bd5dd6a42897d74b86a1b9d2c31498252c572b1ea7f7996927fcc"
    ),
    "multi30k/dataset/master/data/task1/raw/val.de.gz": (
        "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"
    ),
    "multi30k/dataset/master/data/task1/raw/val.en.gz": (
        "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"
    ),
    "multi30k/dataset/master/data/task1/raw/val.fr.gz": (
        "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9"
    ),
}
