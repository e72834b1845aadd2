"""Captures and edits of transformers' decoder layers by PyTorch's forward hooks."""

import contextlib

import torch


@contextlib.contextmanager
def hooked(model, edit=None):
    """Layer -> its output (row, length, width), filled at each pass; edited by `edit(layer, x)`."""
    seen = {}

    def hook(layer):
        def of_output(module, inputs, output):
            x = output[0] if isinstance(output, tuple) else output
            if edit is not None:
                x = edit(layer, x)
            seen[layer] = x.detach()
            return (x, *output[1:]) if isinstance(output, tuple) else x

        return of_output

    layers = model.model.layers
    handles = [layer.register_forward_hook(hook(n)) for n, layer in enumerate(layers)]
    try:
        with torch.no_grad():
            yield seen
    finally:
        for handle in handles:
            handle.remove()


def make_edit(added, caps):
    """An edit of layers: `added` is layer -> vector, `caps` a list of (layer, axis, low, high)."""

    def edit(layer, x):
        if layer in added:
            x = x + torch.as_tensor(added[layer])
        for at, axis, low, high in caps:
            if at == layer:
                unit = torch.as_tensor(axis) / torch.linalg.norm(torch.as_tensor(axis))
                along = x @ unit
                x = x + (along.clamp(low, high) - along)[..., None] * unit
        return x

    return edit
