"use strict";
{
  const select = document.getElementById("au-group");
  select?.addEventListener("change", () => {
    for (const group of document.querySelectorAll(".au-group")) group.hidden = group.dataset.group !== select.value;
  });

  const plot = document.getElementById("coverage-plot");
  for (const box of document.querySelectorAll(".class-filter"))
    box.addEventListener("change", () => plot.classList.toggle("without" + box.value, !box.checked));

  // What a mark stands for, at once and also under a finger: the browser's own tip waits and needs a mouse.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const show = (event) => {
    const mark = event.target.closest?.("svg :is(rect, circle, path, g)");
    const title = mark?.querySelector(":scope > title") ?? mark?.closest("g")?.querySelector(":scope > title");
    tip.hidden = !title;
    if (!title) return;
    tip.textContent = title.textContent;
    const { clientX: x, clientY: y } = event;
    tip.style.left = Math.max(8, Math.min(x + 12, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = (y + tip.offsetHeight + 24 < innerHeight ? y + 16 : y - tip.offsetHeight - 8) + "px";
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
}
