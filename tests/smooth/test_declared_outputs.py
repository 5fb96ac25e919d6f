"""A smoothing certificate speaks of exactly as many classes as the model has outputs."""

import json

import numpy as np
import torch

from unmoved.certifier import certify
from unmoved.core import Problem, SameClass
from unmoved.loaders import load_torch
from unmoved.record import canonical
from unmoved.smooth import Gaussian
from unmoved.smooth.methods.method import SmoothingMethod
from unmoved.threats import L2
from unmoved_check.check import Checker


def test_another_number_of_classes_is_rejected():
    net = torch.nn.Linear(4, 3)
    with torch.no_grad():
        net.weight.zero_()
        net.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    network = load_torch(net.eval(), (1, 4))
    problem = Problem(network, np.zeros((1, 4), np.float32), L2("0.1"), SameClass(0))
    made = certify(problem, SmoothingMethod(Gaussian("0.5"), samples=200))
    assert made.verdict == "CERTIFIED"
    checker = Checker(network.source)
    assert checker.check(made.manifest, made.payload).accepted
    manifest = json.loads(made.manifest)
    manifest["property"]["classes"] += 1
    manifest["evidence"]["counts"].append(0)
    said = checker.check(canonical(manifest), made.payload)
    assert not said.accepted and "outputs" in said.reason
