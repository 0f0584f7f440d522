"""Train the best configuration of the study again and test it on images that the study never saw.

    pilotune export digits-torch --best --out best.json
    python evaluate.py best.json

Trains on the training and the validation images together, with a fixed seed, and prints the accuracy on the test
images. The exit code is 1 if the accuracy is below ``--at-least``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from train import accuracy, build_network, build_optimizer, images, train_epoch


def accuracy_on_test(params: dict[str, Any], seed: int = 0) -> float:
    """Train on all other images, as long as the best trial did, and return the accuracy on the test images."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    (x, y), (x_more, y_more) = images("train"), images("validation")
    x, y = torch.cat([x, x_more]), torch.cat([y, y_more])
    network = build_network(params)
    optimizer = build_optimizer(network, params)
    for epoch in range(1, params["epochs"] + 1):
        train_epoch(network, optimizer, x, y, params, epoch)
    return accuracy(network, *images("test"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("best", type=Path, help="JSON file with the best parameters")
    parser.add_argument("--at-least", type=float, default=0.97, help="required accuracy (default: %(default)s)")
    options = parser.parse_args()
    reached = accuracy_on_test(json.loads(options.best.read_text(encoding="utf-8")))
    verdict = "reached" if reached >= options.at_least else "missed"
    print(f"test accuracy {reached:.4f} on 360 images the study never saw (required: {options.at_least}, {verdict})")
    return 0 if reached >= options.at_least else 1


if __name__ == "__main__":
    raise SystemExit(main())
