"""The networks of MLPerf Tiny and of the papers, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mcusim.zoo.builder import NetworkBuilder

__all__ = ["NETWORKS"]


def _lenet_5() -> NetworkBuilder:
    # 81,194 parameters; Heim et al. 2021, model 01a.
    net = NetworkBuilder("lenet-5", (1, 32, 32, 1))
    net.convolution(6, (3, 3), padding="VALID")
    net.average_pool((2, 2))
    net.convolution(16, (3, 3), padding="VALID")
    net.average_pool((2, 2))
    net.dense(120)
    net.dense(84)
    net.dense(10, activation="NONE")
    net.softmax()
    return net


def _residual_stage(net: NetworkBuilder, filters: int, stride: int) -> None:
    """Two 3×3 convolutions beside the identity, or beside a 1×1 convolution that strides."""
    entry = net.last
    shortcut = entry
    if stride != 1:
        shortcut = net.convolution(filters, (1, 1), stride=stride, activation="NONE", source=entry)
    net.convolution(filters, (3, 3), stride=stride, batch_norm=True, source=entry)
    net.convolution(filters, (3, 3), activation="NONE", batch_norm=True)
    net.add(shortcut, activation="RELU")


def _resnet_20() -> NetworkBuilder:
    # 274,442 parameters with batch normalization; Heim et al. 2021, model 01b.
    net = NetworkBuilder("resnet-20", (1, 32, 32, 3))
    net.convolution(16, (3, 3), batch_norm=True)
    for filters in (16, 32, 64):
        for block in range(3):
            _residual_stage(net, filters, 2 if filters > 16 and block == 0 else 1)
    net.average_pool((8, 8))
    net.dense(10, activation="NONE")
    net.softmax()
    return net


def _resnet_8() -> NetworkBuilder:
    # MLPerf Tiny image classification, as in mlcommons/tiny's .tflite.
    net = NetworkBuilder("resnet-8", (1, 32, 32, 3))
    net.convolution(16, (3, 3))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        _residual_stage(net, filters, stride)
    net.average_pool((8, 8))
    net.dense(10, activation="NONE")
    net.softmax()
    return net


def _ds_cnn() -> NetworkBuilder:
    # MLPerf Tiny keyword spotting, as in mlcommons/tiny's .tflite.
    net = NetworkBuilder("ds-cnn", (1, 49, 10, 1))
    net.convolution(64, (10, 4), stride=2)
    for _ in range(4):
        net.depthwise((3, 3))
        net.convolution(64, (1, 1))
    net.average_pool((25, 5))
    net.dense(12, activation="NONE")
    net.softmax()
    return net


def _mobilenet_v1() -> NetworkBuilder:
    # MLPerf Tiny visual wake words: width 0.25 at 96, as in mlcommons/tiny's .tflite.
    net = NetworkBuilder("mobilenet-v1-0.25", (1, 96, 96, 3))
    net.convolution(8, (3, 3), stride=2)
    blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)]
    blocks += [(128, 1)] * 5 + [(256, 2), (256, 1)]
    for filters, stride in blocks:
        net.depthwise((3, 3), stride=stride)
        net.convolution(filters, (1, 1))
    net.average_pool((3, 3))
    net.dense(2, activation="NONE")
    net.softmax()
    return net


def _ad_autoencoder() -> NetworkBuilder:
    # MLPerf Tiny anomaly detection, as in mlcommons/tiny's .tflite.
    net = NetworkBuilder("ad-autoencoder", (1, 640))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        net.dense(units)
    net.dense(640, activation="NONE")
    return net


def _streaming_wakeword() -> NetworkBuilder:
    # MLPerf Tiny streaming wake word, as in mlcommons/tiny's .tflite.
    net = NetworkBuilder("streaming-wakeword", (1, 30, 1, 40))
    for taps, filters in ((3, 128), (5, 128), (10, 128), (15, 32)):
        net.depthwise((taps, 1), padding="VALID", activation="NONE")
        net.convolution(filters, (1, 1))
    net.dense(3, activation="NONE")
    net.softmax()
    return net


def _mobilenet_v2() -> NetworkBuilder:
    # Width 0.35 at 128 (Sandler et al. 2018; Svoboda et al. 2022), 1000 classes; channels are
    # rounded to multiples of 8 and the last convolution keeps its 1280.
    net = NetworkBuilder("mobilenet-v2-0.35-128", (1, 128, 128, 3))
    net.convolution(16, (3, 3), stride=2, activation="RELU6")
    net.depthwise((3, 3), activation="RELU6")
    net.convolution(8, (1, 1), activation="NONE")
    stages = [(8, 2, 2), (16, 3, 2), (24, 4, 2), (32, 3, 1), (56, 3, 2), (112, 1, 1)]
    for filters, repeats, first_stride in stages:
        for repeat in range(repeats):
            entry, stride = net.last, first_stride if repeat == 0 else 1
            channels = net.shape()[-1]
            net.convolution(6 * channels, (1, 1), activation="RELU6")
            net.depthwise((3, 3), stride=stride, activation="RELU6")
            net.convolution(filters, (1, 1), activation="NONE")
            if stride == 1 and channels == filters:
                net.add(entry)
    net.convolution(1280, (1, 1), activation="RELU6")
    net.average_pool((4, 4))
    net.dense(1000, activation="NONE")
    net.softmax()
    return net


def _profentzas(filters: int, data_set: str) -> Callable[[], NetworkBuilder]:
    # Conv-N of Profentzas et al. 2021: two 3×3 convolutions of N filters, each with pooling.
    def build() -> NetworkBuilder:
        mnist = data_set == "mnist"
        shape = (1, 28, 28, 1) if mnist else (1, 32, 32, 3)
        net = NetworkBuilder(f"conv-{filters}-{data_set}", shape)
        for _ in range(2):
            net.convolution(filters, (3, 3), padding="VALID")
            net.max_pool((2, 2))
        net.dense(10, activation="NONE")
        net.softmax()
        return net

    return build


def _deutel_lenet() -> NetworkBuilder:
    # Deutel et al. 2022, Table 1, unpruned.
    net = NetworkBuilder("deutel-lenet", (1, 28, 28, 1))
    net.convolution(32, (3, 3), padding="VALID")
    net.convolution(64, (3, 3), padding="VALID")
    net.max_pool((2, 2))
    net.dense(128)
    net.dense(10, activation="NONE")
    return net


def _deutel_alexnet() -> NetworkBuilder:
    # Deutel et al. 2022, Table 1, unpruned.
    net = NetworkBuilder("deutel-alexnet", (1, 32, 32, 3))
    net.convolution(64, (2, 2), stride=2, padding="VALID")
    for filters in (192, 384, 256):
        net.convolution(filters, (3, 3), padding="VALID")
    net.max_pool((2, 2))
    net.dense(4096)
    net.dense(4096)
    net.dense(10, activation="NONE")
    return net


#: How each network of the zoo is built, by name.
NETWORKS: Mapping[str, Callable[[], NetworkBuilder]] = {
    "lenet-5": _lenet_5,
    "resnet-20": _resnet_20,
    "resnet-8": _resnet_8,
    "ds-cnn": _ds_cnn,
    "mobilenet-v1-0.25": _mobilenet_v1,
    "ad-autoencoder": _ad_autoencoder,
    "streaming-wakeword": _streaming_wakeword,
    "mobilenet-v2-0.35-128": _mobilenet_v2,
    **{
        f"conv-{filters}-{data_set}": _profentzas(filters, data_set)
        for data_set in ("mnist", "cifar10")
        for filters in (16, 32, 64, 96, 128)
    },
    "deutel-lenet": _deutel_lenet,
    "deutel-alexnet": _deutel_alexnet,
}
