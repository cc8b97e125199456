"""Draw the figure of the README from the figures that two pages report, so that it cannot differ from them.

    python tools/readme_figure.py            # writes docs/images/control.svg
    python tools/readme_figure.py --check    # 1 where the drawn figure has other numbers than the pages

Left: docs/explanation/when-goals-help.md, the world with known truth. Right: docs/log.md, the
registered comparisons on a gold score at two betas.
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORLD = ROOT / "docs" / "explanation" / "when-goals-help.md"
LOG = ROOT / "docs" / "log.md"
FIGURE = ROOT / "docs" / "images" / "control.svg"
INTERVAL = r"([+-]?[\d.]+) \[([+-]?[\d.]+), ([+-]?[\d.]+)\]"
POLICIES = {"reward-augmented (RA)": ("reward-augmented", "#0b7285"), "conditional SFT": ("conditional SFT", "#868e96")}
KEPT = {
    "good rejected completions, change of log-prob, nats": "rejected",
    "good chosen completions, the same": "chosen",
}
BETAS = ("0.2", "0.03")
ARMS = {"plain DPO": "#d9480f", "reward-augmented": "#0b7285"}


def read_figures() -> dict[str, Any]:
    """Read the figures of both panels from the pages.

    Returns:
        ``control``: policy -> [goal, score, low, high] per goal; ``plain``: best score of plain DPO;
        ``kept``: beta -> ``rejected`` and ``chosen`` -> policy -> [change of log-prob of good completions in nats, low,
        high].

    Raises:
        ValueError: if a page no longer has them in the expected form.
    """
    world, log = WORLD.read_text(encoding="utf-8"), LOG.read_text(encoding="utf-8")
    control = {}
    for policy in POLICIES:
        listed = re.search(rf"{re.escape(policy)}: asked for ((?:\d+: {INTERVAL}(?:, )?)+)", world)
        if listed is None:
            raise ValueError(f"{WORLD.name} no longer lists the scores of {policy} by requested score")
        control[policy] = [[float(n) for n in row] for row in re.findall(rf"(\d+): {INTERVAL}", listed[1])]
    plain = re.search(r"^\| DPO \| [\d.]+ \|  \| ([\d.]+) \|", world, re.MULTILINE)
    kept = {beta: read_kept(log, beta) for beta in BETAS}
    if plain is None:
        raise ValueError(f"{WORLD.name} no longer has the table that the figure is drawn from")
    return {"control": control, "plain": float(plain[1]), "kept": kept}


def read_kept(log: str, beta: str) -> dict[str, dict[str, list[float]]]:
    """Read what good completions lost from the log's table for a beta.

    Raises:
        ValueError: the log has no such table, or a row is missing.
    """
    table = log.partition(f"| measure on test prompts, beta {beta} |")[2].partition("\n\n")[0]
    kept = {}
    for measure, name in KEPT.items():
        row = re.search(rf"^\| {measure} \| *\| {INTERVAL} \| {INTERVAL} \| [+-]", table, re.MULTILINE)
        if row is None:
            raise ValueError(f"{LOG.name} no longer has the table for beta {beta} that the figure is drawn from")
        numbers = [float(n) for n in row.groups()]
        kept[name] = dict(zip(ARMS, (numbers[:3], numbers[3:]), strict=True))
    return kept


def draw(figures: dict[str, Any]) -> str:
    """Draw both panels as one SVG; its description holds the figures as JSON."""
    import matplotlib

    matplotlib.use("svg")
    # A fixed salt and no date: the same figures give the same file.
    style = {"svg.hashsalt": "prefboost", "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold"}
    matplotlib.rcParams.update({**style, "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot

    canvas, (left, right) = pyplot.subplots(1, 2, figsize=(9.6, 3.5), layout="constrained", width_ratios=(1.25, 1))
    left.plot([1, 10], [1, 10], color="#e9ecef", linewidth=7, zorder=0, solid_capstyle="round")
    left.text(8.2, 8.75, "achieved = requested", color="#868e96", fontsize=9, ha="right", va="center")
    left.axhline(figures["plain"], color="#d9480f", linestyle=":", zorder=1)
    left.text(
        1,
        figures["plain"] + 0.15,
        f"plain DPO, tuned: {figures['plain']}, cannot be asked",
        color="#d9480f",
        fontsize=9,
    )
    for policy, (name, colour) in POLICIES.items():
        goals, scores, lows, highs = zip(*figures["control"][policy], strict=True)
        errors = [
            [s - low for s, low in zip(scores, lows, strict=True)],
            [high - s for s, high in zip(scores, highs, strict=True)],
        ]
        left.errorbar(goals, scores, errors, color=colour, marker="o", capsize=3, label=name)
    left.set(title="The requested score steers the answer", xlabel="requested score", xticks=[1, 4, 7, 10])
    left.set(ylabel="true score, unseen topics", ylim=(1, 10.3))
    left.legend(frameon=False, loc="lower right", fontsize=9)
    groups = [(beta, name) for beta in BETAS for name in KEPT.values()]
    for at, (beta, name) in enumerate(groups):
        for place, (arm, colour) in enumerate(ARMS.items()):
            value, low, high = figures["kept"][beta][name][arm]
            x = at + 0.4 * (place - 0.5)
            right.bar(x, value, 0.36, color=colour, label=None if at else arm)
            right.errorbar(x, value, [[value - low], [high - value]], color="#212529", capsize=2)
            right.text(x, low - 3, f"{value:.0f}", ha="center", va="top", fontsize=9)
    right.axhline(0, color="#212529", linewidth=0.8)
    right.set(title="Good answers lose less likelihood", ylabel="change of log-prob, nats", ylim=(-195, 8),
              xticks=range(len(groups)), xticklabels=[f"{name},\nbeta {beta}" for beta, name in groups])  # fmt: skip
    right.legend(frameon=False, loc="lower left", fontsize=9)
    target = io.StringIO()
    canvas.savefig(target, format="svg", metadata={"Date": None, "Description": json.dumps(figures)})
    return target.getvalue()


def read_drawn() -> dict[str, Any]:
    """Read the figures that the drawn SVG was made from."""
    described = re.search(r"<dc:description>(.*?)</dc:description>", FIGURE.read_text(encoding="utf-8"), re.DOTALL)
    if described is None:
        raise ValueError(f"{FIGURE.name} has no description; run python tools/readme_figure.py")
    drawn: dict[str, Any] = json.loads(described[1].replace("&quot;", '"'))
    return drawn


def main(arguments: list[str]) -> int:
    """Draw the figure, or compare the drawn one with the pages."""
    figures = read_figures()
    if "--check" in arguments:
        current = read_drawn() == figures
        print("current" if current else f"{FIGURE.name} is not current; run python tools/readme_figure.py")
        return int(not current)
    FIGURE.write_text(draw(figures), encoding="utf-8")
    print(f"written: {FIGURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
