// The gallery of a report: flips onset and apex, steps through frames, filters, and shows where a
// sample comes from. Everything it needs is in the page. Without it, pairs stand side by side.
(() => {
  "use strict";
  const gallery = document.currentScript.closest(".gallery");
  const find = (selector, within = gallery) => within.querySelector(selector);
  const data = JSON.parse(find(".gallery-data").textContent);
  const PAGE = 24;
  const STILL = matchMedia("(prefers-reduced-motion: reduce)");

  // One card a sample: its elements, and which frame it shows.
  const cards = [...gallery.querySelectorAll(".gallery-card")].map((element, number) => {
    const sample = data.samples[number];
    const view = find(".gallery-view", element);
    sample.frames[0] = find(".gallery-onset", element).src;
    sample.frames[sample.apex] = find(".gallery-apex", element).src;
    return { element, view, sample, slider: find(".gallery-slider", element), tag: find(".gallery-tag", element),
             other: find(".gallery-other", element), at: 0 };
  });
  let layer = "frames";
  let matching = cards;
  let shown = PAGE;
  let opened = null;
  let entered = null;

  // ------------------------------------------------------------------ which image a card shows

  const restOf = (card) => (layer === "frames" ? 0 : card.sample.apex);
  const onsetHasNoLayer = (at) => layer === "frames" || at === 0;
  const imageOf = (card, at) => (onsetHasNoLayer(at) ? card.sample.frames : card.sample[layer])[at];

  function nameOf(card, at) {
    const { apex, numbers, row } = card.sample;
    const last = numbers.length - 1;
    const name = at === 0 ? "onset" : at === apex ? "apex" : at === last ? "offset" : `frame ${numbers[at]}`;
    if (!onsetHasNoLayer(at)) return `${name}, ${layer}`;
    return row.frames.length > 2 && at > 0 ? `${name}, ${numbers[at] + 1} of ${row.frames.length}` : name;
  }

  function show(card, at) {
    card.at = at;
    const kind = at === 0 ? "onset" : at === card.sample.apex && layer === "frames" ? "apex" : "other";
    if (kind === "other") card.other.src = imageOf(card, at);
    card.view.dataset.shown = kind;
    card.tag.textContent = nameOf(card, at);
    if (card.slider) card.slider.value = at;
    if (card === opened) showLarge();
  }

  const flip = (card) => {
    show(card, card.at === 0 ? card.sample.apex : 0);
    find("[data-role=says]").textContent = `${card.sample.row.sample_id}: ${nameOf(card, card.at)}`;
  };
  const step = (card, by) => show(card, Math.min(Math.max(card.at + by, 0), card.sample.numbers.length - 1));

  // ------------------------------------------------------------------ filter

  const filters = { emotion: find(".gallery-class"), source: find(".gallery-source"), text: find(".gallery-identity") };

  function filter() {
    const text = filters.text.value.trim().toLowerCase();
    matching = cards.filter(({ element: { dataset } }) =>
      (!filters.emotion.value || dataset.emotion === filters.emotion.value) &&
      (!filters.source.value || dataset.source === filters.source.value) &&
      dataset.find.toLowerCase().includes(text));
    shown = PAGE;
    arrange();
  }

  function arrange() {
    const visible = matching.slice(0, shown);
    cards.forEach((card) => { card.element.hidden = !visible.includes(card); });
    if (visible.length && !visible.some((card) => card.view.tabIndex === 0)) makeCurrent(visible[0]);
    find(".gallery-count").textContent = matching.length
      ? `${visible.length} of ${matching.length} shown.`
      : "No sample fits; Reset shows all.";
    const more = find(".gallery-more");
    more.hidden = visible.length === matching.length;
    more.textContent = `Show ${Math.min(PAGE, matching.length - visible.length)} more`;
  }

  function reset() {
    Object.values(filters).forEach((field) => { field.value = ""; });
    filter();
  }

  // ------------------------------------------------------------------ keyboard: one stop, arrows inside

  function makeCurrent(card) {
    for (const other of cards) {
      other.view.tabIndex = other === card ? 0 : -1;
      if (other.slider) other.slider.tabIndex = other.view.tabIndex;
    }
  }

  function neighbour(card, key) {
    const visible = matching.slice(0, shown);
    const here = visible.indexOf(card);
    const top = visible[0].element.offsetTop;
    const columns = visible.filter(({ element }) => element.offsetTop === top).length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -here, End: visible.length - 1 - here }[key];
    return by === undefined ? undefined : visible[here + by] || card;
  }

  const STEPS = { ",": -1, ".": 1 };

  function onCardKey(card, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const next = neighbour(card, event.key);
    if (next) {
      makeCurrent(next);
      next.view.focus();
    } else if (event.key === " " || event.key.toLowerCase() === "f") {
      if (!event.repeat) flip(card);
    } else if (event.key in STEPS) {
      step(card, STEPS[event.key]);
    } else {
      return;
    }
    event.preventDefault();
  }

  // ------------------------------------------------------------------ play

  const play = find(".gallery-play");
  let ticks = 0;
  let timer = 0;

  function setPlaying(on) {
    clearInterval(timer);
    timer = on ? setInterval(tick, 200) : 0;
    play.setAttribute("aria-pressed", String(on));
    play.textContent = on ? "Stop" : "Play";
    if (!on) cards.forEach((card) => show(card, restOf(card)));
  }

  function tick() {
    ticks += 1;
    for (const card of matching.slice(0, shown)) {
      const count = card.sample.numbers.length;
      if (count > 2) show(card, (card.at + 1) % count);
      else if (ticks % 3 === 0) show(card, 1 - card.at);
    }
  }

  // ------------------------------------------------------------------ panel: where a sample comes from

  const panel = find(".gallery-panel");
  const large = find(".gallery-large");
  const range = find("input", find(".gallery-step"));

  function open(card) {
    opened = card;
    const { row, numbers } = card.sample;
    find("#gallery-panel-title").textContent = row.sample_id;
    range.max = numbers.length - 1;
    find(".gallery-command code").textContent = `${data.command} ${row.sample_id}`;
    find(".gallery-copy").textContent = "Copy";
    find("[data-role=scale]").textContent = `0 to ${data.scale} of 5`;
    fillRow(row);
    if (card.at === 0) show(card, card.sample.apex);
    showLarge();
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
  }

  function showLarge() {
    large.src = imageOf(opened, opened.at);
    large.alt = `${nameOf(opened, opened.at)} of ${opened.sample.row.sample_id}`;
    range.value = opened.at;
    range.setAttribute("aria-valuetext", nameOf(opened, opened.at));
    find("[data-role=frame]").textContent = nameOf(opened, opened.at);
    showAus(opened.sample.row.aus[opened.sample.numbers[opened.at]], opened.sample.row.aus[0]);
  }

  function make(tag, text, className) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  }

  function tableRow(head, note, className) {
    const line = make("tr", undefined, className);
    const name = make("th", head);
    name.scope = "row";
    if (note) name.append(note);
    line.append(name);
    return line;
  }

  // A bar to the intensity in the frame that is shown; a line marks the onset's.
  function showAus(aus, onset) {
    find(".gallery-aus tbody").replaceChildren(...data.aus.map(([name, words], place) => {
      const value = aus[place];
      const line = tableRow(`${name} `, make("span", words), value ? "" : "rest");
      const bar = make("span", undefined, "gallery-bar");
      const length = (intensity) => `${(100 * Math.min(intensity / data.scale, 1)).toFixed(1)}%`;
      bar.append(make("i"), ...(onset[place] ? [make("b")] : []));
      bar.firstChild.style.width = length(value || 0);
      if (onset[place]) bar.lastChild.style.width = length(onset[place]);
      const cell = make("td");
      cell.append(bar);
      line.append(cell, make("td", value === null ? "not measured" : value.toFixed(2)));
      return line;
    }));
  }

  function fillRow(row) {
    find(".gallery-row tbody").replaceChildren(...Object.entries(row).map(([name, value]) => {
      const line = tableRow(name, make("small", data.meanings[name] || ""));
      if (Array.isArray(value)) {
        const details = make("details");
        details.append(make("summary", `${value.length} entries`), make("pre", value.map((item) => JSON.stringify(item)).join("\n")));
        line.append(make("td"));
        line.lastChild.append(details);
      } else {
        line.append(value === null ? make("td", "none", "none") : make("td", value));
      }
      return line;
    }));
  }

  function go(by) {
    const place = matching.indexOf(opened) + by;
    if (!matching[place]) return;
    shown = Math.max(shown, place + 1);
    arrange();
    makeCurrent(matching[place]);
    const left = opened;
    open(matching[place]);
    show(left, restOf(left));
  }

  async function copy() {
    const button = find(".gallery-copy");
    const code = find(".gallery-command code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // A page from disk may not be let at the clipboard: select it, so that Ctrl+C copies it.
      getSelection().selectAllChildren(code);
      button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
    }
  }

  // ------------------------------------------------------------------ what the elements do

  const flipsBy = (event) => event.pointerType === "mouse" && !STILL.matches && !timer && !opened;

  for (const card of cards) {
    card.view.addEventListener("click", () => {
      makeCurrent(card);
      entered = card;
      open(card);
    });
    card.view.addEventListener("keydown", (event) => onCardKey(card, event));
    // Firefox clicks a button when the space bar is let go.
    card.view.addEventListener("keyup", (event) => { if (event.key === " ") event.preventDefault(); });
    card.view.addEventListener("pointerenter", (event) => {
      if (flipsBy(event)) show(card, restOf(card) === 0 ? card.sample.apex : 0);
    });
    card.view.addEventListener("pointerleave", (event) => { if (flipsBy(event)) show(card, restOf(card)); });
    if (card.slider) card.slider.addEventListener("input", () => show(card, Number(card.slider.value)));
  }
  filters.emotion.addEventListener("change", filter);
  filters.source.addEventListener("change", filter);
  filters.text.addEventListener("input", filter);
  find(".gallery-reset").addEventListener("click", reset);
  find(".gallery-more").addEventListener("click", () => {
    const first = matching[shown];
    shown += PAGE;
    arrange();
    makeCurrent(first);
    first.view.focus();
  });
  find(".gallery-layer").addEventListener("change", (event) => {
    layer = event.target.value;
    for (const legend of gallery.querySelectorAll(".gallery-legend")) legend.hidden = legend.dataset.layer !== layer;
    cards.forEach((card) => show(card, restOf(card)));
  });
  play.addEventListener("click", () => setPlaying(!timer));
  range.addEventListener("input", () => show(opened, Number(range.value)));
  find(".gallery-flip").addEventListener("click", () => flip(opened));
  find(".gallery-copy").addEventListener("click", copy);
  find(".gallery-close").addEventListener("click", () => panel.close());
  for (const button of gallery.querySelectorAll("[data-go]")) button.addEventListener("click", () => go(Number(button.dataset.go)));
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  panel.addEventListener("close", () => {
    const card = opened;
    opened = null;
    show(card, restOf(card));
    // The browser gives the focus back to the card that was opened first.
    if (card !== entered) card.view.focus();
  });
  panel.addEventListener("keydown", (event) => {
    if (event.target.type === "range" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") go(-1);
    else if (event.key === "ArrowRight") go(1);
    else if (event.key.toLowerCase() === "f") flip(opened);
    else if (event.key in STEPS) step(opened, STEPS[event.key]);
    else return;
    event.preventDefault();
  });

  gallery.classList.add("ready");
  cards.forEach((card) => show(card, 0));
  arrange();
})();
