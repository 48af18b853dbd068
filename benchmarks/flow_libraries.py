"""One conditional flow, built with invkit and with each flow library: a step, samples, and the floor of the hardware.

python benchmarks/flow_libraries.py [--rounds 31] [--no-compile]

All flows are invkit's default: 8 × [actnorm, affine coupling of both halves by one network of width 384 and depth 1,
fixed permutation], over codes of 64 and of 128 dimensions given as wide a condition, on batches of 512. The condition
takes a gradient, because t trains the embedder that makes it. A floor is the flow's matrix products alone, on operands
of the same shapes, and a fused Adam step over as many parameters. All take turns in one process, and ratios are medians
of each round's ratio, so that other work on the machine meets all alike.

`usual` is a step with the optimiser that the library's own examples use: torch's Adam as it comes, fused AdamW in
invkit. FrEIA, normflows and zuko are in requirements-dev.txt, nflows is not (`pip install nflows`). Importing zuko
turns off the validation of torch's distributions, which nothing else here uses.
"""

import argparse
import statistics
import time

import torch
from torch import nn

from invkit.data import Codes
from invkit.flows import FlowSequence, FlowSettings, InvarianceFlow, VectorEmbedder
from invkit.flows.invariance import standard_normal_nll
from invkit.settings import Settings
from invkit.training import InvarianceTask, seconds_per_step

SIZES, BATCH, SAMPLES = (64, 128), 512, 2000
FLOW = FlowSettings()
MARKS = "marks: invkit the fastest in every column; its step within 1.15 of the floor"


class Perceptron(nn.Sequential):
    """invkit's subnetwork, for libraries that leave it to their users."""

    def __init__(self, dim_in, dim_out):
        layers = [nn.Linear(dim_in, FLOW.width), nn.LeakyReLU(0.01)]
        for _ in range(FLOW.depth):
            layers += [nn.Linear(FLOW.width, FLOW.width), nn.LeakyReLU(0.01)]
        super().__init__(*layers, nn.Linear(FLOW.width, dim_out))


