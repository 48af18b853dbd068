"""LeNet-5 (LeCun et al., 1998) for invkit: a model that neither timm nor torchvision has."""

from invkit.plugins import hookimpl

INVKIT_API = 1


@hookimpl
def list_models():
    return ["lenet5"]


@hookimpl
def load_model(name, weights, local_files_only):
    from invkit.interpretees import ModuleInterpretee, Preprocess, load_weights
    from invkit_lenet.network import LeNet5

    if name != "lenet5":
        return None
    network = LeNet5()
    if weights not in (None, "random"):
        load_weights(network, weights, local_files_only=local_files_only)
    return ModuleInterpretee(network, Preprocess(size=32), categories=[str(digit) for digit in range(10)])
