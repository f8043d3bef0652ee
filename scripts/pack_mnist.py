"""Pack the four original IDX files of MNIST into the .npz that lies in the package.

    python scripts/pack_mnist.py FOLDER_OF_IDX OUT.npz

The result depends on the images alone (timestamps are fixed) and on the version of liblzma; what is inside is
compared with the SHA-256 of the originals, both here and whenever the set is loaded.
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from mitsugo.data.idx import idx_header, read_idx
from mitsugo.data.sources import MNIST_SHA256
from mitsugo.errors import MitsugoError
from mitsugo.files import replacing, sha256_of

FILES = {
    "train_images": ("train-images-idx3-ubyte", 3),
    "train_labels": ("train-labels-idx1-ubyte", 1),
    "test_images": ("t10k-images-idx3-ubyte", 3),
    "test_labels": ("t10k-labels-idx1-ubyte", 1),
}


def pack(folder: Path, out: Path) -> None:
    """Write the .npz: a zip of .npy members, each compressed with LZMA."""
    with replacing(out) as file, zipfile.ZipFile(file, "w") as archive:
        for name, (file_name, dimensions) in FILES.items():
            plain = folder / file_name
            array = read_idx(plain if plain.exists() else folder / f"{file_name}.gz", dimensions)
            if sha256_of(idx_header(*array.shape), array.data) != MNIST_SHA256[name]:
                sys.exit(f"{file_name}: is not MNIST's original (its SHA-256 differs); get the original")
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy")
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, content.getvalue(), compress_type=zipfile.ZIP_LZMA)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python scripts/pack_mnist.py FOLDER_OF_IDX OUT.npz")
    try:
        pack(Path(sys.argv[1]), Path(sys.argv[2]))
    except MitsugoError as error:
        sys.exit(str(error))