class Invkit(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.flow = FlowSequence(FLOW.blocks(dim, dim))

    def latent(self, x, h):
        return self.flow(x, h).value

    def nll(self, x, h):
        v, log_det = self.flow(x, h)
        return (standard_normal_nll(v) - log_det).mean()

    def inverse(self, v, h):
        if h.stride(0) == 0:  # as InvarianceFlow does for many samples of one z
            return self.flow.inverse(v[None], h[None, :1]).value[0]
        return self.flow.inverse(v, h).value


class Freia(nn.Module):
    def __init__(self, dim):
        super().__init__()
        from FrEIA import framework, modules

        self.flow = framework.SequenceINN(dim)
        for k in range(FLOW.n_flow):
            self.flow.append(modules.ActNorm)
            self.flow.append(modules.GLOWCouplingBlock, cond=0, cond_shape=(dim,), subnet_constructor=Perceptron)
            self.flow.append(modules.PermuteRandom, seed=k)

    def latent(self, x, h):
        return self.flow(x, c=[h])[0]

    def nll(self, x, h):
        v, log_det = self.flow(x, c=[h])
        return (standard_normal_nll(v) - log_det).mean()

    def inverse(self, v, h):
        return self.flow(v, c=[h], rev=True)[0]


class Nflows(nn.Module):
    def __init__(self, dim):
        super().__init__()
        from nflows import distributions, flows, transforms

        class Net(Perceptron):
            def forward(self, x, context):
                return super().forward(torch.cat([x, context], 1))

        def net(dim_in, dim_out):
            return Net(dim_in + dim, dim_out)

        first = torch.arange(dim) < dim // 2
        parts = []
        for _ in range(FLOW.n_flow):
            parts += [transforms.ActNorm(dim)]
            parts += [transforms.AffineCouplingTransform(mask.int(), net) for mask in (first, ~first)]
            parts += [transforms.RandomPermutation(dim)]
        self.flow = flows.Flow(transforms.CompositeTransform(parts), distributions.StandardNormal([dim]))

    def latent(self, x, h):
        return self.flow.transform_to_noise(x, h)

    def nll(self, x, h):
        return -self.flow.log_prob(x, h).mean()

    def inverse(self, v, h):
        return self.flow._transform.inverse(v, h)[0]


class Normflows(nn.Module):
    """Its direction is from latent to data, and neither its coupling, its actnorm nor its normal takes a condition."""

    def __init__(self, dim):
        super().__init__()
        import normflows

        class Coupling(normflows.flows.Flow):
            """Its own AffineCoupling with `exp`, given a condition; of the first half, or of the second."""

            def __init__(self, first):
                super().__init__()
                self.first, self.param_map = first, Perceptron(dim // 2 + dim, 2 * (dim // 2))

            def _halves(self, z, context):
                moved, kept = z.chunk(2, 1) if self.first else z.chunk(2, 1)[::-1]
                param = self.param_map(torch.cat([kept, context], 1))
                return moved, kept, param[:, 0::2], param[:, 1::2]

            def _merged(self, moved, kept):
                return torch.cat([moved, kept] if self.first else [kept, moved], 1)

            def forward(self, z, context=None):
                moved, kept, shift, log_scale = self._halves(z, context)
                return self._merged(moved * log_scale.exp() + shift, kept), log_scale.sum(1)

            def inverse(self, z, context=None):
                moved, kept, shift, log_scale = self._halves(z, context)
                return self._merged((moved - shift) * (-log_scale).exp(), kept), -log_scale.sum(1)

        class ActNorm(normflows.flows.ActNorm):
            def forward(self, z, context=None):
                return super().forward(z)

            def inverse(self, z, context=None):
                return super().inverse(z)

        class Base(normflows.distributions.DiagGaussian):
            def log_prob(self, z, context=None):
                return super().log_prob(z)

        parts = []
        for _ in range(FLOW.n_flow):  # read backwards in training
            parts += [normflows.flows.Permute(dim), Coupling(False), Coupling(True), ActNorm(dim)]
        self.flow = normflows.ConditionalNormalizingFlow(Base(dim, trainable=False), parts)

    def latent(self, x, h):
        return self.flow.inverse(x, h)

    def nll(self, x, h):
        return self.flow.forward_kld(x, h)

    def inverse(self, v, h):
        return self.flow(v, h)


class Zuko(nn.Module):
    def __init__(self, dim):
        super().__init__()
        import zuko
        from zuko.lazy import UnconditionalDistribution, UnconditionalTransform

        def affine(shift, scale):  # it has no actnorm: a shift and scale of each channel
            return zuko.transforms.DependentTransform(zuko.transforms.MonotonicAffineTransform(shift, scale), 1)

        first = torch.arange(dim) < dim // 2
        own = {"hidden_features": [FLOW.width] * (FLOW.depth + 1), "activation": lambda: nn.LeakyReLU(0.01)}
        parts = []
        for _ in range(FLOW.n_flow):
            parts += [UnconditionalTransform(affine, torch.zeros(dim), torch.zeros(dim))]
            parts += [zuko.flows.GeneralCouplingTransform(dim, dim, mask, **own) for mask in (~first, first)]
            order = torch.randperm(dim)
            parts += [UnconditionalTransform(zuko.transforms.PermutationTransform, order, buffer=True)]
        normal = zuko.distributions.DiagNormal
        base = UnconditionalDistribution(normal, torch.zeros(dim), torch.ones(dim), buffer=True)
        self.flow = zuko.flows.Flow(parts, base)

    def latent(self, x, h):
        return self.flow(h).transform(x)

    def nll(self, x, h):
        return -self.flow(h).log_prob(x).mean()

    def inverse(self, v, h):
        return self.flow(h).transform.inv(v)


LIBRARIES = {"invkit": Invkit, "FrEIA": Freia, "normflows": Normflows, "nflows": Nflows, "zuko": Zuko}


def built(library, dim):
    """Build a flow off its start, where couplings would do nothing, and show that it is invertible and conditional."""
    torch.manual_seed(0)
    flow = library(dim)
    x, h, other = torch.randn(3, 256, dim).unbind()
    with torch.no_grad():
        flow.latent(x, h)  # some actnorms take their start from the first batch
        for p in flow.parameters():
            if p.is_floating_point():
                p.add_(torch.randn_like(p), alpha=0.02)
        v = flow.latent(x, h)
        error = float((flow.inverse(v, h) - x).abs().max())
        change = float((flow.latent(x, other) - v).abs().mean())
    assert error < 1e-3, f"not invertible: {error}"
    assert change > 1e-3, f"not conditional: {change}"
    return flow, sum(p.numel() for p in flow.parameters() if p.requires_grad), error


def step_of(flow, x, h, optimizer, *, bf16=False):
    def step():
        optimizer.zero_grad()
        h.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = flow.nll(x, h)
        loss.backward()
        optimizer.step()

    return step


def sampling_of(flow, dim):
    v, h = torch.randn(SAMPLES, dim), torch.randn(1, dim).expand(SAMPLES, -1)

    def sample():
        with torch.inference_mode():
            flow.inverse(v, h)

    return sample


def floor_of(dim, count, *, backward=True):
    """Return flow's products alone: forward, and the gradients of input and weight of each Linear layer; and Adam."""
    rows = BATCH if backward else SAMPLES
    half, width = dim // 2, FLOW.width
    shapes = [(half + dim, width), *[(width, width)] * FLOW.depth, (width, 2 * half)] * (2 * FLOW.n_flow)
    layers = []
    for a, b in shapes:  # each has operands of its own, as in the flow: weights and activations do not fit a cache
        layers.append([torch.randn(s) for s in ((b, a), (rows, a), (rows, b))])
        layers[-1] += [torch.empty(b, a), torch.empty(rows, a)]
    parameter = nn.Parameter(torch.randn(count))
    parameter.grad = torch.randn(count)
    optimizer = torch.optim.Adam([parameter], 1e-9, fused=True)

    def run():
        with torch.inference_mode():
            for weight, x, y, _, _ in layers:
                torch.mm(x, weight.T, out=y)
        if backward:
            with torch.inference_mode():
                for weight, x, y, grad_weight, grad_x in reversed(layers):
                    torch.mm(y, weight, out=grad_x)
                    torch.mm(y.T, x, out=grad_weight)
            optimizer.step()

    return run


def seconds_of_training(dim):
    """What a step of invkit's training loop takes: AdamW, bf16, H, noise on z, gradients clipped, weights averaged."""
    embedder = VectorEmbedder((dim,), dim)
    t = InvarianceFlow(FLOW.blocks(dim, dim), embedder, noise_floor=0.003)
    codes, z = Codes(torch.randn(BATCH, dim), torch.ones(BATCH, dim)), torch.randn(BATCH, dim)
    t.initialize(codes.mean, z)
    return seconds_per_step(InvarianceTask(t, codes, z, (codes, z)), Settings().fit_t)


def timed(ways, rounds):
    """Seconds of each way, round by round; the first round of all, which fills caches, is left out."""
    times = {name: [] for name in ways}
    for k in range(rounds + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if k:
                times[name].append(time.perf_counter() - begun)
    return times


def ratio(times, a, b):
    return statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))


def compare(dim, rounds):
    print(f"\ncode and condition of {dim}, batch {BATCH}, {torch.get_num_threads()} threads")
    found = {name: built(library, dim) for name, library in LIBRARIES.items()}
    count = found["invkit"][1]
    x, h = torch.randn(BATCH, dim), torch.randn(BATCH, dim, requires_grad=True)
    ways = {"floor": floor_of(dim, count), "sampling floor": floor_of(dim, count, backward=False)}
    for name, (flow, own, _) in found.items():
        assert abs(own / count - 1) < 0.03, f"{name} has {own} parameters, invkit {count}"
        usual = {"lr": 1e-9} | ({"fused": True} if name == "invkit" else {})
        kind = torch.optim.AdamW if name == "invkit" else torch.optim.Adam
        parameters = [p for p in flow.parameters() if p.requires_grad]
        ways[name] = step_of(flow, x, h, torch.optim.Adam(parameters, lr=1e-9, fused=True))
        ways[name, "usual"] = step_of(flow, x, h, kind(parameters, **usual))
        ways[name, "samples"] = sampling_of(flow, dim)
    flow = found["invkit"][0]
    adam = torch.optim.AdamW(flow.parameters(), lr=1e-9, fused=True)
    ways["bf16"] = step_of(flow, x, h, adam, bf16=True)
    times = timed(ways, rounds)
    header = ("parameters", "round trip", "ms", "of invkit", "of floor", "usual", "of invkit", "samples/s", "of invkit")
    print(f"{'':<10}" + "".join(f"{h:>11}" for h in header))
    for name, (_, own, error) in found.items():
        ms, usual = (1000 * statistics.median(times[key]) for key in (name, (name, "usual")))
        speed = SAMPLES / statistics.median(times[name, "samples"])
        print(
            f"{name:<10}{own:>11,}{error:>11.0e}{ms:>11.1f}{ratio(times, name, 'invkit'):>11.2f}"
            f"{ratio(times, name, 'floor'):>11.2f}{usual:>11.1f}"
            f"{ratio(times, (name, 'usual'), ('invkit', 'usual')):>11.2f}"
            f"{speed:>11,.0f}{ratio(times, ('invkit', 'samples'), (name, 'samples')):>11.2f}"
        )
    print(f"floor of a step {1000 * statistics.median(times['floor']):.1f} ms, of samples {ratio_of_samples(times)}")
    ms, fastest = 1000 * statistics.median(times["bf16"]), 1000 * min(times["bf16"])
    print(f"invkit's step under bf16 autocast: {ms:.1f} ms, {ratio(times, 'bf16', 'invkit'):.2f} of float32")
    print(f"at its fastest {fastest:.1f} ms; in the training loop, with H, {1000 * seconds_of_training(dim):.1f} ms")
    first = all(ratio(times, name, "invkit") >= 1 for name in found)
    first &= all(ratio(times, (name, "usual"), ("invkit", "usual")) >= 1 for name in found)
    first &= all(ratio(times, ("invkit", "samples"), (name, "samples")) <= 1 for name in found)
    near = ratio(times, "invkit", "floor")
    print(f"{'ok  ' if first else 'MISS'} invkit is the fastest in every column")
    print(f"{'ok  ' if near <= 1.15 else 'MISS'} its step is {near:.2f} of the floor, at most 1.15", flush=True)
    return flow, x, h


def ratio_of_samples(times):
    return f"{SAMPLES / statistics.median(times['sampling floor']):,.0f} a second, of which invkit makes " + (
        f"{100 * ratio(times, 'sampling floor', ('invkit', 'samples')):.0f} %"
    )


def compiled(flow, x, h, rounds):
    """What torch.compile costs before the first step, and after how many steps it has paid for that."""
    torch.compiler.config.force_disable_caches = True  # a cache of an earlier run would hide the cost
    for bf16 in (False, True):
        torch._dynamo.reset()
        adam = torch.optim.AdamW(flow.parameters(), lr=1e-9, fused=True)
        faster = Invkit.__new__(Invkit)
        nn.Module.__init__(faster)
        faster.flow = torch.compile(flow.flow, fullgraph=True)
        ways = {"eager": step_of(flow, x, h, adam, bf16=bf16), "compiled": step_of(faster, x, h, adam, bf16=bf16)}
        begun = time.perf_counter()
        for _ in range(2):
            ways["compiled"]()
        warm_up = time.perf_counter() - begun
        times = timed(ways, rounds)
        eager, steady = (statistics.median(times[name]) for name in ("eager", "compiled"))
        pays = f"pays after {warm_up / (eager - steady):,.0f} steps" if steady < eager else "never pays"
        print(
            f"torch.compile, {'bf16' if bf16 else 'float32'}: {warm_up:.0f} s before the second step, then "
            f"{1000 * steady:.1f} ms a step, {ratio(times, 'compiled', 'eager'):.2f} of eager; {pays}",
            flush=True,
        )


def main(rounds, compiling):
    print(MARKS)
    for dim in SIZES:
        flow, x, h = compare(dim, rounds)
        if compiling:
            compiled(flow, x, h, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--no-compile", dest="compiling", action="store_false")
    main(**vars(parser.parse_args()))
