"""The published triplet walk-through on MNIST, from mitsugo's public parts.

python walkthrough.py [--dimension 2] [--epochs 10] [--images 60000] [--seed 0] [--scatter FILE.png]
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import mitsugo


def prepare(pixels: torch.Tensor) -> torch.Tensor:
    """Turn bytes into the network's input."""
    return (pixels / 255 - 0.1307) / 0.3081


def embedded(network: mitsugo.TripletNet, images: mitsugo.LabeledImages) -> mitsugo.Embeddings:
    """Embed images, a thousand at a time."""
    with torch.no_grad():
        parts = [network.get_embedding(prepare(p)) for p in torch.split(torch.tensor(images.pixels), 1000)]
    labelled = {name: getattr(images, name) for name in ("labels", "class_names", "names")}
    return mitsugo.Embeddings(vectors=torch.cat(parts).numpy(), fingerprint="walkthrough", **labelled)


def main() -> None:
    """Load, draw triplets, train, and ask the five nearest neighbours."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("dimension", 128), ("epochs", 10), ("images", 60_000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--scatter", type=Path)
    options = parser.parse_args()

    mnist = mitsugo.load("mnist")
    train, test = (mnist.take(part[: options.images]) for part in (mnist.split.train, mnist.split.test))
    train_pixels, test_pixels = torch.tensor(train.pixels), torch.tensor(test.pixels)
    index = mitsugo.index_classes(train.labels)
    fixed = mitsugo.fixed_triplets(mitsugo.index_classes(test.labels))

    torch.manual_seed(options.seed)  # of the weights
    network = mitsugo.TripletNet(mitsugo.EmbeddingNet(28 * 28, options.dimension))
    training = mitsugo.Training(
        network=network,
        loss=mitsugo.triplet_loss,  # margin 1, mean over the batch
        optimizer=torch.optim.Adam(network.parameters(), fused=True),
        learning_rate=lambda epoch, _: 2e-4 * 0.1 ** (epoch // 8),
        train_batches=lambda epoch, skip: mitsugo.gathered(
            mitsugo.random_triplets(index, mitsugo.generator_of(options.seed, epoch)),
            train_pixels, prepare, batch_size=128, skip=skip,
        ),
        validation_batches=lambda: mitsugo.gathered(fixed, test_pixels, prepare, batch_size=128),
    )  # fmt: skip
    mitsugo.fit(training, options.epochs)

    gallery, queries = embedded(network, train), embedded(network, test)
    score = mitsugo.evaluate(gallery, queries, seed=options.seed).scores.knn_accuracy
    print(f"5-NN accuracy {score.value:.4f} ({score.low:.4f} to {score.high:.4f}, n = {score.n})")
    if options.scatter:
        axes = (figure := Figure(figsize=(8, 8))).subplots()
        for label, name in enumerate(queries.class_names):
            axes.scatter(*queries.vectors[queries.labels == label, :2].T, 4, label=name)
        axes.legend()
        figure.savefig(options.scatter)


if __name__ == "__main__":
    main()
