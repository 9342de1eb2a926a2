"""A picture with images over it that are dragged by mouse or finger."""

import anywidget
import traitlets as t


class Draggable(anywidget.AnyWidget):
    """`images` of one size over each other, as URIs: the picture, one for each of `value`, which
    can be dragged, and what lies above them. A value is [right, down]: how far its image is moved,
    in shares of half the width and of the height, in [-1, 1] and in multiples of `step`. The
    pointer takes the one with a pixel under it (of several, the upper one), else the nearest."""

    images = t.List(t.Unicode()).tag(sync=True)
    value = t.List(t.List(t.Float())).tag(sync=True)
    step, alt = t.Float(0.02).tag(sync=True), t.Unicode().tag(sync=True)
    _esm = """
function distance(image, x, y) {  // from a point to the nearest pixel, in whole pixels
  const width = image.naturalWidth, height = image.naturalHeight;
  const canvas = Object.assign(document.createElement("canvas"), {width, height});
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const {data} = context.getImageData(0, 0, width, height);
  let least = Infinity;
  for (let row = 0, i = 3; row < height; row++)
    for (let column = 0; column < width; column++, i += 4)
      if (data[i]) least = Math.min(least, Math.hypot(column - x * width, row - y * height));
  return Math.round(least);
}
function render({model, el}) {
  const box = document.createElement("div"), grabbed = {};  // by pointer: a mouse, a finger
  const style = "width:100%;left:0;top:0;margin:0;display:block;pointer-events:none;position:";
  box.style = "position:relative;overflow:hidden;max-width:480px;cursor:grab;" +
    "touch-action:none;user-select:none";
  const place = () => model.get("value").forEach(([right, down], k) => {
    box.children[k + 1].style.transform = `translate(${50 * right}%, ${100 * down}%)`;
  });
  const show = () => {
    box.replaceChildren(...model.get("images").map((src, k) => Object.assign(new Image(), {
      src, alt: k ? "" : model.get("alt"), style: style + (k ? "absolute" : "static")})));
    place();
  };
  const share = (event) => {  // of half the width, of the height
    const {left, top, width, height} = box.getBoundingClientRect();
    return [2 * (event.clientX - left) / width, (event.clientY - top) / height];
  };
  box.onpointerdown = (event) => {
    const [x, y] = share(event), value = model.get("value"), far = value.map(([right, down], k) =>
      distance(box.children[k + 1], (x - right) / 2, y - down));
    const k = far.lastIndexOf(Math.min(...far));
    grabbed[event.pointerId] = {k, x: x - value[k][0], y: y - value[k][1]};
    box.setPointerCapture(event.pointerId);
  };
  box.onpointermove = (event) => {
    if (!box.hasPointerCapture(event.pointerId)) return;
    const {k, x, y} = grabbed[event.pointerId], at = share(event), step = model.get("step");
    const to = [at[0] - x, at[1] - y].map((v) =>
      Math.max(-1, Math.min(1, Math.round(v / step) * step)));
    model.set("value", model.get("value").map((old, i) => i === k ? to : old));
    model.save_changes();
  };
  model.on("change:images", show);
  model.on("change:value", place);
  show();
  el.append(box);
}
export default {render};
"""
