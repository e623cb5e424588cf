"""Naive twins of the networks: one user, one action, one number at a time where it helps."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def plain(parameters):
    """Parameters as float64."""
    if isinstance(parameters, dict):
        return {name: plain(value) for name, value in parameters.items()}
    if isinstance(parameters, list):
        return [plain(value) for value in parameters]
    return np.asarray(parameters, float)


def gru_states(p, inputs):
    w_r, w_z, w_c = np.split(p["input"], 3, axis=1)
    u_r, u_z, u_c = np.split(p["state"], 3, axis=1)
    b_r, b_z, b_c = np.split(p["bias"], 3)
    h, states = np.zeros(len(p["state"])), []
    for x in inputs:
        r = sigmoid(x @ w_r + h @ u_r + b_r)
        z = sigmoid(x @ w_z + h @ u_z + b_z)
        c = np.tanh(x @ w_c + b_c + r * (h @ u_c + p["state_bias"]))
        h = z * h + (1 - z) * c
        states.append(h)
    return np.array(states)


def lstm_states(p, inputs):
    w = np.split(p["input"], 4, axis=1)
    u = np.split(p["state"], 4, axis=1)
    b = np.split(p["bias"], 4)
    h, c, states = np.zeros(len(p["state"])), np.zeros(len(p["state"])), []
    for x in inputs:
        i, f, g, o = (x @ w[k] + h @ u[k] + b[k] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def hiertcn(p, pins, sittings, dilations):
    """Vectors after each action, sitting by sitting."""
    size = len(p["long_term"]["state"])
    numbers = sorted(set(sittings))
    means = [np.mean([pins[i] for i in np.flatnonzero(sittings == n)], axis=0) for n in numbers]
    after = gru_states(p["long_term"], means)
    outputs = []
    for n in numbers:
        before = after[n - 1] if n else np.zeros(size)
        layer = [np.concatenate([pins[i], before]) @ p["input"]
                 for i in np.flatnonzero(sittings == n)]  # fmt: skip
        for one, dilation in zip(p["convolutions"], dilations, strict=True):
            new = []
            for i, own in enumerate(layer):
                total = one["bias"].copy()
                for k, tap in enumerate(one["taps"]):
                    if i - k * dilation >= 0:
                        total = total + layer[i - k * dilation] @ tap
                new.append(own + np.maximum(total, 0))
            layer = new
        outputs += [vector @ p["head"] for vector in layer]
    return np.array(outputs)
