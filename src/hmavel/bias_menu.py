"""Shapes of the matching error to choose from, compared by what the ground says of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hmavel.bias_models import Array, Fit, Normal, Shape
from hmavel.sampling import drawn

#: Nodes that enter the comparison; more add nothing but time.
MENU_SAMPLE = 4_000
#: Independent measurements that each parameter of a shape must have.
MIN_PER_PARAMETER = 6.0


class Menu:
    """Shapes to choose from, compared with one set of weights.

    The sums of all their terms are formed once; each shape is then a small solve.

    Parameters
    ----------
    shapes
        What is on the menu.
    rich
        A fit of the richest of them: its weights and sigma serve for all.
    places, values
        Nodes on the ground, (n, 2), and what was measured there, px.
    domain
        Places that are to be corrected, (m, 2).
    independent
        Independent measurements per node.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        rich: Fit,
        places: Array,
        values: Array,
        domain: Array,
        independent: float,
    ) -> None:
        self.sigma = rich.sigma
        take = np.sort(drawn(len(places), MENU_SAMPLE, seed=1))
        self.scale = independent * len(places) / len(take)
        p, y, weight = places[take], values[take], rich.weight[take]
        self.columns: dict[Shape, NDArray[np.intp]] = {}
        known: dict[object, NDArray[np.intp]] = {}
        on_ground: list[Array] = []
        over_domain: list[Array] = []
        size = 0
        for shape in shapes:
            taken = []
            for key, piece in shape.pieces():
                if key not in known:
                    terms = piece(p)
                    on_ground.append(terms)
                    over_domain.append(piece(domain))
                    known[key] = np.arange(size, size + terms.shape[1])
                    size += terms.shape[1]
                taken.append(known[key])
            self.columns[shape] = np.concatenate(taken)
        x, z = np.concatenate(on_ground, axis=1), np.concatenate(over_domain, axis=1)
        blocks = _blocks(p)
        parts = [Normal.of(x[b], y[b], weight[b]) for b in (blocks == i for i in range(9))]
        self.blocks = parts
        self.whole = Normal(
            sum((n.gram for n in parts), np.zeros_like(parts[0].gram)),
            sum((n.moment for n in parts), np.zeros_like(parts[0].moment)),
            sum((n.square for n in parts), np.zeros(2)),
            sum(n.mass for n in parts),
        )
        self.domain = z.T @ z / len(z)

    def criterion(self, shape: Shape) -> float:
        """Return misfit in units of sigma^2 per independent node, and the price of the shape.

        The price is Schwarz's, times how much worse the shape is known at the nodes to be
        corrected than on the ground.
        """
        columns = self.columns[shape]
        sums = self.whole.part(columns)
        fit = sums.solve(shape, np.empty(0), self.sigma)
        inside = float((fit.covariance * sums.gram).sum()) / sums.mass
        outside = float((fit.covariance * self.domain[np.ix_(columns, columns)]).sum())
        independent = max(sums.mass * self.scale, 2.0)
        if shape.degree > 1 and independent < MIN_PER_PARAMETER * shape.size:
            return float("inf")  # nodes enough, but they repeat a handful of measurements
        price = 2.0 * shape.size * np.log(independent)
        misfit = sums.misfit(fit.beta, self.sigma) * self.scale
        return float(misfit + price * max(outside / max(inside, 1e-30), 1.0))

    def held_out(self, shape: Shape) -> float:
        """Return the misfit on blocks of ground that the shape was not fitted to.

        Infinite where one block holds all the ground there is: nothing is left to fit to.
        """
        columns = self.columns[shape]
        whole = self.whole.part(columns)
        loss = 0.0
        for block in self.blocks:
            out = block.part(columns)
            rest = whole.without(out)
            if not rest.mass > 1e-9 * whole.mass:
                return float("inf")
            fit = rest.solve(shape, np.empty(0), self.sigma)
            loss += out.misfit(fit.beta, self.sigma)
        return loss


def _blocks(p: Array, pieces: int = 3) -> NDArray[np.intp]:
    """Label places by blocks of equal numbers: thirds across, each in thirds along."""
    label = np.empty(len(p), dtype=np.intp)
    for i, column in enumerate(np.array_split(np.argsort(p[:, 0], kind="stable"), pieces)):
        inner = column[np.argsort(p[column, 1], kind="stable")]
        for j, block in enumerate(np.array_split(inner, pieces)):
            label[block] = i * pieces + j
    return label
