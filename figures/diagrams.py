"""The drawn diagrams of the chapters, as SVG: `python figures/diagrams.py [NAME ...]`.

A chapter shows one by ![what it shows](../figures/diagrams/<name>.svg). It is a function in
`DIAGRAMS` that returns a `Drawing`, with a light panel behind it, so that it can be read on a dark
page. Lengths are pixels. Text stays text.
"""

import argparse
from collections.abc import Callable
from html import escape
from pathlib import Path

OUT = Path(__file__).parent / "diagrams"
INK, PANEL, SMALL, NORMAL = "#1F2933", "#F7F7F5", 13, 15
# Fill and outline of boxes: Okabe and Ito's colours, lightened. What they say, the text says, too.
COLOURS = {
    "plain": ("#FFFFFF", "#52606D"),
    "frozen": ("#DCEBF7", "#0072B2"),  # what is not trained
    "trained": ("#FBE5D6", "#D55E00"),  # what has trained parameters
    "data": ("#DDF3EA", "#007A59"),  # photos, masks, maps
    "loss": ("#F6E3EE", "#A8437E"),  # losses, costs, criteria
}


class Drawing:
    """A panel of `width` x `height` pixels, at most 900 wide; `title` is read out by a screen
    reader."""

    def __init__(self, width: int, height: int, title: str) -> None:
        assert width <= 900, "wider than a notebook's text"
        self.size, self.title, self.parts = (width, height), title, []

    def label(self, x: float, y: float, text: str, size: int = SMALL, anchor: str = "middle",
              bold: bool = False, colour: str = INK) -> None:
        """Lines of text, the middle of them at (x, y); anchor: start, middle or end."""
        lines = text.split("\n")
        for i, line in enumerate(lines):
            at = y + (i - (len(lines) - 1) / 2) * 1.3 * size + 0.35 * size
            weight = ' font-weight="bold"' * (bold or (i == 0 and len(lines) > 1 and size > SMALL))
            self.parts.append(f'<text x="{x:g}" y="{at:.1f}" font-size="{size}" fill="{colour}" '
                              f'text-anchor="{anchor}"{weight}>{escape(line)}</text>')

    def box(self, x: float, y: float, w: float, h: float, text: str, colour: str = "plain",
            size: int = SMALL, bold: bool = False) -> None:
        """A rectangle whose upper left corner is (x, y), with its text in the middle."""
        fill, line = COLOURS[colour]
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" '
                          f'fill="{fill}" stroke="{line}" stroke-width="1.5"/>')
        self.label(x + w / 2, y + h / 2, text, size, bold=bold)

    def arrow(self, *points: tuple[float, float], text: str = "", dashed: bool = False) -> None:
        """A line through the points with a head at the last; `text` stands beside its middle."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' * dashed
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{INK}" '
                          f'stroke-width="1.6"{dash} marker-end="url(#head)"/>')
        if text:
            (x0, y0), (x1, y1) = points[(len(points) - 1) // 2:][:2]
            upright = abs(x1 - x0) < abs(y1 - y0)
            self.label((x0 + x1) / 2 + 6 * upright, (y0 + y1) / 2 - 10 * (not upright), text,
                       anchor="start" if upright else "middle")

    def along(self, y: float, *ends: tuple[float, float]) -> None:
        """Arrows in a row, from x0 to x1 each."""
        for x0, x1 in ends:
            self.arrow((x0, y), (x1, y))

    def picture(self, x: float, y: float, side: float, rows: list[list[float]],
                colour: str = "#0072B2") -> None:
        """A square map: values in [0, 1], drawn as how dark a cell is."""
        cell = side / len(rows)
        for r, row in enumerate(rows):
            for c, value in enumerate(row):
                self.parts.append(
                    f'<rect x="{x + c * cell:g}" y="{y + r * cell:g}" width="{cell:g}" '
                    f'height="{cell:g}" fill="{colour}" fill-opacity="{value:g}" '
                    f'stroke="{INK}" stroke-width="0.4"/>')

    def svg(self) -> str:
        w, h = self.size
        head = ('<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
                'markerHeight="7" orient="auto-start-reverse">'
                f'<path d="M0,0 L10,5 L0,10 z" fill="{INK}"/></marker></defs>')
        panel = f'<rect width="{w}" height="{h}" rx="10" fill="{PANEL}"/>'
        start = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" '
                 f'viewBox="0 0 {w} {h}" role="img" font-family="Helvetica, Arial, sans-serif">')
        title = f"<title>{escape(self.title)}</title>"
        return "\n".join([start, title, head, panel, *self.parts, "</svg>\n"])


def study() -> Drawing:
    """01: from a photo and its image label to a score."""
    d = Drawing(900, 280, "The study: from image labels to pseudo-masks, to a model, to an IoU")
    d.box(20, 60, 130, 56, "photo", "data", NORMAL)
    d.box(20, 140, 130, 56, "image label\n(one click)", "data")
    d.box(210, 85, 160, 86, "source\n(Grad-CAM,\nMask R-CNN)", "frozen")
    d.box(440, 93, 130, 70, "pseudo-mask", "data", NORMAL)
    d.box(670, 93, 140, 70, "MaskFormer", "trained", NORMAL)
    d.arrow((150, 88), (180, 88), (180, 110), (210, 110))
    d.arrow((150, 168), (180, 168), (180, 146), (210, 146))
    d.arrow((370, 128), (440, 128))
    d.arrow((570, 128), (670, 128), text="training")
    d.arrow((85, 60), (85, 34), (740, 34), (740, 93), text="the photo again")
    d.box(670, 212, 140, 48, "prediction", "data")
    d.box(440, 212, 130, 48, "IoU", "loss", NORMAL)
    d.box(210, 212, 160, 48, "ground truth\n(an outline: minutes)", "data")
    d.arrow((740, 163), (740, 212))
    d.arrow((670, 236), (570, 236))
    d.arrow((370, 236), (440, 236))
    return d


def backbone() -> Drawing:
    """02: the four feature levels of EfficientNet-Lite0 at 192 pixels, and what pools them."""
    d = Drawing(900, 330, "The frozen backbone: four feature levels, pooling, and a linear layer")
    d.box(15, 68, 90, 84, "photo\n3 × 192 × 192", "data")
    x = 105
    levels = [("stride8", "40 × 24 × 24", 84), ("stride16", "112 × 12 × 12", 62),
              ("penultimate", "320 × 6 × 6", 42), ("final", "1280 × 6 × 6", 42)]
    for name, shape, side in levels:
        d.arrow((x, 110), (x + 25, 110))
        d.box(x + 25, 82, 66, 56, "1×1 conv" if name == "final" else "blocks", "frozen")
        d.arrow((x + 91, 110), (x + 116, 110))
        d.box(x + 116, 110 - side / 2, side, side, "", "data")
        d.label(x + 116 + side / 2, 84 - side / 2, f"{name}\n{shape}")
        x += 116 + side
    d.arrow((x - 21, 131), (x - 21, 210))
    d.box(x - 91, 210, 140, 50, "mean over the\npositions (pooling)")
    d.arrow((x - 91, 235), (x - 131, 235))
    d.box(x - 261, 210, 130, 50, "pooled vector\n1280", "data")
    d.arrow((x - 261, 235), (x - 301, 235))
    d.box(x - 421, 210, 120, 50, "linear layer", "frozen")
    d.arrow((x - 421, 235), (x - 461, 235))
    d.box(x - 601, 210, 140, 50, "1000 logits\n(ImageNet's classes)", "data")
    d.label(450, 300, "The feature cache stores the four maps and the pooled vector of each photo.")
    return d


def mask_rcnn() -> Drawing:
    """03: the five parts of Mask R-CNN, and how its detections become one mask."""
    d = Drawing(900, 330, "Mask R-CNN: from a photo to detections, and from these to one mask")
    d.box(15, 60, 80, 60, "photo", "data")
    d.box(125, 60, 110, 60, "1 backbone", "frozen")
    d.box(265, 60, 120, 60, "2 feature\npyramid", "frozen")
    d.box(415, 60, 140, 60, "3 region proposal\nnetwork", "frozen")
    d.box(585, 60, 110, 60, "boxes that\nmay contain\nan object", "data")
    d.box(725, 60, 160, 60, "RoIAlign: features\ncut out for each box")
    d.along(90, (95, 125), (235, 265), (385, 415), (555, 585), (695, 725))
    d.arrow((325, 60), (325, 32), (805, 32), (805, 60), text="feature maps")
    d.box(725, 165, 160, 46, "4 box head", "frozen")
    d.box(545, 165, 150, 46, "5 mask head", "frozen")
    d.arrow((805, 120), (805, 165))
    d.arrow((760, 120), (760, 142), (620, 142), (620, 165))
    d.box(545, 256, 340, 50, "for each object: class, score, box (from 4),\nsoft mask (from 5)",
          "data")
    d.arrow((805, 211), (805, 256))
    d.arrow((620, 211), (620, 256))
    d.box(370, 256, 140, 50, "keep pets with\nscore ≥ 0.5")
    d.box(195, 256, 140, 50, "union: largest\nvalue per pixel")
    d.box(15, 256, 145, 50, "mask: where it\nis above 0.5", "data")
    d.along(281, (545, 510), (370, 335), (195, 160))
    return d


def grad_cam() -> Drawing:
    """04: Grad-CAM, forwards, backwards, and to a mask."""
    d = Drawing(900, 360, "Grad-CAM: a score, its gradient by the final feature map, a mask")
    d.box(15, 40, 80, 56, "photo", "data")
    d.box(125, 40, 110, 56, "frozen\nbackbone", "frozen")
    d.box(265, 40, 120, 56, "final map A\nC × h × w", "data")
    d.box(415, 40, 110, 56, "mean over\npositions")
    d.box(555, 40, 110, 56, "linear layer\nw, b", "frozen")
    d.box(695, 40, 190, 56, "score s: a class, or\nall pets together", "loss")
    d.along(68, (95, 125), (235, 265), (385, 415), (525, 555), (665, 695))
    d.box(430, 140, 220, 56, "gradient ∂s/∂A,\nmean over positions: weights α", "data")
    d.arrow((790, 96), (790, 168), (650, 168), dashed=True)
    d.label(796, 132, "backwards", anchor="start")
    d.box(215, 212, 180, 56, "weighted sum of the\nchannels, then ReLU")
    d.arrow((325, 96), (325, 212))
    d.arrow((540, 196), (540, 240), (395, 240))
    d.label(560, 222, "here α = w / P: a row of the linear layer,\n"
            "so that no backward pass is needed", anchor="start")
    d.arrow((305, 268), (305, 294))
    d.box(245, 294, 120, 46, "CAM\nh × w", "data")
    d.box(415, 292, 140, 50, "scale to [0, 1],\nupsample")
    d.box(605, 292, 110, 50, "> threshold")
    d.box(765, 292, 110, 50, "mask", "data")
    d.along(317, (365, 415), (555, 605), (715, 765))
    return d


def two_heads() -> Drawing:
    """05: the ImageNet head and the new head on the same frozen features."""
    d = Drawing(900, 320, "Two heads on the same frozen features, and what a CAM can explain")
    d.box(15, 120, 80, 56, "photo", "data")
    d.box(125, 120, 100, 56, "frozen\nbackbone", "frozen")
    d.box(255, 120, 120, 56, "final map", "data")
    d.box(405, 120, 120, 56, "pooled vector\n(mean)", "data")
    d.along(148, (95, 125), (225, 255), (375, 405))
    d.box(585, 50, 130, 60, "ImageNet head\n1000 outputs", "frozen")
    d.box(585, 186, 130, 60, "new head\n37 outputs", "trained")
    d.arrow((525, 140), (555, 140), (555, 80), (585, 80))
    d.arrow((525, 156), (555, 156), (555, 216), (585, 216))
    for y, first, second in ((50, "top1: its class", "pets: all cats and dogs"),
                             (186, "top1: its breed", "pets: all breeds")):
        d.box(755, y - 6, 135, 34, first, "loss", 12)
        d.box(755, y + 34, 135, 34, second, "loss", 12)
        d.arrow((715, y + 26), (755, y + 11))
        d.arrow((715, y + 34), (755, y + 51))
    d.label(822, 24, "explained score", bold=True)
    d.box(405, 262, 120, 40, "breed label", "data")
    d.box(585, 262, 130, 40, "cross-entropy", "loss")
    d.arrow((525, 282), (585, 282))
    d.arrow((650, 246), (650, 262))
    d.label(262, 282, "only the new head has parameters\nthat are trained", anchor="middle")
    return d


def maskformer() -> Drawing:
    """07a: the parts of the simplified MaskFormer, with the shapes between them."""
    d = Drawing(900, 520, "The simplified MaskFormer: a feature map becomes masks and classes")
    d.box(30, 30, 110, 50, "photo\n3 × 32h × 32w", "data")
    d.box(210, 30, 160, 50, "frozen backbone", "frozen", NORMAL)
    d.box(440, 30, 190, 50, "final feature map\nC × h × w, stride 32", "data")
    d.arrow((140, 55), (210, 55))
    d.arrow((370, 55), (440, 55))
    d.box(90, 130, 270, 70, "pixel decoder\n4 × [conv 3×3, GroupNorm,\nReLU, upsample ×2]",
          "trained")
    d.box(90, 250, 270, 46, "mask head: conv 1×1", "trained")
    d.box(90, 346, 270, 46, "pixel embeddings\nD × 16h × 16w, stride 2", "data")
    d.box(440, 130, 190, 50, "projection: conv 1×1\n→ h·w vectors of D", "trained")
    d.box(700, 130, 170, 50, "learned queries\nQ × D", "trained")
    d.box(540, 230, 250, 66, "transformer decoder, 3 layers\nself-attention among queries,\n"
          "cross-attention to the map", "trained")
    d.box(540, 346, 250, 46, "query embeddings\nQ × D", "data")
    d.arrow((500, 80), (500, 105), (225, 105), (225, 130))
    d.arrow((570, 80), (570, 130))
    d.arrow((570, 180), (600, 230))
    d.arrow((785, 180), (740, 230))
    d.arrow((225, 200), (225, 250))
    d.arrow((225, 296), (225, 346))
    d.arrow((665, 296), (665, 346))
    d.box(300, 436, 170, 60, "masks\nQ × 16h × 16w", "data", NORMAL)
    d.arrow((225, 392), (225, 466), (300, 466))
    d.arrow((590, 392), (590, 466), (470, 466))
    d.label(385, 420, "dot product of each pair")
    d.box(680, 420, 190, 36, "class head: MLP", "trained")
    d.box(680, 474, 190, 36, "Q × (K + 1) classes", "data")
    d.arrow((775, 392), (775, 420))
    d.arrow((775, 456), (775, 474))
    for i, (colour, text) in enumerate({"frozen": "not trained", "trained": "trained",
                                        "data": "photos, maps"}.items()):
        d.box(740, 24 + 24 * i, 24, 16, "", colour)
        d.label(772, 32 + 24 * i, text, anchor="start")
    return d


def training_step() -> Drawing:
    """07b: one step of training, and what it changes."""
    d = Drawing(900, 330, "A training step: features, prediction, matching, loss, gradient")
    d.box(30, 40, 150, 50, "feature cache\n(frozen backbone)", "frozen")
    d.box(270, 40, 150, 50, "MaskFormer", "trained", NORMAL)
    d.box(510, 30, 150, 70, "prediction\nQ masks,\nQ classes", "data")
    d.box(720, 40, 150, 50, "Hungarian\nmatching", "loss")
    d.arrow((180, 65), (270, 65), text="C × h × w")
    d.arrow((420, 65), (510, 65))
    d.arrow((660, 65), (720, 65))
    d.box(510, 140, 150, 60, "target: pseudo-mask\nand class", "data")
    d.label(585, 216, "mirrored with the photo")
    d.arrow((660, 165), (765, 165), (765, 90))
    d.box(720, 190, 150, 60, "loss: class +\nmask + dice", "loss")
    d.arrow((820, 90), (820, 190), text="pairs")
    d.box(420, 255, 190, 50, "gradient, shortened\nif it is too long", "plain")
    d.arrow((795, 250), (795, 280), (610, 280))
    d.box(250, 255, 130, 50, "AdamW", "plain")
    d.arrow((420, 280), (380, 280))
    d.arrow((290, 255), (290, 90), text="new parameters", dashed=True)
    return d


def verdict() -> Drawing:
    """08a: from the IoU of each photo to a verdict."""
    d = Drawing(900, 300, "From the IoU of each photo to a verdict")
    d.box(15, 30, 140, 56, "model A:\nan IoU for each photo", "data")
    d.box(15, 122, 140, 56, "model B:\nthe same photos", "data")
    d.box(235, 76, 150, 56, "difference\nfor each photo")
    d.arrow((155, 58), (195, 58), (195, 94), (235, 94))
    d.arrow((155, 150), (195, 150), (195, 114), (235, 114))
    d.box(465, 76, 180, 56, "draw photos with\nreplacement, 1,000 times")
    d.box(725, 76, 160, 56, "1,000 means:\n95 % interval, p", "loss")
    d.along(104, (385, 465), (645, 725))
    d.box(640, 210, 245, 56, "for each seed:\ndoes the interval exclude 0?", "loss")
    d.box(340, 210, 220, 56, "many comparisons:\nHolm's correction of p", "loss")
    d.box(15, 210, 245, 56, "verdict: better, worse,\nor not told apart", "data")
    d.arrow((805, 132), (805, 210))
    d.along(238, (640, 560), (340, 260))
    return d


def questions() -> Drawing:
    """08b: which models are compared with which, for each of the two questions."""
    d = Drawing(900, 310, "Which models answer the first question, and which the second")
    d.box(15, 30, 160, 50, "few photos,\nexact masks", "data")
    d.box(15, 110, 160, 50, "all photos of train,\nweak masks", "data")
    d.box(15, 220, 160, 60, "few photos,\nexact masks\nor Grad-CAM's", "data")
    d.box(235, 60, 160, 70, "MaskFormers of\ntwo architectures,\nthree seeds", "trained")
    d.box(235, 220, 160, 60, "a grid of architectures,\none or three seeds", "trained")
    d.box(455, 60, 120, 70, "IoU of each\nphoto of test")
    d.box(455, 220, 120, 60, "IoU of each\nphoto of test")
    d.box(645, 40, 240, 90, "question 1:\nminus full supervision\nbetter, worse or not told apart",
          "loss")
    d.box(645, 190, 240, 90, "question 2:\nminus the best of the table\n"
          "satisfies: yes, no or undecided", "loss")
    d.arrow((175, 55), (205, 55), (205, 85), (235, 85))
    d.arrow((175, 135), (205, 135), (205, 105), (235, 105))
    d.along(85, (575, 645))
    d.along(95, (395, 455))
    d.along(250, (175, 235), (395, 455), (575, 645))
    d.arrow((575, 110), (610, 110), (610, 215), (645, 215))
    return d


def label_efficiency() -> Drawing:
    """10: three training sets from the same photos, and the curve."""
    d = Drawing(900, 300, "Three training sets, equal steps, and the label-efficiency curve")
    d.box(15, 40, 170, 70, "a share of train:\nground-truth masks\n(a person's minutes)", "data")
    d.box(15, 190, 170, 70, "all of train:\npseudo-masks\n(no person)", "data")
    for y, text in ((30, "ground truth alone"), (222, "pseudo-masks alone"),
                    (126, "both: ground truth where\nthere is some")):
        d.box(265, y, 190, 50, text)
        d.arrow((455, y + 25), (535, 150))
    d.arrow((185, 62), (265, 55))
    d.arrow((185, 88), (265, 142))
    d.arrow((185, 212), (265, 160))
    d.arrow((185, 238), (265, 247))
    d.box(535, 115, 140, 70, "a MaskFormer each,\nequally many\ntraining steps", "trained")
    d.box(735, 115, 150, 70, "IoU on test,\nby the number of\nground-truth masks", "loss")
    d.along(150, (675, 735))
    d.label(810, 222, "repeated with other seeds:\na band")
    return d


def refine() -> Drawing:
    """09a: what each refinement step looks at, and where the choice is made."""
    d = Drawing(900, 400, "Refinement: a CAM, steps that look at colours or features, a mask")
    d.box(20, 150, 90, 60, "photo", "data", NORMAL)
    d.box(160, 150, 110, 60, "frozen\nbackbone", "frozen")
    d.along(180, (110, 160))
    d.box(330, 150, 120, 60, "CAM\n(final map)", "data")
    d.box(330, 262, 120, 60, "feature maps\n(stride 16 and 8)", "data")
    d.along(180, (270, 330))
    d.arrow((215, 210), (215, 292), (330, 292))
    d.box(508, 24, 214, 132, "")
    d.arrow((65, 150), (65, 62), (508, 62), text="colours")
    d.box(520, 32, 190, 36, "PAMR: neighbours")
    d.box(520, 72, 190, 36, "GrabCut: colour models")
    d.box(520, 112, 190, 36, "dense CRF: all pairs")
    d.label(615, 12, "steps that compare colours", bold=True)
    d.box(520, 268, 190, 48, "random walk: positions\nwith similar features")
    d.label(615, 334, "a step that compares features", bold=True)
    d.arrow((450, 292), (520, 292))
    d.arrow((450, 166), (480, 166), (480, 110), (508, 110))
    d.arrow((450, 194), (480, 194), (480, 280), (520, 280))
    d.box(760, 150, 120, 60, "probability\nmap", "data")
    d.arrow((722, 86), (820, 86), (820, 150))
    d.arrow((710, 292), (790, 292), (790, 210))
    d.box(760, 350, 120, 38, "mask: > 0.5", "data")
    d.arrow((850, 210), (850, 350))
    d.box(440, 350, 260, 38, "selection criteria: which pipeline?", "loss")
    d.arrow((760, 369), (700, 369))
    d.arrow((760, 170), (660, 170), (660, 156), dashed=True)
    d.arrow((760, 190), (660, 190), (660, 268), dashed=True)
    d.label(648, 212, "next step of\na pipeline", anchor="end")
    return d


def self_training() -> Drawing:
    """09b: the rounds of self-training."""
    d = Drawing(900, 330, "Self-training: a model's refined predictions become the next masks")
    d.box(20, 40, 150, 60, "first masks\n(refined CAMs)", "data")
    d.box(240, 40, 150, 60, "keep the photos with\nthe most confident\nmasks", "loss")
    d.box(460, 40, 170, 60, "train a new\nMaskFormer (student)", "trained")
    d.box(710, 40, 160, 60, "its predictions\non train", "data")
    d.along(70, (170, 240), (390, 460), (630, 710))
    d.box(710, 170, 160, 60, "refine: PAMR,\nthen a short walk")
    d.arrow((790, 100), (790, 170), text="as teacher")
    d.box(460, 170, 170, 60, "masks of the\nnext round", "data")
    d.arrow((710, 200), (630, 200))
    d.box(220, 170, 190, 60, "confidence: IoU before\nand after refinement", "loss")
    d.arrow((710, 216), (670, 216), (670, 256), (315, 256), (315, 230))
    d.arrow((460, 186), (410, 186))
    d.arrow((315, 170), (315, 100), text="next round")
    d.box(460, 276, 170, 40, "IoU with ground truth", "loss")
    d.label(650, 296, "only looked at: nothing is chosen by it", anchor="start")
    d.arrow((545, 230), (545, 276), dashed=True)
    return d


def comparison() -> Drawing:
    """06: sources side by side on the same photos."""
    d = Drawing(900, 300, "A fair comparison: the same photos, paired differences, and the cost")
    d.box(20, 112, 110, 60, "photo i\nof test", "data")
    for y, name in ((20, "Mask R-CNN\n(compact)"), (115, "Grad-CAM,\nImageNet head"),
                    (210, "Grad-CAM,\nfinetuned head")):
        d.box(200, y, 140, 54, name, "frozen")
        d.arrow((130, 142), (165, 142), (165, y + 27), (200, y + 27))
        d.box(400, y, 90, 54, "mask", "data")
        d.box(560, y, 110, 54, "IoU with\nground truth", "loss")
        d.along(y + 27, (340, 400), (490, 560))
    d.box(740, 60, 140, 64, "difference on\nphoto i: paired,\nmean, interval", "loss")
    d.box(740, 170, 140, 64, "seconds and\nparameters:\nwhat a mask costs", "loss")
    d.arrow((670, 47), (705, 47), (705, 82), (740, 82))
    d.arrow((670, 142), (705, 142), (705, 102), (740, 102))
    d.arrow((270, 264), (270, 284), (810, 284), (810, 234), text="the time that a source takes",
            dashed=True)
    return d


def own_photos() -> Drawing:
    """11: what the import checks between a folder of photos and a data set, and what follows."""
    d = Drawing(900, 330, "From a folder of photos to a data set, to masks and a model")
    d.box(15, 40, 140, 70, "your folder:\na folder of photos\nfor each pet", "data")
    d.box(205, 40, 190, 70, "read every file: broken\nones and copies are left out,\n"
          "sideways photos turned")
    d.box(445, 40, 190, 70, "classes by folder names;\na split drawn class by class")
    d.box(685, 40, 200, 70, "data set: photos, classes,\nsplit, and a list of what\nwas left out",
          "data")
    d.along(75, (155, 205), (395, 445), (635, 685))
    d.box(15, 160, 140, 56, "masks of some\nphotos, if any", "data")
    d.box(205, 160, 430, 56, "match each mask with its photo; check size, values, and whether\n"
          "foreground and background are exchanged: if so, refuse")
    d.arrow((155, 188), (205, 188))
    d.arrow((635, 188), (720, 188), (720, 110), text="trimaps")
    d.arrow((835, 110), (835, 250))
    d.box(735, 250, 150, 56, "masks of two\nsources", "frozen")
    d.box(505, 250, 160, 56, "where they disagree:\nlook first", "loss")
    d.box(275, 250, 160, 56, "a small MaskFormer", "trained")
    d.box(45, 250, 160, 56, "masks of further\nphotos", "data")
    d.along(278, (735, 665), (505, 435), (275, 205))
    return d


def clues() -> Drawing:
    """12: the five steps from a feature map to a score, and the clues that a fault has to fit."""
    d = Drawing(900, 330, "Five steps from a feature map to a score, and four clues")
    d.box(15, 50, 120, 70, "feature map A,\nlinear layer W", "frozen")
    x = 135
    for step, text in (("1 explain", "which class?"), ("2 scale", "to [0, 1], enlarge"),
                       ("3 decide", "threshold"), ("4 target", "trimap: pet"),
                       ("5 score", "IoU")):
        d.arrow((x, 85), (x + 25, 85))
        d.box(x + 25, 50, 125, 70, f"{step}\n{text}", "loss" if step == "5 score" else "plain")
        x += 150
    d.box(160, 170, 725, 40, "a fault: another version of one of these steps", "trained")
    for k in range(5):
        d.arrow((222 + 150 * k, 170), (222 + 150 * k, 120), dashed=True)
    texts = ("Table 3: the pretrained\nhead scores 0.09", "Table 4: the finetuned\nhead keeps 0.54",
             "0.0900 on train\nand on test", "a model of the masks\nforgets them on test")
    for k, text in enumerate(texts):
        d.box(15 + 222 * k, 262, 204, 50, text, "data")
    d.label(450, 240, "clues: one fault, at one threshold, has to fit all of them", bold=True)
    return d


def series() -> Drawing:
    """00: the chapters, what follows from what, and the short path."""
    d = Drawing(900, 330, "The chapters of the series, from data to conclusions")
    d.label(75, 22, "data", bold=True)
    d.box(15, 40, 120, 56, "01\ndata, scores", "trained")
    d.box(15, 150, 120, 56, "02\nbackbone, features")
    d.label(265, 22, "masks", bold=True)
    d.box(195, 40, 140, 56, "03\nMask R-CNN")
    d.box(195, 130, 140, 56, "04\nGrad-CAM", "trained")
    d.box(195, 220, 140, 56, "05\nfinetuned Grad-CAM")
    d.box(375, 130, 120, 56, "06\nmasks compared")
    d.label(600, 22, "a model", bold=True)
    d.box(535, 80, 130, 56, "07a\nMaskFormer", "trained")
    d.box(535, 180, 130, 56, "07b\nits training")
    d.label(790, 22, "conclusions", bold=True)
    d.box(715, 40, 170, 50, "08a, 08b\nresults, both questions", "trained")
    d.box(715, 104, 170, 50, "09a, 09b\nwithout annotations")
    d.box(715, 168, 170, 50, "10\nhow many labels?")
    d.box(715, 232, 80, 50, "11\nyour photos", size=12)
    d.box(805, 232, 80, 50, "12\na score", size=12)
    d.arrow((75, 96), (75, 150))
    d.arrow((135, 68), (195, 68))
    for y in (158, 240):
        d.arrow((135, 178), (165, 178), (165, y), (195, y))
    for y, to in ((68, 145), (158, 158), (248, 171)):
        d.arrow((335, y), (355, y), (355, to), (375, to))
    d.arrow((495, 158), (515, 158), (515, 108), (535, 108))
    d.arrow((600, 136), (600, 180))
    for y in (65, 129, 193, 257):
        d.arrow((665, 208), (690, 208), (690, y), (715, y))
    d.label(450, 308, "orange: the short path. Each chapter runs alone.")
    return d


DIAGRAMS: dict[str, Callable[[], Drawing]] = {
    "00_start_here": series,
    "01_explore_the_data": study, "02_see_what_the_backbone_sees": backbone,
    "03_make_masks_with_mask_rcnn": mask_rcnn, "04_make_masks_with_grad_cam": grad_cam,
    "05_finetune_then_grad_cam": two_heads,
    "06_compare_the_masks": comparison,
    "07a_build_maskformer": maskformer,
    "07b_train_maskformer": training_step,
    "08a_compare_the_models": verdict,
    "08b_answer_both_questions": questions,
    "09a_refine_the_masks": refine,
    "09b_self_train": self_training,
    "10_count_the_labels": label_efficiency,
    "11_bring_your_own_photos": own_photos,
    "12_take_a_score_apart": clues,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="draw the diagrams of the chapters")
    parser.add_argument("only", nargs="*", metavar="NAME", help=", ".join(DIAGRAMS))
    for name in parser.parse_args().only or DIAGRAMS:
        OUT.mkdir(exist_ok=True)
        (OUT / f"{name}.svg").write_text(DIAGRAMS[name]().svg(), encoding="utf-8")
