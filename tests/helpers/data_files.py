"""Small data sets in their official layouts, and how to write them."""

import gzip

import numpy as np
from PIL import Image

BOSTON_HEADER = (
    '"crim","zn","indus","chas","nox","rm","age","dis","rad","tax",'
    '"ptratio","b","lstat","medv"'
)


def random_images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def idx(values):
    lengths = np.array(values.shape, ">u4").tobytes()
    return bytes((0, 0, 8, values.ndim)) + lengths + values.tobytes()


def write_mnist(folder, pack=True):
    images = random_images(9, 28, 28)
    labels = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5], np.uint8)
    for part, rows in ("train", slice(6)), ("t10k", slice(6, None)):
        for kind, values in ("images-idx3", images), ("labels-idx1", labels):
            path = folder / f"{part}-{kind}-ubyte"
            content = idx(values[rows])
            if pack:
                path = path.with_name(f"{path.name}.gz")
                content = gzip.compress(content)
            write(path, content)
    return images[..., np.newaxis], labels, 6


def cifar_records(images, *labels):
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    columns = [np.asarray(column)[:, np.newaxis] for column in labels]
    return np.hstack([*columns, planes]).astype(np.uint8).tobytes()


def write_cifar10(folder):
    images = random_images(7, 32, 32, 3)
    labels = np.array([0, 9, 5, 5, 1, 2, 8])
    rows = {"data_batch_1": slice(2), "data_batch_3": slice(2, 5)}
    rows["test_batch"] = slice(5, None)
    for name, part in rows.items():
        records = cifar_records(images[part], labels[part])
        write(folder / f"{name}.bin", records)
    return images, labels, 5


def write_cifar100(folder):
    images = random_images(5, 32, 32, 3)
    coarse = np.array([19, 0, 3, 3, 7])
    labels = np.array([99, 0, 42, 19, 20])
    for name, part in ("train", slice(3)), ("test", slice(3, None)):
        records = cifar_records(images[part], coarse[part], labels[part])
        write(folder / f"{name}.bin", records)
    return images, labels, 3


def write_tinyimagenet(folder):
    # At this quality a gray image of one level keeps it exactly.
    def image(path, mode, color):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (64, 64), color).save(path, "JPEG", quality=100)
        return np.broadcast_to(np.uint8(color), (64, 64, 3))

    images = [
        image(folder / "train" / wnid / "images" / f"{wnid}_0.JPEG", *pixels)
        for wnid, pixels in [
            ("n02", ("L", 10)),
            ("n01", ("RGB", (90, 90, 90))),
        ]
    ]
    for name, level in ("val_0.JPEG", 200), ("val_1.JPEG", 30):
        images.append(image(folder / "val" / "images" / name, "L", level))
    write(folder / "wnids.txt", b"n02\nn01\n")
    boxes = b"val_1.JPEG\tn02\t0\t0\t9\t9\nval_0.JPEG\tn01\t0\t0\t9\t9\n"
    write(folder / "val" / "val_annotations.txt", boxes)
    # The annotations' order is that of the test images.
    images[2:] = images[:1:-1]
    return np.stack(images), np.array([0, 1, 0, 1]), 2


IMAGES = {
    "mnist": ("mnist", write_mnist),
    "cifar10": ("cifar-10-batches-bin", write_cifar10),
    "cifar100": ("cifar-100-binary", write_cifar100),
    "tinyimagenet": ("tiny-imagenet-200", write_tinyimagenet),
}


def write_wikitext2(folder):
    write(folder / "wiki.train.tokens", " \n b a b \n a é <unk>\n".encode())
    write(folder / "wiki.valid.tokens", b" a c \n")
    write(folder / "wiki.test.tokens", b"b\n\n")


CALIFORNIA = np.array(
    [
        [-122.23, 37.88, 41, 880, 129, 322, 126, 8.3252, 452600],
        [-122.22, 37.86, 21, 7099, 1106, 2401, 1138, 8.3014, 358500],
        [-122.24, 37.85, 52, 1467, 190, 496, 177, 7.2574, 352100],
    ]
)


def write_california(folder):
    lines = [",".join(f"{value:f}" for value in row) for row in CALIFORNIA]
    write(folder / "cal_housing.data", ("\n".join(lines) + "\n").encode())


def write_boston(folder):
    rows = [
        [f"{10 * row + column}" for column in range(14)] for row in range(6)
    ]
    for row in rows:
        row[3] = '"0"'
    lines = [BOSTON_HEADER, *(",".join(row) for row in rows)]
    write(folder / "BostonHousing.csv", ("\n".join(lines) + "\n").encode())


def write_dsb2018(folder, **arrays):
    folder.mkdir(parents=True)
    images = random_images(5, 6, 7)
    arrays = {"images": images, "label_maps": images // 64} | arrays
    np.savez_compressed(folder / "dsb2018_gray256.npz", **arrays)
    return images


FOLDERS = IMAGES | {
    "wikitext2": ("wikitext-2", write_wikitext2),
    "california": ("CaliforniaHousing", write_california),
    "boston": ("boston", write_boston),
    "dsb2018": ("dsb2018", write_dsb2018),
}
