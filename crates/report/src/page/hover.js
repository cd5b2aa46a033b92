"use strict";
// Shows the values of all lines at the place of the pointer. Without it the points' own titles and the axes tell them.
for (const svg of document.querySelectorAll("svg.chart")) {
  const axis = (text) => { const [low, high, log] = text.split(" ").map(Number); return { low, high, log }; };
  const x = axis(svg.dataset.x), y = axis(svg.dataset.y);
  const [left, top, wide, high] = svg.dataset.field.split(" ").map(Number);
  const share = (axis, value) => ((axis.log ? Math.log10(value) : value) - axis.low) / (axis.high - axis.low);
  const lines = [...svg.querySelectorAll("g[data-line]")].map((group) => {
    const numbers = group.dataset.points ? group.dataset.points.split(" ") : [], points = [];
    for (let i = 0; i + 1 < numbers.length; i += 2) points.push([numbers[i], numbers[i + 1]]);
    return { name: group.dataset.line, points };
  }).filter((line) => line.points.length);
  if (!lines.length) continue;
  const element = (name, parent) => parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name));
  const rule = element("path", svg), box = document.createElement("div");
  rule.setAttribute("class", "rule");
  box.className = "values";
  box.hidden = true;
  svg.parentNode.append(box);
  const show = (event) => {
    const area = svg.getBoundingClientRect();
    const at = (event.clientX - area.left) / area.width * svg.viewBox.baseVal.width;
    const wanted = Math.min(1, Math.max(0, (at - left) / wide));
    const near = lines.map((line) => {
      let best = line.points[0], gap = Infinity;
      for (const point of line.points) {
        const apart = Math.abs(share(x, +point[0]) - wanted);
        if (apart < gap) { gap = apart; best = point; }
      }
      return { name: line.name, point: best, gap };
    });
    const nearest = near.reduce((a, b) => (b.gap < a.gap ? b : a));
    rule.setAttribute("d", `M${left + wide * share(x, +nearest.point[0])} ${top}v${high}`);
    box.replaceChildren();
    const heading = document.createElement("b");
    heading.textContent = `${svg.dataset.name} ${nearest.point[0]}`;
    box.append(heading);
    near.sort((a, b) => b.point[1] - a.point[1]);
    for (const { name, point } of near.slice(0, 16)) {
      const line = document.createElement("div");
      line.textContent = `${name}: ${point[1]}` + (point[0] === nearest.point[0] ? "" : ` (at ${point[0]})`);
      box.append(line);
    }
    box.hidden = false;
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", () => { box.hidden = true; rule.removeAttribute("d"); });
}
